"""Where one can stand in a pass: before and after blocks, functions and operators."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _pop_mode, _push_mode

from .values import tensors_in


def time_blocks(run: Callable[[], Any]) -> list[tuple[nn.Module, float]]:
    """Return each call of a block in `run()`, in order, with the seconds that it took."""
    blocks: list[nn.Module] = []
    seconds: list[float] = []
    still_open: list[int] = []

    def enter(block: nn.Module, args: Any) -> None:
        still_open.append(len(seconds))
        blocks.append(block)
        seconds.append(_now())

    def leave(block: nn.Module, *rest: Any) -> None:
        first = still_open.pop()
        seconds[first] = _now() - seconds[first]

    with hooked(enter, leave):
        run()
    return list(zip(blocks, seconds, strict=True))


@contextmanager
def hooked(enter: Callable[..., Any], leave: Callable[..., Any]) -> Iterator[None]:
    """Call `enter` before and `leave` after each call of a block on this thread.

    Hooks cost a frame a level, so the recursion limit makes room for nets that just fit.
    """
    thread = threading.get_ident()
    limit = sys.getrecursionlimit()

    def only_here(hook: Callable[..., Any]) -> Callable[..., None]:
        def guarded(*args: Any) -> None:
            if threading.get_ident() == thread:
                with torch._C.DisableTorchFunction():  # what a hook looks at is no step
                    hook(*args)

        return guarded

    before = register_module_forward_pre_hook(only_here(enter))
    after = register_module_forward_hook(only_here(leave), with_kwargs=True, always_call=True)
    sys.setrecursionlimit(2 * limit)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        before.remove()
        after.remove()
        _global_forward_hooks_with_kwargs.pop(after.id, None)  # torch's `remove` forgets it


def _now() -> float:
    """Return the time when all work given to an accelerator so far is done, in seconds."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return perf_counter()


# What is called in the place of a function or operator, with it, its arguments and keywords.
Run = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


class Functions(TorchFunctionMode):
    """Let `run` call each function of torch: `F.linear`, `x + 1`, `x.data = y`."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._run(func, args, kwargs or {})


class Operators(TorchDispatchMode):
    """Let `run` call each operator that a function comes down to: `aten.addmm`, `aten.add_`."""

    supports_higher_order_operators = True

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its whole compiler for the first operator it sees here

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        # Only in inference mode do composite operators arrive whole; nested tensors know their own.
        arrives_whole = torch.is_inference_mode_enabled() and is_composite(func)
        if arrives_whole and not any(tensor.is_nested for tensor in tensors_in(args)):
            with self:
                return func.decompose(*args, **kwargs)
        return self._run(func, args, kwargs)


@contextmanager
def outermost(count: int) -> Iterator[None]:
    """Let only the first `count` modes see the operators inside: those around a whole look."""
    others = [_pop_mode() for _ in range(torch._C._len_torch_dispatch_stack() - count)]
    try:
        yield
    finally:
        for mode in reversed(others):
            _push_mode(mode)


@cache
def is_composite(func: Any) -> bool:
    """Whether an operator consists of others."""
    if not isinstance(func, torch._ops.OpOverload):
        return False
    try:
        return func._can_decompose()
    except RuntimeError:  # torch does not know all, such as `sym_size` of nested tensors
        return False
