"""Boxes in rows along the flow of data: each below all that feed it, with lines between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean

from ...parameters.names import shape_text
from ...tables import listed
from .boxes import LABEL, Box, Label, measure
from .graph import EXIT, Flow, Node
from .routes import CHANNEL, CLEAR, Place, Router

BESIDE = 0.26  # between boxes of a row
BELOW = 0.1  # between rows without arrows
UNLABELLED = 0.07, 0.13  # from a row to where lines turn, and from there to the next row
LABELLED = 0.2, 0.12
LABEL_GAP = 0.06  # from a line to its label
ENTRY_GAP = 0.2  # between lines that come in


class Rows:
    """The children of a node, one box each in `boxes`, placed in rows."""

    def __init__(self, node: Node, boxes: Sequence[Box], arrows: bool) -> None:
        self.rows = rows_of(len(boxes), node.flows)
        self.node = node
        self._row = {index: number for number, row in enumerate(self.rows) for index in row}
        self._exits = sorted({EXIT, *(f.target for f in node.flows if f.target > EXIT)})
        self._row |= dict.fromkeys(self._exits, len(self.rows))
        self._boxes = boxes
        self._feeding: dict[int, list[Flow]] = defaultdict(list)
        self._onward: dict[int, list[Flow]] = defaultdict(list)
        for flow in node.flows:
            self._feeding[flow.target].append(flow)
            if node.kind == "column" or flow.target < EXIT:
                self._onward[flow.source].append(flow)
        self._arrows = arrows
        self._driven = _driven(node.flows)
        labelled = [arrows and child.kind != "held" for child in node.children]
        self._texts = [flow_label(self._onward[i]) if is_ else "" for i, is_ in enumerate(labelled)]
        self._widths = [measure(text, LABEL) + LABEL_GAP for text in self._texts]
        self._gaps = _entry_gaps(node)
        self._places = self._across()
        ends = {i: len(place.into) - 1 for i, place in self._places.items()}
        flows = [flow._replace(into=min(flow.into, ends[flow.target])) for flow in node.flows]
        self._router = Router(self._places, flows if arrows else [])
        self.height, self._channels = self._down()

    def box(self) -> Box:
        """Return a box around the children, with no border, title or space around."""
        places = self._places.values()
        left = min(place.left for place in places)
        right = max(self._router.right, *(place.right for place in places))
        entries = [self._places[~number].out for number in range(len(self._gaps))]
        leave = self._places[EXIT].out
        box = Box(self.node, right - left, self.height, entries, leave, list(self._boxes))
        box.aside = [self._places[exit_].out for exit_ in self._exits[1:]]
        box.lines = self._router.lines(self._channels)
        for index, child in enumerate(self._boxes):
            place = self._places[index]
            child.x, child.y = place.left, place.top
            if self._texts[index]:
                middle = place.bottom + LABELLED[0] / 2
                box.labels.append(Label(self._texts[index], place.out + LABEL_GAP, middle))
        box.move_inside(-left, 0.0)
        return box

    def cuts(self) -> list[tuple[float, int, list[int]]]:
        """Return how far down each row begins, which it is, and what comes from above it.

        What was made last comes first, and what comes into the node last.
        """
        crossing: list[set[int]] = [set() for _ in self.rows]
        first: dict[int, int] = {}  # what comes into the node crosses only where it is taken again
        for flow in sorted(self.node.flows, key=lambda flow: self._row[flow.target]):
            target = self._row[flow.target]
            source = (
                self._row[flow.source]
                if flow.source >= 0
                else first.setdefault(flow.source, target)
            )
            for row in range(source + 1, min(target + 1, len(self.rows))):
                crossing[row].add(flow.source)
        tops = [min(self._places[index].top for index in row) for row in self.rows]
        rows = range(1, len(self.rows))
        return [(tops[row], row, sorted(crossing[row], reverse=True)) for row in rows]

    def _across(self) -> dict[int, Place]:
        """Place the children from left to right, each below what feeds it from nearest."""
        places = {~number: _point(-1, x) for number, x in enumerate(self._spread())}
        for number, row in enumerate(self.rows):
            wishes = {index: self._wish(index, places) for index in row}
            end = -math.inf
            for index in sorted(row, key=lambda index: (wishes[index] is None, wishes[index] or 0)):
                box, wish = self._boxes[index], wishes[index]
                left = max(self._beside(number, places) if wish is None else wish, end + BESIDE)
                end = left + max(box.width, box.leave + self._widths[index])
                entries = [left + entry for entry in box.entries]
                places[index] = Place(number, entries, left + box.leave, left, end)
            if not box.children:
                places[index].side = left + box.width
            aside = [w - places[index].left for index, w in wishes.items() if w is not None]
            for index in row:
                places[index].shift(fmean(aside) if aside else 0.0)
        places[EXIT] = _point(len(self.rows), self._wish(EXIT, places) or 0.0)
        for exit_ in self._exits[1:]:
            places[exit_] = _point(len(self.rows), self._aside(exit_, places))
        if len(self._gaps) > 1:
            places.update(self._entries(places))
        return places

    def _beside(self, row: int, places: Mapping[int, Place]) -> float:
        """Return where there is space for what nothing feeds: right of all that passes its row."""
        passing = [
            places[flow.source].out
            for flow in self.node.flows
            if flow.source in places and self._row[flow.target] > row > places[flow.source].row
        ]
        return max(passing, default=-BESIDE) + BESIDE

    def _aside(self, exit_: int, places: Mapping[int, Place]) -> float:
        """Return where something leaves a column: straight below its source, or beside all boxes.

        All that leaves has space between, as all that comes in.
        """
        source = places[self._feeding[exit_][0].source]
        below = [place for place in places.values() if place.row > source.row]
        if source.row >= 0 and all(
            source.out < place.left - ENTRY_GAP or source.out > place.right + ENTRY_GAP
            for place in below
        ):
            return source.out
        right = max(place.right for place in places.values())
        taken = max((places[one].out for one in self._exits if one in places), default=right)
        return max(right + CLEAR, taken + ENTRY_GAP)

    def _spread(self) -> Iterator[float]:
        """Yield where the data comes in, as long as nobody knows where it goes to."""
        x = 0.0
        for gap in self._gaps:
            yield x
            x += gap

    def _entries(self, places: dict[int, Place]) -> dict[int, Place]:
        """Place what comes in above those that take it, or right of what stands before them."""
        wishes = []
        for number in range(len(self._gaps)):
            flows = [flow for flow in self.node.flows if flow.source == ~number]
            first = min((places[flow.target].row for flow in flows), default=0)
            readers = [flow for flow in flows if places[flow.target].row == first]
            into = [places[f.target].entry(f.into) for f in readers] or [places[~number].out]
            passed = [place for place in places.values() if 0 <= place.row < first]
            wish = fmean(into)
            if any(place.left - CLEAR < wish < place.right + CLEAR for place in passed):
                wish = max(place.right for place in passed) + CLEAR
            wishes.append((wish, number))
        found: dict[int, Place] = {}
        end = -math.inf
        for wish, number in sorted(wishes):
            x = max(wish, end)
            found[~number] = _point(-1, x)
            end = x + self._gaps[number]
        return found

    def _wish(self, index: int, places: dict[int, Place]) -> float | None:
        """Return where the left side of a child would be: below what feeds it from nearest.

        What depends on the inputs counts first, so that it runs straight. One that leads on to the
        right, as columns do, stands below where that begins instead: several in a row would make
        a staircase, and leave half of the picture empty.
        """
        flows = self._feeding[index]
        driven = [flow for flow in flows if flow.source < 0 or flow.source in self._driven]
        feeding = [(places[flow.source], flow.into) for flow in driven or flows]
        nearest = max((place.row for place, _ in feeding), default=-1)
        box = self._boxes[index] if index != EXIT else Box(self.node, 0.0, 0.0, [0.0], 0.0)
        leads_on = box.leave != box.entries[0]
        above = [
            (place.into[0] if leads_on else place.out) - box.entry(into)
            for place, into in feeding
            if place.row == nearest
        ]
        return fmean(above) if above else None

    def _down(self) -> tuple[float, list[float]]:
        """Place the rows from top to bottom; return the height, and where channels begin."""
        y = 0.0
        channels = []
        for gap, row in enumerate([*self.rows, []]):
            labelled = gap > 0 and any(self._texts[index] for index in self.rows[gap - 1])
            before, after = (LABELLED if labelled else UNLABELLED) if self._arrows else (0.0, BELOW)
            channels.append(y + before + CHANNEL / 2)
            y += before + CHANNEL * self._router.channels(gap) + after
            height = max((self._boxes[index].height for index in row), default=0.0)
            for index in row:
                place = self._places[index]
                place.top = y + (height - self._boxes[index].height) / 2
                place.bottom = place.top + self._boxes[index].height
            y += height
        for exit_ in self._exits:
            self._places[exit_].top = y
        return y, channels


def _entry_gaps(node: Node) -> list[float]:
    """Return how much space there is to be behind the line of each thing that comes in."""
    count = max(1, len(node.entries), *(-flow.source for flow in node.flows))
    labels = [*node.entries, *[""] * count][:count]
    return [measure(text, LABEL) + ENTRY_GAP for text in labels]


def _point(row: int, x: float) -> Place:
    return Place(row, [x], x, x, x)


def flow_label(flows: Iterable[Flow]) -> str:
    """Return the shapes that flow, each once."""
    return listed(list(dict.fromkeys(shape_text(flow.shape) for flow in flows)), 2)


def _driven(flows: Sequence[Flow]) -> set[int]:
    """Return the children that depend on what comes in."""
    reached = {flow.target for flow in flows if flow.source < 0}
    for flow in sorted(flows, key=lambda flow: flow.target):  # children are in the order of calls
        if flow.source in reached:
            reached.add(flow.target)
    return reached


def rows_of(count: int, flows: Sequence[Flow]) -> list[list[int]]:
    """Put each child below all that feed it, and what nothing feeds right above its reader."""
    number = [0] * count
    readers: dict[int, list[int]] = defaultdict(list)
    for flow in sorted(flows, key=lambda flow: flow.target):
        if flow.source >= 0 and flow.target < EXIT:
            number[flow.target] = max(number[flow.target], number[flow.source] + 1)
            readers[flow.source].append(flow.target)
    fed = {flow.target for flow in flows}
    for index in readers.keys() - fed:
        number[index] = max(0, min(number[reader] for reader in readers[index]) - 1)
    rows: list[list[int]] = [[] for _ in range(max(number) + 1)]
    for index, row in enumerate(number):
        rows[row].append(index)
    return rows
