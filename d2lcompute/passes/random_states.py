"""The random states of torch, Python and numpy, as they were found."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ..parameters.memory import PLAIN

Restore = Callable[[], object]
_FUNCTIONS = {FunctionType, MethodType}


@contextmanager
def random_states_kept(
    devices: Iterable[torch.device] = (), *, only_torch: bool = False
) -> Iterator[None]:
    """Give torch's CPU and `devices`, Python and numpy back the random states they have now.

    With `only_torch`, Python and numpy are left alone: numpy's state takes as long to be read and
    set as three small layers take to be traced.
    """
    restore: list[Restore] = [partial(torch.set_rng_state, torch.get_rng_state())]
    restore += [undo for device in set(devices) if (undo := _of_device(device))]
    restore += () if only_torch else _of_others()
    try:
        yield
    finally:
        for undo in restore:
            undo()


def generator_state(value: Any) -> Restore | None:
    """Return what gives a generator of random numbers its present state back, None for all else."""
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    if isinstance(value, random.Random):
        return partial(value.setstate, value.getstate())
    numpy = sys.modules.get("numpy")
    if numpy and isinstance(value, numpy.random.RandomState):
        return partial(value.set_state, value.get_state())
    if numpy and isinstance(value, numpy.random.Generator):
        return partial(setattr, value.bit_generator, "state", value.bit_generator.state)
    return None


def run_torch_alone(modules: Iterable[nn.Module], tensors: Iterable[Tensor]) -> bool:
    """Whether no code but torch's own runs when these modules do, which draws from torch alone.

    Attributes of theirs that might run are not looked at.
    """
    has_modes = torch._C._len_torch_function_stack() or torch._C._len_torch_dispatch_stack()
    hooks = [
        hook
        for module in modules
        for place in (module._forward_pre_hooks, module._forward_hooks)
        if place
        for hook in place.values()
    ]
    return (
        not (has_modes or _has_any_global_hook())
        and {*map(type, tensors)} <= {*PLAIN, UninitializedParameter, UninitializedBuffer}
        and all(kind.__module__.startswith("torch.nn.") for kind in {*map(type, modules)})
        and all(is_function_of(hook, "torch.nn.") for hook in hooks)  # those of lazy layers
    )


def is_function_of(value: Any, *packages: str) -> bool:
    """Whether a value is a function that was written in one of these packages."""
    return type(value) in _FUNCTIONS and str(value.__module__).startswith(packages)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let what draws without a generator draw as `generator` says: torch, Python and numpy."""
    device = generator.device
    seed = int(torch.randint(2**32, (), generator=generator, device=device))
    with random_states_kept([device]):
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)
        if device.type != "cpu":
            state = torch.Generator(device).manual_seed(seed).get_state()
            torch.get_device_module(device).set_rng_state(state, device)
        yield


def _of_others() -> Iterator[Restore]:
    yield partial(random.setstate, random.getstate())
    numpy = sys.modules.get("numpy")
    if numpy:
        yield partial(numpy.random.set_state, numpy.random.get_state())


def _of_device(device: torch.device) -> Restore | None:
    if device.type in ("cpu", "meta"):
        return None
    module = torch.get_device_module(device)
    if not hasattr(module, "get_rng_state"):
        return None
    return partial(module.set_rng_state, module.get_rng_state(device), device)
