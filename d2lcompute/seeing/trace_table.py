"""The table of a trace: an indented tree of calls with loops folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress

from ..parameters.names import Shape, shape_text
from ..tables import Table, listed
from .calls import Call, inside, kinds, reader
from .fold import fold

GUIDE = "│ "
MOST_SHAPES = 3
MOST_NAMES = 8

Repeated = tuple[int, ...]  # the positions of a call in every repetition of a loop


def table_of(calls: Sequence[Call], notes: Sequence[str]) -> Table:
    """Return the table of `calls`; microseconds and remarks have a column if there are any."""
    body = _Rows(calls)
    body.add([(0,)] if calls else [], depth=0)
    headers = ("call", "input", "output", "parameters", "FLOPs", "µs", "remarks")
    filled = [index < 5 or any(row[index] for row in body.rows) for index in range(len(headers))]
    rows = [tuple(compress(row, filled)) for row in body.rows]
    return Table(tuple(compress(headers, filled)), rows, notes=notes)


class _Rows:
    def __init__(self, calls: Sequence[Call]) -> None:
        self.rows: list[tuple[object, ...]] = []
        self._calls = calls
        self._inside = inside(calls)
        self._kinds = kinds(calls, _look)
        self._again = _read_before(calls)

    def add(self, level: Sequence[Repeated], depth: int) -> None:
        """Add a row for each call of a level, and below it those for the calls inside."""
        for run in fold(level, lambda repeated: self._kinds[repeated[0]]):
            merged = [sum(column, ()) for column in run.columns()]
            if len(merged) == 1:
                self._add_call(merged[0], run.count, depth)
            else:
                self.rows.append((GUIDE * depth + f"{run.count} times", *[""] * 6))
                self.add(merged, depth + 1)

    def _add_call(self, repeated: Repeated, count: int, depth: int) -> None:
        calls = [self._calls[position] for position in repeated]
        first = calls[0]
        seconds = [call.seconds for call in calls if call.seconds is not None]
        self.rows.append(
            (
                GUIDE * depth + _title(first, calls[-1]),
                shapes_text(first.inputs),
                shapes_text(first.outputs),
                first.parameter_count or "",
                sum(call.flops for call in calls) or "",
                round(1e6 * sum(seconds)) if seconds else "",
                "; ".join(self._remarks(repeated, count)),
            )
        )
        children = zip(*(self._inside[position] for position in repeated), strict=True)
        self.add(list(children), depth + 1)

    def _remarks(self, repeated: Repeated, count: int) -> Iterator[str]:
        first, last = self._calls[repeated[0]], self._calls[repeated[-1]]
        if first.is_block and last.nth > first.nth:
            yield f"calls {first.nth:,} to {last.nth:,}"
        elif first.nth > 1:
            yield f"{ordinal(first.nth)} call"
        elif count > 1:
            yield f"x {count}"
        if first.name.startswith("?"):
            yield "not registered"
        if first.decided:
            decided = [f"{leaf} {shape_text(shape)}" for leaf, shape in first.decided]
            yield f"decided {', '.join(decided)}"
        if self._again[repeated[0]]:
            yield f"reads {listed(self._again[repeated[0]], MOST_NAMES)} again"
        if first.failed and not any(self._calls[p].failed for p in self._inside[repeated[0]]):
            yield "stopped here"


def title(call: Call) -> str:
    """Return what a call is headed with, such as `hidden: Linear`."""
    return f"{call.label}: {call.type}" if call.name else call.label


def shapes_text(shapes: Sequence[Shape]) -> str:
    """Return the first few shapes, and how many there are."""
    return listed([shape_text(shape) for shape in shapes], MOST_SHAPES)


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th` and so on."""
    ending = (
        "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    )
    return f"{number:,}{ending}"


def _title(first: Call, last: Call) -> str:
    return title(first) if first.label == last.label else f"{title(first)} to {title(last)}"


def _look(call: Call) -> tuple[bool, str, str]:
    is_index = not call.is_block and call.label.startswith("[")
    return call.is_block, call.name, "[" if is_index else call.label


def _read_before(calls: Sequence[Call]) -> list[list[str]]:
    """Return for each call those of its parameters that another block or step has read before."""
    readers: dict[str, tuple[str, str]] = {}
    again = []
    for call in calls:
        now = reader(calls, call)
        again.append([p for p in call.parameters if readers.setdefault(p, now) != now])
    return again
