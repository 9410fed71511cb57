"""How data flows between the calls that a block made, seen from inside the block."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ..parameters.names import Shape
from .calls import Call, inside


class Link(NamedTuple):
    """Data that comes from the call that is number `source` in the same block, and its `port`.

    The source `~k` stands for what comes into the block around, `k` counting each tensor once;
    so does `into` for the block that the data goes into.
    """

    source: int
    port: int
    shape: Shape
    into: int = 0


class Wiring:
    """The links between the calls of a trace.

    `inside` are the positions of the calls that each call made, `number` is where in that list of
    its parent a call stands. `links` tell, for each call, where its inputs come from, None for what
    nothing made; behind them stands what calls inside take from elsewhere without its being an
    input. `leaving` are the links of the outputs of a block to what made them inside.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self.inside = inside(calls)
        self.number = [0] * len(calls)
        for children in self.inside:
            for number, child in enumerate(children):
                self.number[child] = number
        self.links: list[list[Link | None]] = [[]] * len(calls)
        self.leaving: list[list[Link]] = [[]] * len(calls)
        self._calls = calls
        self._hidden: dict[int, list[tuple[int, int, Shape]]] = defaultdict(list)
        self._entries: dict[int, dict[tuple[int | None, int], int]] = {}
        for position in reversed(range(len(calls))):  # what is inside first: it may take more
            self._connect(position, calls[position])

    def _connect(self, position: int, call: Call) -> None:
        if self.inside[position]:
            ends = zip(call.origins, call.outputs, strict=True)
            links = [self._end(origin, shape, position) for origin, shape in ends]
            self.leaving[position] = [link for link in links if link]
        if call.parent is not None:
            given = zip(call.sources, call.ports, call.inputs, strict=True)
            self.links[position] = [
                None if source is None else self._input(position, call.parent, source, port, shape)
                for source, port, shape in chain(given, self._hidden.get(position, ()))
            ]

    def _input(self, position: int, parent: int, source: int, port: int, shape: Shape) -> Link:
        link = self._link(source, port, shape, parent)
        if not self.inside[position]:
            return link
        return link._replace(into=self._entries_of(position)[source, port])

    def _end(self, origin: int | None, shape: Shape, block: int) -> Link | None:
        if origin is not None and origin > block:
            return self._link(origin, 0, shape, block)
        call = self._calls[block]  # which hands on an input
        sources = (0,) * len(call.inputs) if call.parent is None else call.sources
        given = zip(sources, call.ports, call.inputs, strict=True)
        ports = [port for source, port, size in given if (source, size) == (origin, shape)]
        return None if origin is None or not ports else self._link(origin, ports[0], shape, block)

    def _link(self, source: int, port: int, shape: Shape, block: int) -> Link:
        maker: int | None = source
        while maker is not None and self._calls[maker].parent != block:
            maker = self._calls[maker].parent
        if maker is not None:
            return Link(self.number[maker], port if maker == source else 0, shape)
        entries = self._entries_of(block)
        if (source, port) not in entries:
            entries[source, port] = len(entries)
            self._hidden[block].append((source, port, shape))
        return Link(~entries[source, port], port, shape)

    def _entries_of(self, block: int) -> dict[tuple[int | None, int], int]:
        if block not in self._entries:
            self._entries[block] = _entries(self._calls[block])
        return self._entries[block]


def _entries(call: Call) -> dict[tuple[int | None, int], int]:
    """Number what comes into a call, each tensor once."""
    if call.parent is None:
        return {(0, port): port for port in range(len(call.inputs))}
    given = dict.fromkeys(zip(call.sources, call.ports, strict=True))
    return {pair: number for number, pair in enumerate(p for p in given if p[0] is not None)}
