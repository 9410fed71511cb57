"""Repeats in a sequence, folded: `a b c b c b c d` is `a`, three times `b c`, `d`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
LONGEST_UNIT = 32


@dataclass(frozen=True)
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


def fold(items: Sequence[T], alike: Callable[[T, T], bool]) -> Iterator[Run[T]]:
    """Yield runs that together are `items`; of several ways to fold, what saves the most wins.

    >>> from d2lcompute.traces.folding import fold
    >>> [(run.count, run.unit) for run in fold("abcbcbcd", lambda a, b: a == b)]
    [(1, 'a'), (3, 'bc'), (1, 'd')]
    """
    start = 0
    while start < len(items):
        longest = min(LONGEST_UNIT, (len(items) - start) // 2)
        units = [(length, _count(items, start, length, alike)) for length in range(1, longest + 1)]
        length, count = max(units, key=lambda unit: unit[0] * (unit[1] - 1), default=(1, 1))
        yield Run(count, items[start : start + length * count])
        start += length * count


def _count(items: Sequence[T], start: int, length: int, alike: Callable[[T, T], bool]) -> int:
    end = start + length
    while end < len(items) and alike(items[end - length], items[end]):
        end += 1
    return (end - start) // length
