"""The practice devices there are, what each has lent out, and the error when one is full."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator

import torch


class Memory:
    """The account of one practice device, in bytes."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.capacity = physical_memory()
        self.peak = 0
        self._lent = 0
        # A tensor may die at any moment, in any thread, even while this account is being changed;
        # appending to a deque is safe then, taking a lock is not.
        self.returned: deque[int] = deque()
        self._lock = threading.Lock()

    def allocated(self) -> int:
        """Return the bytes that living tensors occupy."""
        with self._lock:
            return self._settle()

    def borrow(self, size: int) -> None:
        """Lend `size` bytes; whoever gets them appends `size` to `returned` when done."""
        with self._lock:
            lent = self._settle() + size
            if lent > self.capacity:
                raise torch.OutOfMemoryError(self._refusal(size))
            self._lent = lent
            if lent > self.peak:
                self.peak = lent

    def require(self, size: int) -> None:
        """Raise torch's out-of-memory error unless `size` bytes are free."""
        if self.allocated() + size > self.capacity:
            raise torch.OutOfMemoryError(self._refusal(size))

    def reset_peak(self) -> None:
        """Start the peak again at what is allocated now."""
        with self._lock:
            self.peak = self._settle()

    def _settle(self) -> int:
        while self.returned:
            self._lent -= self.returned.popleft()
        return self._lent

    def _refusal(self, size: int) -> str:
        free = max(0, self.capacity - self._lent)
        return (
            f"practice out of memory. Tried to allocate {readable(size)}. practice:{self.index} "
            f"has a total capacity of {readable(self.capacity)} of which {readable(free)} is free. "
            f"{readable(self._lent)} is allocated by PyTorch."
        )


class Devices:
    """The practice devices of this process, and the current one of each thread."""

    def __init__(self) -> None:
        self.count = 0
        self.forked = False
        self._memories: list[Memory] = []
        self._chosen = threading.local()

    def set(self, count: int, capacity: int | None) -> None:
        """Let there be `count` devices, with `capacity` bytes each or as many as the machine."""
        while len(self._memories) < count:
            self._memories.append(Memory(len(self._memories)))
        for memory in self._memories:
            memory.capacity = physical_memory() if capacity is None else capacity
        self.count = count
        self.forked = False

    def leave(self) -> None:
        """Refuse to serve this process, a fork: the tensors of its parent are not its own."""
        self.forked = True

    def lend(self, index: int, size: int) -> deque[int]:
        """Lend `size` bytes of a device; return where to append them when they are not needed."""
        memory = self.memory(index)
        memory.borrow(size)
        return memory.returned

    def memory(self, index: int) -> Memory:
        """Return the account of a device, or raise as torch does for a device that is not there."""
        if 0 <= index < self.count and not self.forked:
            return self._memories[index]
        if self.forked:
            raise RuntimeError(
                "Cannot use practice devices in a forked subprocess. Leave the data of a "
                "DataLoader on the CPU, or do practice_gpus() in the subprocess"
            )
        raise RuntimeError(
            f"practice error: invalid device ordinal. There is no practice:{index}, as the number "
            f"of practice devices is {self.count}; do practice_gpus({index + 1}) to have it"
        )

    @property
    def current(self) -> int:
        """The index that `practice` without a number stands for in this thread."""
        index: int = getattr(self._chosen, "index", 0)
        return index if index < self.count else 0

    @current.setter
    def current(self, index: int) -> None:
        self.memory(index)
        self._chosen.index = index

    @contextlib.contextmanager
    def using(self, index: int | None) -> Iterator[None]:
        """Make a device the current one for a `with` block; None leaves it as it is."""
        before = self.current
        self.current = before if index is None else index
        try:
            yield
        finally:
            self.current = before


DEVICES = Devices()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DEVICES.leave)


def physical_memory() -> int:
    """Return how many bytes of memory this machine has, the largest int where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def readable(size: int) -> str:
    """Return bytes in the words of torch's own out-of-memory message.

    >>> from d2lcompute.devices.practice.memory import readable
    >>> readable(512), readable(3 * 2**19), readable(5 * 2**30)
    ('512 bytes', '1.50 MiB', '5.00 GiB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"
