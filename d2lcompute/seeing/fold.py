"""Repeats in a sequence, folded: `a b c b c b c d` is `a`, three times `b c`, `d`.

How the repeats are wired, in a row or side by side, is read from how data flows between calls.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, NamedTuple, TypeVar

from ..parameters.names import Shape
from .calls import Call, inside

T = TypeVar("T")
LONGEST_UNIT = 32


@dataclass(slots=True)
class Run(Generic[T]):
    """`items` that are `count` times as many as those of the `unit` that repeats."""

    count: int
    items: Sequence[T]

    @property
    def unit(self) -> Sequence[T]:
        """The items of the first repetition."""
        return self.items[: len(self.items) // self.count]

    def columns(self) -> list[list[T]]:
        """Return for each item of the unit those that stand in its place, it included."""
        length = len(self.unit)
        return [list(self.items[first::length]) for first in range(length)]


def fold(
    items: Sequence[T],
    key: Callable[[T], Hashable],
    repeats: Callable[[int, int, int], bool] | None = None,
    is_worth: Callable[[Run[T]], bool] | None = None,
) -> Iterator[Run[T]]:
    """Yield runs that together are `items`; of several ways to fold, what saves the most wins.

    >>> from d2lcompute.seeing.fold import fold
    >>> [(run.count, run.unit) for run in fold("abcbcbcd", str)]
    [(1, 'a'), (3, 'bc'), (1, 'd')]

    An item repeats the one a `length` before it if their keys are equal and, where it is given,
    `repeats(start, length, place)` says so, too: `start` is where the run begins, `place` where
    the item stands. Only runs that are `is_worth` it are folded.
    """
    keys = [key(item) for item in items]

    def end_of(start: int, length: int) -> int:
        end = start + length
        while end < len(items) and keys[end - length] == keys[end]:
            if repeats and not repeats(start, length, end):
                break
            end += 1
        return end

    start = 0
    while start < len(items):
        found = [Run(1, items[start : start + 1])]
        ends: dict[int, int] = {}
        for length in range(1, min(LONGEST_UNIT, (len(items) - start) // 2) + 1):
            if keys[start] != keys[start + length] or _is_within(ends, start, length):
                continue
            end = end_of(start, length)
            if end < start + 2 * length:
                continue
            ends[length] = end
            count = (end - start) // length
            run = Run(count, items[start : start + length * count])
            if is_worth is None or is_worth(run):
                found.append(run)
        best = found[0]
        if len(found) > 1:
            best = max(found, key=lambda run: len(run.items) - len(run.unit))
        yield best
        start += len(best.items)


def _is_within(ends: Mapping[int, int], start: int, length: int) -> bool:
    """Whether a unit of this length is several shorter ones, which end where it would end."""
    return any(length % short == 0 and start + length <= end for short, end in ends.items())


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
    input. `leaving` are the links of the outputs of a block to what made them inside; behind them
    stands what others take from inside without its being an output.
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
        self._taken: dict[int, dict[tuple[int, int], tuple[int, Link]]] = defaultdict(dict)
        self._entries: dict[int, dict[tuple[int | None, int], int]] = {}
        for position in reversed(range(len(calls))):  # what is inside first: it may take more
            self._connect(position, calls[position])

    def _connect(self, position: int, call: Call) -> None:
        if self.inside[position]:
            ends = zip(call.origins, call.outputs, strict=True)
            links = [self._end(origin, shape, position) for origin, shape in ends]
            taken = [link for _place, link in self._taken[position].values()]
            self.leaving[position] = [*(link for link in links if link), *taken]
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
        sources, ports = call.sources, call.ports
        if call.parent is None:
            sources, ports = (0,) * len(call.inputs), tuple(range(len(call.inputs)))
        given = zip(sources, ports, call.inputs, strict=True)
        fitting = [port for source, port, size in given if (source, size) == (origin, shape)]
        if origin is None or not fitting:
            return None
        return self._link(origin, fitting[0], shape, block)

    def _link(self, source: int, port: int, shape: Shape, block: int) -> Link:
        way = self._way_out(source, block)
        if way:
            return self._taken_out(way, port, shape)
        entries = self._entries_of(block)
        if (source, port) not in entries:
            entries[source, port] = len(entries)
            self._hidden[block].append((source, port, shape))
        return Link(~entries[source, port], port, shape)

    def _way_out(self, source: int, block: int) -> list[int]:
        """Return a call and those around it, up to one that `block` made, [] if none is."""
        way = [source]
        while (around := self._calls[way[-1]].parent) != block:
            if around is None:
                return []
            way.append(around)
        return way

    def _taken_out(self, way: Sequence[int], port: int, shape: Shape) -> Link:
        """Return the link to the last call on the way, out of which the data of the first comes."""
        link = Link(self.number[way[0]], port, shape)
        for around in way[1:]:
            taken, outputs = self._taken[around], len(self._calls[around].outputs)
            place, _link = taken.setdefault((way[0], port), (outputs + len(taken), link))
            link = Link(self.number[around], place, shape)
        return link

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
