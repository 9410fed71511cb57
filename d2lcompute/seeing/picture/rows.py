"""Boxes in rows along the flow of data: each below all that feed it, with lines between."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from ...parameters.names import shape_text
from ...tables import listed
from .boxes import LABEL, Box, Label, Measure
from .graph import ENTRY, EXIT, Flow, Node
from .routes import CHANNEL, Place, Router

BESIDE = 0.26  # between boxes of a row
BELOW = 0.1  # between rows without arrows
UNLABELLED = 0.07, 0.13  # from a row to where lines turn, and from there to the next row
LABELLED = 0.2, 0.12
LABEL_GAP = 0.06  # from a line to its label


class Rows:
    """The children of a node, one box each in `boxes`, placed in rows."""

    def __init__(self, node: Node, boxes: Sequence[Box], measure: Measure, arrows: bool) -> None:
        self.rows = rows_of(len(boxes), node.flows)
        self.node = node
        self._boxes = boxes
        self._feeding: dict[int, set[int]] = defaultdict(set)
        self._onward: dict[int, list[Flow]] = defaultdict(list)
        for flow in node.flows:
            self._feeding[flow.target].add(flow.source)
            if node.kind == "column" or flow.target != EXIT:
                self._onward[flow.source].append(flow)
        self._arrows = arrows
        self._texts = [flow_label(self._onward[i]) if arrows else "" for i in range(len(boxes))]
        self._widths = [measure(text, LABEL) + LABEL_GAP for text in self._texts]
        self._places = self._across()
        self._router = Router(self._places, node.flows if arrows else [])
        self.height, self._channels = self._down()

    def box(self) -> Box:
        """Return a box around the children, with no border, title or space around."""
        places = self._places.values()
        left = min(place.left for place in places)
        right = max(self._router.right, *(place.right for place in places))
        box = Box(
            self.node, right - left, self.height, 0.0, self._places[EXIT].x, list(self._boxes)
        )
        box.lines = self._router.lines(self._channels)
        for index, child in enumerate(self._boxes):
            place = self._places[index]
            child.x, child.y = place.x - child.axis, place.top
            if self._texts[index]:
                middle = place.bottom + LABELLED[0] / 2
                box.labels.append(Label(self._texts[index], place.out + LABEL_GAP, middle))
        box.move_inside(-left, 0.0)
        return box

    def cuts(self) -> list[tuple[float, int]]:
        """Return how far down the rows begin that only one flow comes down to, and which."""
        crossing: list[set[int]] = [set() for _ in self.rows]
        for flow in self.node.flows:
            source, target = self._places[flow.source].row, self._places[flow.target].row
            for row in range(source + 1, min(target + 1, len(self.rows))):
                crossing[row].add(flow.source)
        tops = [min(self._places[index].top for index in row) for row in self.rows]
        return [(tops[row], row) for row in range(1, len(self.rows)) if len(crossing[row]) == 1]

    def _across(self) -> dict[int, Place]:
        """Place the children from left to right, each below what feeds it from nearest."""
        places = {ENTRY: Place(-1, 0.0, 0.0, 0.0, 0.0)}
        for number, row in enumerate(self.rows):
            wishes = {index: self._wish(index, places) for index in row}
            end = -math.inf
            for index in sorted(row, key=lambda index: (wishes[index] is None, wishes[index] or 0)):
                box = self._boxes[index]
                x = max(wishes[index] or 0.0, end + BESIDE + box.axis)
                label = box.leave - box.axis + self._widths[index]
                end = x + max(box.width - box.axis, label)
                places[index] = Place(number, x, x - box.axis + box.leave, x - box.axis, end)
            if not box.children:
                places[index].side = x - box.axis + box.width
            aside = [wish - places[index].x for index, wish in wishes.items() if wish is not None]
            for index in row:
                places[index].shift(fmean(aside) if aside else 0.0)
        last = self._wish(EXIT, places) or 0.0
        places[EXIT] = Place(len(self.rows), last, last, last, last)
        return places

    def _wish(self, index: int, places: dict[int, Place]) -> float | None:
        """Return where a child would have its axis: below what comes down to it from nearest.

        One that leads on to the right, as columns do, stands below where that begins instead:
        several in a row would make a staircase, and leave half of the picture empty.
        """
        feeding = [places[source] for source in self._feeding[index]]
        nearest = max((place.row for place in feeding), default=-1)
        leads_on = index != EXIT and self._boxes[index].leave != self._boxes[index].axis
        above = [place.x if leads_on else place.out for place in feeding if place.row == nearest]
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
        self._places[EXIT].top = y
        return y, channels


def flow_label(flows: Iterable[Flow]) -> str:
    """Return the shapes that flow, each once."""
    return listed(list(dict.fromkeys(shape_text(flow.shape) for flow in flows)), 2)


def rows_of(count: int, flows: Sequence[Flow]) -> list[list[int]]:
    """Put each child below all that feed it, and what nothing feeds right above its reader."""
    number = [0] * count
    readers: dict[int, list[int]] = defaultdict(list)
    for flow in sorted(flows, key=lambda flow: flow.target):
        if flow.source >= 0 and flow.target >= 0:
            number[flow.target] = max(number[flow.target], number[flow.source] + 1)
            readers[flow.source].append(flow.target)
    fed = {flow.target for flow in flows}
    for index in readers.keys() - fed:
        number[index] = max(0, min(number[reader] for reader in readers[index]) - 1)
    rows: list[list[int]] = [[] for _ in range(max(number) + 1)]
    for index, row in enumerate(number):
        rows[row].append(index)
    return rows
