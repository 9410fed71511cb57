"""What `torch.practice` offers, as `torch.cuda` does for NVIDIA's devices."""

from __future__ import annotations

from .practice_memory import DEVICES
from .practice_random import default_generator


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
    """Return the index of the current practice device."""
    return DEVICES.current


def memory_allocated(device: int = 0) -> int:
    """Return the bytes that tensors occupy on a device."""
    return DEVICES.memory(device).allocated()


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers of every practice device."""
    for index in range(DEVICES.count):
        default_generator(index).manual_seed(seed)


def _is_in_bad_fork() -> bool:
    return False
