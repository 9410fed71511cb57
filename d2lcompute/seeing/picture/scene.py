"""All that is to be seen in a picture: shapes and letters in inches, `y` downwards."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...words.language import _
from . import boxes
from .boxes import LABEL, NOTE, Arc, Box, Line, Point, measure, placed
from .columns import HEADER
from .graph import EXIT, Node
from .palette import SHADES
from .rows import LABEL_GAP, flow_label

MARGIN = 0.12
STUB = 0.4  # the arrows that lead into the net and out of it
BELOW_NET = 0.08
TEXT_LINE = 0.17
TEXT_WIDTH = 2.6  # of the lines below the net, at least
CHARACTERS = 13  # of a message to the inch
SWATCH, SWATCH_GAP, LEGEND_GAP = 0.26, 0.07, 0.2

CORNER, ARC_CORNER, BOX_CORNER = 0.06, 0.14, 0.07
DOT = 0.035
GROUND = 0.03  # around letters
HEAD_LENGTH, HEAD_WIDTH = 0.085, 0.075
BEHIND, FLOWING, JOINING, BEFORE, ON_TOP = range(5)  # what covers what


class Rectangle(NamedTuple):
    """A box with round corners; `fill` and `edge` are roles of the palette."""

    x: float
    y: float
    width: float
    height: float
    corner: float
    fill: str
    edge: str
    thickness: float = 1.0
    dash: tuple[float, ...] = ()


class Way(NamedTuple):
    """A line with right angles and round corners."""

    points: tuple[Point, ...]
    corner: float
    color: str
    thickness: float

    def steps(self) -> list[tuple[str, Point]]:
        """Return the way as SVG writes paths: `M`ove, `L`ine, `Q`uadratic curve by a point."""
        points = self.points
        steps = [("M", points[0])]
        for before, corner, after in zip(points, points[1:], points[2:], strict=False):
            lengths = boxes.distance(before, corner), boxes.distance(corner, after)
            reach = min(self.corner, lengths[0] / 2, lengths[1] / 2)
            steps += [("L", boxes.toward(corner, before, reach)), ("Q", corner)]
            steps.append((" ", boxes.toward(corner, after, reach)))
        return [*steps, ("L", points[-1])]


class Head(NamedTuple):
    """An arrowhead."""

    points: tuple[Point, Point, Point]
    color: str


class Dot(NamedTuple):
    """Where an arc ends."""

    x: float
    y: float
    color: str


class Letters(NamedTuple):
    """A text of a `size` in points, centered on `y`, with `x` at its left, middle or right.

    Behind it is a patch of the colour `ground`, if there is one.
    """

    text: str
    x: float
    y: float
    size: float
    color: str
    side: str = "left"
    ground: str = ""


Shape = Rectangle | Way | Head | Dot | Letters


@dataclass
class Scene:
    """Shapes, what lies behind first, and how large the picture is."""

    left: float
    top: float
    width: float
    height: float
    shapes: list[Shape]


def scene_of(root: Box, wired: bool, message: str, note: str) -> Scene:
    """Return what there is to see of a box, and of the arrows into and out of it if it is `wired`.

    A `message` says why the pass ended where the picture does, a `note` what is left out.
    """
    return _Scenery(root, wired).scene(message, note)


class _Scenery:
    def __init__(self, root: Box, wired: bool) -> None:
        self._root = root
        self._levels: list[tuple[int, Shape]] = []
        flows = root.node.flows if wired else []
        self._leaving = flow_label(flow for flow in flows if flow.target == EXIT)
        self._coming = root.node.entries if wired else []
        self._right = root.width
        self._at = {box.node: box for box in placed(root)}
        self._below = root.height

    def scene(self, message: str, note: str) -> Scene:
        for depth, box in self._by_depth():
            self._box(box, depth)
        above = STUB if any(self._coming) else 0.0
        for x, text in zip(self._root.entries, self._coming, strict=False):
            self._line(Line(((x, -above), (x, 0.0)), has_head=True))
            self._label(text, x + LABEL_GAP, 0.12 - above)
        if self._leaving and not message:
            x, bottom = self._root.leave, self._root.height
            self._line(Line(((x, bottom), (x, bottom + STUB)), has_head=True))
            self._label(self._leaving, x + LABEL_GAP, bottom + 0.12)
            self._below += STUB
        self._write(message, "failure")
        self._legend()
        self._write(note, "faint")
        shapes = [shape for _, shape in sorted(self._levels, key=lambda pair: pair[0])]
        width, height = self._right + 2 * MARGIN, above + self._below + 2 * MARGIN
        return Scene(-MARGIN, -above - MARGIN, width, height, shapes)

    def _by_depth(self) -> Iterator[tuple[int, Box]]:
        level = [(0, self._root)]
        for depth, box in level:
            yield depth, box
            level += [(depth + 1, child) for child in box.children]

    def _add(self, level: int, shape: Shape) -> None:
        self._levels.append((level, shape))

    def _box(self, box: Box, depth: int) -> None:
        """Show a box with its title, and with the sheets behind it if it stands for several."""
        node = box.node
        count = boxes.sheets(node)
        width, height = (side - boxes.STACK * (count - 1) for side in (box.width, box.height))
        for sheet in reversed(range(count)):
            x, y = box.x + boxes.STACK * sheet, box.y + boxes.STACK * sheet
            shape = _frame(node, x, y, width, height, depth)
            self._add(BEHIND if node.children else BEFORE, shape)
        self._title(box, width)
        for line in box.lines:
            self._line(line)
        for label in box.labels:
            self._label(label.text, label.x, label.y, ground="")
        for arc in box.arcs:
            self._arc(arc, self._at[arc.first], self._at[arc.second])

    def _title(self, box: Box, width: float) -> None:
        node = box.node
        length = boxes.title_width(node)
        size = NOTE if node.kind == "held" else boxes.TITLE
        x, y = box.x + (width - length) / 2, box.y + boxes.HEIGHT[node.kind] / 2
        if node.children:
            x, y = box.x + boxes.PAD, box.y + HEADER / 2
        self._add(ON_TOP, Letters(node.title, x, y, size, "ink"))
        if node.badge:
            right = x + length
            self._add(ON_TOP, Letters(node.badge, right, y, NOTE, "paper", "right", "faint"))
        if node.note and not node.children and node.kind != "held":
            y = box.y + boxes.HEIGHT[node.kind] + boxes.NOTE_HEIGHT / 2 - 0.045
            self._add(ON_TOP, Letters(node.note, box.x + width / 2, y, NOTE, "faint", "middle"))

    def _line(self, line: Line) -> None:
        *way, tip = line.points
        if line.has_head:
            neck = boxes.toward(tip, way[-1], HEAD_LENGTH)
            across, along = ((tip[i] - neck[i]) / HEAD_LENGTH * HEAD_WIDTH / 2 for i in (0, 1))
            first, second = (neck[0] - along, neck[1] + across), (neck[0] + along, neck[1] - across)
            self._add(FLOWING, Head((tip, first, second), "faint"))
            tip = neck
        self._add(FLOWING, Way((*way, tip), CORNER, "faint", 1.0))

    def _label(self, text: str, x: float, y: float, ground: str = "paper") -> None:
        self._add(ON_TOP, Letters(text, x, y, LABEL, "faint", ground=ground))
        self._right = max(self._right, x + measure(text, LABEL))

    def _arc(self, arc: Arc, first: Box, second: Box) -> None:
        """Join two boxes."""
        start, end = ((box.x, box.y + box.height / 2) for box in (first, second))
        if not arc.way:
            left, right = sorted((first, second), key=lambda box: box.x)
            start = left.x + left.width, left.y + left.height / 2
            end = right.x, right.y + right.height / 2
            corners = []
        elif len(arc.way) == 1:
            corners = [(arc.way[0], start[1]), (arc.way[0], end[1])]
        else:
            x, y, next_x = arc.way
            corners = [(x, start[1]), (x, y), (next_x, y), (next_x, end[1])]
        color = _shade(arc.first)
        self._add(JOINING, Way((start, *corners, end), ARC_CORNER, color, 1.8))
        for tip in (start, end):
            self._add(BEFORE, Dot(*tip, color))

    def _write(self, text: str, color: str) -> None:
        """Write a text below the net, in as many lines as it takes."""
        width = max(TEXT_WIDTH, self._root.width)
        for line in textwrap.wrap(text, int(width * CHARACTERS)):
            y = self._below + BELOW_NET + TEXT_LINE / 2
            self._add(ON_TOP, Letters(line, 0.0, y, LABEL, color, ground="paper"))
            self._right = max(self._right, measure(line, LABEL))
            self._below += TEXT_LINE

    def _legend(self) -> None:
        """Explain, below the net, what does not explain itself."""
        items = list(_legend([box.node for box in self._at.values()]))
        if not items:
            return
        x, y = 0.0, self._below + BELOW_NET + TEXT_LINE / 2
        for sample, text in items:
            length = SWATCH + SWATCH_GAP + measure(text, NOTE)
            if x and x + length > max(self._root.width, TEXT_WIDTH):
                x, y = 0.0, y + TEXT_LINE
            for sheet in reversed(range(boxes.sheets(sample))):
                shift = boxes.STACK * sheet
                frame = _frame(sample, x + shift, y - 0.06 + shift, SWATCH - 0.05, 0.11, 0)
                self._add(BEFORE, frame)
            words = Letters(text, x + SWATCH + SWATCH_GAP, y, NOTE, "faint", ground="paper")
            self._add(ON_TOP, words)
            self._right = max(self._right, x + length)
            x += length + LEGEND_GAP
        self._below = y + TEXT_LINE / 2


def _legend(nodes: Sequence[Node]) -> Iterator[tuple[Node, str]]:
    """Yield a sample of what may need words, and the words."""
    if any(node.lazy for node in nodes):
        yield Node("", "block", lazy=True), _("no shape before this pass")
    if any(boxes.sheets(node) > 1 for node in nodes):
        yield Node("", "block", count=3), _("alike ones, drawn once")
    if any(node.shade is not None for node in nodes):
        yield Node("", "block", shade=0), _("the same block or parameter")
    if any(node.kind == "held" for node in nodes):
        yield Node("", "held"), _("a tensor the net holds")


def _frame(node: Node, x: float, y: float, width: float, height: float, depth: int) -> Rectangle:
    corner = {"step": height / 2, "held": 0.0}.get(node.kind, BOX_CORNER)
    edge, fill = _colors(node, depth)
    dash = (1.0, 2.0) if node.kind == "loop" else (3.5, 2.0) if node.lazy else ()
    thickness = 1.0 if node.shade is None and not node.failed else 1.6
    return Rectangle(x, y, width, height, corner, fill, edge, thickness, dash)


def _colors(node: Node, depth: int) -> tuple[str, str]:
    """Return the colours of the border and of what is inside."""
    edge = "failure" if node.failed else "border"
    if node.shade is not None:
        shade = _shade(node)
        return "failure" if node.failed else shade, f"{shade} tint"
    if node.children:
        return edge, f"nest{depth % 2}"
    if node.failed:
        return edge, "failure tint"
    if node.trained or node.lazy:
        return "accent", "accent tint"
    return edge, "paper"


def _shade(node: Node) -> str:
    return f"shade{(node.shade or 0) % len(SHADES)}"
