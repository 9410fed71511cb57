"""The practice devices there are: what each has lent out, and its stream of random numbers."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

_CPUGenerator = torch._C.Generator
_MANY = 1_000  # changes of an account that may wait to be counted
# torch hands a generator to an operator in another Python object around the same C++ one.
_known: weakref.WeakValueDictionary[int, PracticeGenerator] = weakref.WeakValueDictionary()


class Memory:
    """The account of one practice device, in bytes."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.capacity = physical_memory()
        self.limited = False
        # A tensor may die at any moment, in any thread, even while this account is being counted;
        # appending to a deque is safe then, taking a lock is not.
        self.changes: deque[int] = deque()
        self._allocated = 0
        self._peak = 0
        self._lock = threading.Lock()

    def limit(self, capacity: int | None) -> None:
        """Let the device have `capacity` bytes, or as many as the machine has."""
        self.limited = capacity is not None
        self.capacity = physical_memory() if capacity is None else capacity

    def allocated(self) -> int:
        """Return the bytes that living tensors occupy."""
        with self._lock:
            return self._counted()

    def peak(self) -> int:
        """Return the most bytes that were allocated since the start or the last reset."""
        with self._lock:
            self._counted()
            return self._peak

    def reset_peak(self) -> None:
        """Start the peak again at what is allocated now."""
        with self._lock:
            self._peak = self._counted()

    def lend(self, size: int) -> None:
        """Lend `size` bytes that the host has; whoever gets them adds `-size` to `changes` later.

        Raises torch's out-of-memory error if the device has a limit below that.
        """
        if self.limited or len(self.changes) > _MANY:
            with self._lock:
                self._require(size)
                self.changes.append(size)
        else:
            self.changes.append(size)

    def require(self, size: int) -> None:
        """Raise torch's out-of-memory error unless `size` bytes are free."""
        with self._lock:
            self._require(size)

    def _require(self, size: int) -> None:
        allocated = self._counted()
        if size and allocated + size > self.capacity:
            free = max(0, self.capacity - allocated)
            raise torch.OutOfMemoryError(
                f"practice out of memory. Tried to allocate {readable(size)}. "
                f"practice:{self.index} has a total capacity of {readable(self.capacity)} of which "
                f"{readable(free)} is free. {readable(allocated)} is allocated by PyTorch."
            )

    def _counted(self) -> int:
        while self.changes:
            self._allocated += self.changes.popleft()
            self._peak = max(self._peak, self._allocated)
        return self._allocated


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
            memory.limit(capacity)
        self.count = count
        self.forked = False

    def leave(self) -> None:
        """Refuse to serve this process, a fork: the tensors of its parent are not its own."""
        self.forked = True

    def memory(self, index: int) -> Memory:
        """Return the account of a device, or raise as torch does for a device that is not there."""
        if 0 <= index < self.count and not self.forked:
            return self._memories[index]
        if self.forked:
            raise RuntimeError(
                "Cannot use practice devices in a forked subprocess. Leave the data of a "
                "DataLoader on the CPU, or do practice_gpus() in the subprocess"
            )
        way = f"do practice_gpus({index + 1}) to have it" if index >= 0 else "count from 0"
        raise RuntimeError(
            f"practice error: invalid device ordinal. There is no practice:{index}, as the number "
            f"of practice devices is {self.count}; {way}"
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

    >>> from d2lcompute.devices.practice.devices import readable
    >>> readable(512), readable(3 * 2**19), readable(5 * 2**30)
    ('512 bytes', '1.50 MiB', '5.00 GiB')
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size} bytes"


class PracticeGenerator(_CPUGenerator):
    """A generator of a practice device, as `torch.Generator("practice:0")` makes it."""

    index: int

    device: Any = property(lambda self: torch.device("practice", self.index))

    def __reduce__(self) -> Any:
        return _restored, (self.index, self.get_state())


class _AnyGenerator(type):
    def __call__(cls, device: torch.device | str | int = "cpu") -> torch._C.Generator:
        device = torch.device(device)
        if device.type != "practice":
            return _CPUGenerator(device)
        return _generator_on(DEVICES.current if device.index is None else device.index)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _CPUGenerator)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _CPUGenerator)


class Generator(metaclass=_AnyGenerator):
    """`torch.Generator`, for practice devices too: torch's own refuses a device made in Python."""


def _generator_on(index: int) -> PracticeGenerator:
    """Return a new generator of `practice:index`."""
    DEVICES.memory(index)
    generator = PracticeGenerator()
    generator.index = index
    _known[_address(generator)] = generator
    return generator


@functools.cache
def default_generator(index: int) -> PracticeGenerator:
    """Return the generator that `practice:index` uses where none is given."""
    generator = _generator_on(index)
    generator.manual_seed(torch.initial_seed())
    return generator


def chosen(generator: torch.Generator | None, index: int) -> PracticeGenerator:
    """Return the generator to draw from on `practice:index`, or raise as torch does."""
    if generator is None:
        return default_generator(index)
    found = _known.get(_address(generator))
    if found is None:
        kind = generator.device.type
        raise RuntimeError(f"Expected a 'practice' device type for generator but found '{kind}'")
    if found.index != index:
        raise RuntimeError(
            f"Expected a generator on practice:{index} but found one on practice:{found.index}"
        )
    return found


@contextlib.contextmanager
def drawing_from(index: int) -> Iterator[None]:
    """Let CPU operators that take no generator draw from the stream of `practice:index`."""
    stream, default = default_generator(index), torch.default_generator
    before = default.get_state()
    default.set_state(stream.get_state())
    try:
        yield
    finally:
        stream.set_state(default.get_state())
        default.set_state(before)


def _address(generator: Any) -> int:
    address: int = generator._cdata
    return address


def _restored(index: int, state: torch.Tensor) -> PracticeGenerator:
    generator = _generator_on(index)
    generator.set_state(state)
    return generator
