"""What `torch.practice` offers, as `torch.cuda` does for NVIDIA's devices."""

from __future__ import annotations

from .practice_tensor import MEMORIES


def is_available() -> bool:
    """Return whether there is any practice device."""
    return bool(MEMORIES)


def device_count() -> int:
    """Return how many practice devices there are."""
    return len(MEMORIES)


def is_initialized() -> bool:
    """Return True: there is nothing to start."""
    return True


def current_device() -> int:
    """Return the index of the current practice device."""
    return 0


def memory_allocated(device: int = 0) -> int:
    """Return the bytes that tensors occupy on a device."""
    return MEMORIES[device].allocated()


def manual_seed_all(seed: int) -> None:
    """Seed the random numbers of every practice device."""


def _is_in_bad_fork() -> bool:
    return False
