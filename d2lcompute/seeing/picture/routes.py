"""How lines get from box to box: straight down, through the gaps between rows, around boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .boxes import Line
from .graph import EXIT, Flow

CHANNEL = 0.09  # between parallel lines
CLEAR = 0.14  # between a line and a box that it passes


@dataclass
class Place:
    """Where a box stands: its row and extent, and where data comes `into` it and goes `out`.

    `side` is its right edge if lines may enter there too, since nothing stands beside it.
    """

    row: int
    into: list[float]
    out: float
    left: float
    right: float
    side: float | None = None
    top: float = 0.0
    bottom: float = 0.0

    def entry(self, number: int) -> float:
        """Return where data comes in as what has this number; a closed box has but one place."""
        return self.into[min(number, len(self.into) - 1)]

    def shift(self, x: float) -> None:
        """Move the box right."""
        self.into, self.out = [entry + x for entry in self.into], self.out + x
        self.left, self.right = self.left + x, self.right + x
        self.side = None if self.side is None else self.side + x


@dataclass
class _Path:
    """The way of a flow to `x`: down at `column`, with turns in the gaps above the rows named."""

    source: int
    target: int
    into: int
    x: float
    column: float
    at_side: bool = False
    turns: dict[int, object] = field(default_factory=dict)


class Router:
    """Finds ways between places, in two steps: `channels` of a gap first, `lines` when placed."""

    def __init__(self, places: Mapping[int, Place], flows: Iterable[Flow]) -> None:
        self._places = places
        self._columns: list[tuple[float, int, int, int]] = []  # x, rows from and to, source
        spans = {
            (f.source, f.target, f.into): places[f.target].row - places[f.source].row for f in flows
        }
        longest: dict[int, int] = {}
        for (source, *_), span in spans.items():
            longest[source] = max(span, longest.get(source, 0))
        # Short ways lie inside long ones; of one source the longest is the others' trunk.
        order = sorted(spans, key=lambda flow: (longest[flow[0]], flow[0], -spans[flow]))
        self._paths = [self._path(*flow) for flow in order]
        self._gaps: dict[int, list[object]] = {}
        self._join_turns()

    @property
    def right(self) -> float:
        """Where the rightmost line runs."""
        return max((x for x, *_ in self._columns), default=0.0)

    def channels(self, gap: int) -> int:
        """Return how many lines run side by side in the gap above a row."""
        return len(self._gaps.get(gap, []))

    def lines(self, channel_tops: Sequence[float]) -> list[Line]:
        """Return the lines, given how far down the channels of each gap begin."""
        lines = []
        for path in self._paths:
            source, target = self._places[path.source], self._places[path.target]
            points = [(source.out, source.bottom)]
            for gap, key in sorted(path.turns.items(), key=lambda turn: turn[0]):
                y = channel_tops[gap] + CHANNEL * self._gaps[gap].index(key)
                x = path.x if gap == target.row else path.column
                points += [(points[-1][0], y), (x, y)]
            if path.at_side and target.side is not None:
                middle = (target.top + target.bottom) / 2
                points += [(path.column, middle), (target.side, middle)]
            else:
                points.append((path.x, target.top))
            lines.append(Line(tuple(points), has_head=path.target < EXIT))
        return lines

    def _path(self, source: int, target: int, into: int) -> _Path:
        start, end = self._places[source], self._places[target]
        first, last = start.row + 1, end.row - 1
        x = end.entry(into)
        column = self._column(start, end, x, first, last, source)
        path = _Path(source, target, into, x, column)
        if first <= last:
            self._columns.append((column, first, end.row, source))
            path.at_side = end.side is not None and column > end.right
            if column != start.out:
                path.turns[first] = "from", source
        if not path.at_side and column != x:
            path.turns[end.row] = "to", target, into
        return path

    def _column(
        self, start: Place, end: Place, into: float, first: int, last: int, source: int
    ) -> float:
        """Return an `x` where nothing stands in the rows from `first` to `last`."""
        trunks = (x for x, *_, owner in self._columns if owner == source)
        for x in (start.out, into, *trunks):
            if self._is_free(x, first, last, source):
                return x
        passed = [place.right for place in self._places.values() if first <= place.row <= last]
        x = max([*passed, *([] if end.side is None else [end.side])]) + CLEAR
        while not self._is_free(x, first, last, source):
            x += CHANNEL
        return x

    def _is_free(self, x: float, first: int, last: int, source: int) -> bool:
        boxes = all(
            x < place.left - CLEAR / 2 or x > place.right + CLEAR / 2
            for place in self._places.values()
            if first <= place.row <= last
        )
        entries = [p.out for number, p in self._places.items() if number < 0 and number != source]
        if first == 0 and any(abs(x - entry) < CHANNEL * 0.99 for entry in entries):
            return False
        return boxes and all(
            abs(x - column) >= CHANNEL * 0.99 or begin > last + 1 or end < first or owner == source
            for column, begin, end, owner in self._columns
        )

    def _join_turns(self) -> None:
        """Let the lines that fan out from one box share a channel, and those that meet in one."""
        fanning = Counter((path.source, gap) for path in self._paths for gap in path.turns)
        for path in self._paths:
            for gap in path.turns:
                if fanning[path.source, gap] > 1 and gap == self._places[path.source].row + 1:
                    path.turns[gap] = "from", path.source
        for gap in sorted({gap for path in self._paths for gap in path.turns}):
            self._gaps[gap] = list(
                dict.fromkeys(path.turns[gap] for path in self._paths if gap in path.turns)
            )
