"""What the practice devices have lent out: bytes, peaks, limits, and the error when full."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque

import torch


def physical_memory() -> int:
    """Return the bytes of memory that this machine has, or the largest int where unknown."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


class Memory:
    """The account of one practice device, in bytes."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.capacity = physical_memory()
        self.peak = 0
        self._lent = 0
        # A tensor may die at any moment, in any thread, even while this very account is being
        # changed; appending to a deque is the one thing that is safe then.
        self._returned: deque[int] = deque()
        self._lock = threading.Lock()

    def allocated(self) -> int:
        """Return the bytes that living tensors occupy."""
        with self._lock:
            return self._settle()

    def borrow(self, size: int) -> Loan:
        """Lend `size` bytes until the returned loan dies, or raise torch's out-of-memory error."""
        with self._lock:
            if self._settle() + size > self.capacity:
                raise torch.OutOfMemoryError(self._refusal(size))
            self._lent += size
            self.peak = max(self.peak, self._lent)
        return Loan(self._returned, size)

    def require(self, size: int) -> None:
        """Raise torch's out-of-memory error if `size` bytes are not free."""
        if self.allocated() + size > self.capacity:
            raise torch.OutOfMemoryError(self._refusal(size))

    def reset_peak(self) -> None:
        """Forget the peak: it starts again at what is allocated now."""
        with self._lock:
            self.peak = self._settle()

    def _settle(self) -> int:
        while self._returned:
            self._lent -= self._returned.popleft()
        return self._lent

    def _refusal(self, size: int) -> str:
        free = max(0, self.capacity - self._lent)
        return (
            f"practice out of memory. Tried to allocate {readable(size)}. practice:{self.index} "
            f"has a total capacity of {readable(self.capacity)} of which {readable(free)} is free. "
            f"{readable(self._lent)} is allocated by PyTorch."
        )


class Loan:
    """Bytes on loan from a device; given back when the last reference goes."""

    __slots__ = ("_returned", "_size")

    def __init__(self, returned: deque[int], size: int) -> None:
        self._returned = returned
        self._size = size

    def __del__(self) -> None:
        self._returned.append(self._size)


def readable(size: int) -> str:
    """Return bytes in the words of torch's own out-of-memory message.

    >>> readable(512), readable(3 * 2**19), readable(5 * 2**30)
    ('512 bytes', '1.50 MiB', '5.00 GiB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"
