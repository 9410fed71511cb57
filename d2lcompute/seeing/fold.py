"""Repeats in a sequence, folded: `a b c b c b c d` is `a`, three times `b c`, `d`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
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


def fold(
    items: Sequence[T], key: Callable[[T], Hashable], alike: Callable[[T, T], bool] | None = None
) -> Iterator[Run[T]]:
    """Yield runs that together are `items`; of several ways to fold, what saves the most wins.

    >>> from d2lcompute.seeing.fold import fold
    >>> [(run.count, run.unit) for run in fold("abcbcbcd", str)]
    [(1, 'a'), (3, 'bc'), (1, 'd')]

    Items repeat if their keys are equal, and if `alike` says so, too, where it is given.
    """
    keys = [key(item) for item in items]

    def repeats(before: int, after: int) -> bool:
        return keys[before] == keys[after] and (not alike or alike(items[before], items[after]))

    start = 0
    while start < len(items):
        longest = min(LONGEST_UNIT, (len(items) - start) // 2)
        lengths = [n for n in range(1, longest + 1) if keys[start] == keys[start + n]]
        units = [(length, _count(len(items), start, length, repeats)) for length in lengths]
        length, count = max([(1, 1), *units], key=lambda unit: unit[0] * (unit[1] - 1))
        yield Run(count, items[start : start + length * count])
        start += length * count


def _count(stop: int, start: int, length: int, repeats: Callable[[int, int], bool]) -> int:
    end = start + length
    while end < stop and repeats(end - length, end):
        end += 1
    return (end - start) // length
