"""The random states of torch, Python and numpy, as they were found."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

Restore = Callable[[], object]


@contextmanager
def random_states_kept(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Give torch's CPU and `devices`, Python and numpy back the random states they have now."""
    restore = [*_global_states(), *(undo for d in set(devices) if (undo := _of_device(d)))]
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


def _global_states() -> Iterator[Restore]:
    yield partial(torch.set_rng_state, torch.get_rng_state())
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
