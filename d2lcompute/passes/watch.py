"""Watch a pass through a net: what came in where, which module failed, what can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..parameters.names import walk
from .keep import is_waiting

Shapes = tuple[tuple[int, ...], ...]
Step = Callable[[nn.Module], object]


class Watch:
    """Hooks on every module of a net, for one pass.

    `inputs` are the shapes that each module was first called with, by name, `output` those that
    the net gave, and `running` the names of the modules at work. `steps` do to another net of this
    structure, without a pass, what this one did to lazy layers and, on the way to the last of
    them, to the random state; they hold on to inputs, so they are kept only if wanted.
    """

    def __init__(self, *, keep_steps: bool = False) -> None:
        self.keep_steps = keep_steps
        self.inputs: dict[str, Shapes] = {}
        self.output: Shapes = ()
        self.running: list[str] = []
        self.steps: list[Step] = []
        self.draws: list[Step] = []
        self.sizing = False

    def run(self, net: nn.Module, inputs: Iterable[Any], named: Mapping[str, Any]) -> None:
        """Call `net`."""
        handles = []
        for name, module in walk(net):
            enter, leave = partial(self._enter, name), partial(self._leave, name)
            handles += [
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True),
                module.register_forward_hook(leave),
            ]
            if is_waiting(module):
                handles.append(module.register_forward_pre_hook(self._sized))
        try:
            self.output = shapes_in(net(*inputs, **named))
        finally:
            for handle in handles:
                handle.remove()

    def can_be_repeated(self) -> bool:
        """Return whether all draws of random numbers can be repeated without a pass."""
        return _refuse not in self.steps

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self.running.append(name)
        self.inputs.setdefault(name, shapes_in((args, kwargs)))
        if self.keep_steps and is_waiting(module):
            self.steps += [*self.draws, partial(_size, name, args, kwargs)]
            self.draws.clear()
            self.sizing = True

    def _sized(self, module: nn.Module, args: object) -> None:
        self.sizing = False

    def _leave(self, name: str, module: nn.Module, args: object, output: object) -> None:
        while self.running.pop() != name:  # what failed inside, and was caught
            pass


class Operators(TorchDispatchMode):
    """Let `run` call each operator of torch."""

    def __init__(self, run: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self._run = run

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its whole compiler for the first operator it sees here

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._run(func, args, kwargs or {})


class Draws(Operators):
    """Note for a watch what draws random numbers, the initialization of layers apart."""

    def __init__(self, watch: Watch, *, on_cpu: bool) -> None:
        super().__init__(self._note)
        self.watch = watch
        self.on_cpu = on_cpu

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags and not self.watch.sizing:
            # Every kind of dropout comes to this; accelerators have one of their own.
            dropout = func is torch.ops.aten.bernoulli_.float and self.on_cpu
            self.watch.draws.append(partial(_drop, args) if dropout else _refuse)
        return func(*args, **kwargs)


def shapes_in(value: object) -> Shapes:
    """Return the shapes of all tensors in nested sequences and mappings."""
    if isinstance(value, Tensor):
        return (tuple(value.shape),)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return tuple(shape for item in value for shape in shapes_in(item))
    return ()


def _size(name: str, args: Any, kwargs: Any, net: nn.Module) -> None:
    """Do what happens to a lazy layer between its call and its `forward`."""
    module = net.get_submodule(name)
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            result = hook(module, args, kwargs)
            args, kwargs = result or (args, kwargs)
        else:
            result = hook(module, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)


def _drop(args: tuple[Any, ...], net: nn.Module) -> None:
    noise, *keep = args
    torch.empty(noise.shape, dtype=noise.dtype).bernoulli_(*keep)


def _refuse(net: nn.Module) -> None:
    """Stand for draws whose number depends on values, or on the device."""
