"""Random numbers on practice devices: a stream for each, apart from the CPU's."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Iterator
from typing import Any

import torch

from .memory import DEVICES

_CPUGenerator = torch._C.Generator


# torch hands a generator to an operator in another Python object around the same C++ one.
_known: weakref.WeakValueDictionary[int, PracticeGenerator] = weakref.WeakValueDictionary()


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
        return generator_on(DEVICES.current if device.index is None else device.index)

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _CPUGenerator)

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, _CPUGenerator)


class Generator(metaclass=_AnyGenerator):
    """`torch.Generator`, for practice devices too: torch's own refuses a device made in Python."""


def generator_on(index: int) -> PracticeGenerator:
    """Return a new generator of `practice:index`."""
    DEVICES.memory(index)
    generator = PracticeGenerator()
    generator.index = index
    _known[_address(generator)] = generator
    return generator


@functools.cache
def default_generator(index: int) -> PracticeGenerator:
    """Return the generator that `practice:index` uses where none is given."""
    generator = generator_on(index)
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
    generator = generator_on(index)
    generator.set_state(state)
    return generator
