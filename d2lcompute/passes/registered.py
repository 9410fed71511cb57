"""What a net gets while it runs: what `forward` makes, and first values for what was lazy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import is_lazy

from ..parameters.names import walk
from ..tables import listed
from ..words.language import _
from .event import Event

_MOST = 8  # names to show
_REGISTRATIONS: tuple[Callable[..., Any], ...] = (
    register_module_parameter_registration_hook,
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
)


class Registered:
    """What is registered inside `watching`, on this thread; `on_tensor` is told each tensor.

    The lazy ones among the `watched`, which get a shape and values, are among it.
    """

    def __init__(self, watched: Iterable[Tensor], on_tensor: Callable[[Tensor], object]) -> None:
        self._on_tensor = on_tensor
        self._unsized = {id(tensor): tensor for tensor in watched if is_lazy(tensor)}
        self.names: tuple[str, ...] = ()  # of what is new to the net, without what is inside of it
        self._places: list[tuple[nn.Module, str]] = []
        # Alive, as an id would be used again.
        self._held: dict[int, object] = dict(self._unsized)

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[int]:
        return iter(self._held)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at what modules are given."""
        thread = threading.get_ident()

        def note(module: nn.Module, name: str, held: object) -> None:
            if held is None or threading.get_ident() != thread:
                return
            places: list[dict[str, Any]] = [module._parameters, module._buffers, module._modules]
            if all(place.get(name) is None for place in places):  # else something takes its place
                self._places.append((module, name))
            self._held[id(held)] = held
            if isinstance(held, Tensor):
                self._on_tensor(held)
                if is_lazy(held):
                    self._unsized[id(held)] = held

        handles = [register(note) for register in _REGISTRATIONS]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def enter(self, block: nn.Module) -> None:
        """Add all parameters of a lazy block: those with a shape may get new values as well."""
        if self._unsized:
            held = {id(p): p for p in block._parameters.values() if p is not None}
            if self._unsized.keys() & held:
                self._held |= held

    def sized(self, keys: Iterable[int]) -> list[Tensor]:
        """Return those of the tensors with these ids that have got a shape, each once."""
        found = self._unsized.keys() & keys if self._unsized else ()
        new = [key for key in found if not is_lazy(self._unsized[key])]
        return [self._unsized.pop(key) for key in new]

    def find_names(self, net: nn.Module) -> None:
        """Look up what the net, as the pass has left it, calls what is new to it."""
        if not self._places:
            return
        paths = {id(module): f"{path}." if path else "" for path, module in walk(net)}
        new = [
            paths[id(module)] + name
            for module, name in self._places
            if id(module) in paths and id(module) not in self._held
        ]
        self.names = tuple(dict.fromkeys(new))


def registered_text(names: Sequence[str]) -> str:
    """Say what a pass would have added to the net."""
    return _("made in forward, and gone from the net again: {names}", names=listed(names, _MOST))


def without_making(events: Sequence[Event], made: Collection[int]) -> list[Event]:
    """Leave out the steps that only make what the tensors with these ids start with.

    These are steps without any data of the net, and nothing that stays uses what they give.
    """
    making: set[Event] = set()
    for event in events:
        is_step = event.block is None and event.value is None and not event.failed
        pairs = zip(event.sources, event.held, strict=True)
        if is_step and all(s in making if s else held in made for s, held in pairs):
            making.add(event)
    used = {s for event in events if event not in making for s in (*event.sources, *event.origins)}
    for event in reversed(events):
        if event in making and event in used:
            making.discard(event)
            used.update(event.sources)
    return [event for event in events if event not in making]
