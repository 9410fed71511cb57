"""What `torch.practice` offers: for practice devices what `torch.cuda` offers for NVIDIA's.

Where a function takes `device`, that is a `torch.device`, its name, an index, or None for the
current device.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from .devices import DEVICES, Memory, default_generator
from .devices import Generator as Generator

Device = torch.device | str | int | None
_initialized = True  # for torch.utils.checkpoint, which else keeps no random state of the device


def is_available() -> bool:
    """Return whether there is any practice device."""
    return DEVICES.count > 0


def device_count() -> int:
    """Return how many practice devices there are."""
    return DEVICES.count


def is_initialized() -> bool:
    """Return True: there is nothing to start."""
    return True


def current_device() -> int:
    """Return the index that `practice` without a number stands for in this thread."""
    return DEVICES.current


def set_device(device: Device) -> None:
    """Let `practice` without a number stand for `device` in this thread."""
    DEVICES.current = _index(device)


def device(device: Device) -> AbstractContextManager[None]:
    """Let `practice` without a number stand for `device` in a `with` block."""
    return DEVICES.using(_index(device))


def synchronize(device: Device = None) -> None:
    """Wait for nothing: a practice device has finished when the operator returns."""
    _index(device)


def _exchange_device(index: int) -> int:
    """Make a device the current one, unless `index` is negative, and return the one before."""
    before = DEVICES.current
    if index >= 0:
        DEVICES.current = index
    return before


def get_device_name(device: Device = None) -> str:
    """Return what the device is, in words."""
    return f"practice accelerator {_index(device)}, computed by the CPU"


def memory_allocated(device: Device = None) -> int:
    """Return the bytes that living tensors occupy on `device`."""
    return _memory(device).allocated()


def max_memory_allocated(device: Device = None) -> int:
    """Return the most bytes that tensors occupied since the start or the last reset."""
    return _memory(device).peak()


def reset_peak_memory_stats(device: Device = None) -> None:
    """Let `max_memory_allocated` start again at what is allocated now."""
    _memory(device).reset_peak()


def reset_accumulated_memory_stats(device: Device = None) -> None:
    """Do nothing: no count here goes on for ever."""
    _index(device)


def memory_stats_as_nested_dict(device: Device = None) -> dict[str, Any]:
    """Return the bytes of `device` in the form that `torch.accelerator.memory_stats` reads."""
    memory = _memory(device)
    bytes_ = {"all": {"current": memory.allocated(), "peak": memory.peak()}}
    return {"allocated_bytes": bytes_, "reserved_bytes": bytes_}


def memory_reserved(device: Device = None) -> int:
    """Return the bytes taken from `device`: those of living tensors, for none are kept back."""
    return memory_allocated(device)


def max_memory_reserved(device: Device = None) -> int:
    """Return the same as `max_memory_allocated`."""
    return max_memory_allocated(device)


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Return the free and the total bytes of `device`."""
    memory = _memory(device)
    return max(0, memory.capacity - memory.allocated()), memory.capacity


def empty_cache() -> None:
    """Do nothing: the bytes of a tensor that dies are free at once."""


def manual_seed(seed: int) -> None:
    """Seed the random numbers of the current device."""
    default_generator(DEVICES.current).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers of every device; `torch.manual_seed` does so, too."""
    for index in range(DEVICES.count):
        default_generator(index).manual_seed(seed)


def seed() -> None:
    """Seed the random numbers of the current device by chance."""
    default_generator(DEVICES.current).seed()


def initial_seed() -> int:
    """Return the last seed of the current device."""
    return default_generator(DEVICES.current).initial_seed()


def get_rng_state(device: Device = None) -> Tensor:
    """Return the state of the random numbers of `device`, a CPU tensor of bytes."""
    return default_generator(_index(device)).get_state()


def set_rng_state(state: Tensor, device: Device = None) -> None:
    """Set the state of the random numbers of `device`."""
    default_generator(_index(device)).set_state(state)


def get_rng_state_all() -> list[Tensor]:
    """Return the state of the random numbers of every device."""
    return [get_rng_state(index) for index in range(DEVICES.count)]


def set_rng_state_all(states: Iterable[Tensor]) -> None:
    """Set the state of the random numbers of every device."""
    for index, state in enumerate(states):
        set_rng_state(state, index)


def get_amp_supported_dtype() -> list[torch.dtype]:
    """Return the types that `torch.autocast("practice", dtype)` takes."""
    return [torch.bfloat16, torch.float16]


def _index(device: Device) -> int:
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if device.type != "practice":
            raise ValueError(f"Expected a practice device, but got: {device}")
        device = device.index
    index = DEVICES.current if device is None else device
    DEVICES.memory(operator.index(index))
    return index


def _memory(device: Device) -> Memory:
    return DEVICES.memory(_index(device))


def _is_in_bad_fork() -> bool:
    return DEVICES.forked
