"""Repeats in a sequence, folded: `a b c b c b c d` is `a`, three times `b c`, `d`."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
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
        best = max(found, key=lambda run: len(run.items) - len(run.unit))
        yield best
        start += len(best.items)


def _is_within(ends: Mapping[int, int], start: int, length: int) -> bool:
    """Whether a unit of this length is several shorter ones, which end where it would end."""
    return any(length % short == 0 and start + length <= end for short, end in ends.items())
