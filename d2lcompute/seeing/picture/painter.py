"""Boxes, lines, labels and arcs on matplotlib axes, a unit an inch, `y` downwards."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon

from . import boxes
from .artists import ScaledText, rounded, text_width, toward
from .boxes import Arc, Box, Label, Line, Point
from .columns import HEADER
from .graph import Node
from .palette import SHADES, Color, palette_for, tint

CORNER, ARC_CORNER = 0.06, 0.14
BOX_CORNER = 0.07
HEAD_LENGTH, HEAD_WIDTH = 0.085, 0.075
DOT = 0.035
DASHES = (0.0, (3.5, 2.0))
BEHIND, FLOWING, JOINING, BEFORE, ON_TOP = 1.0, 2.0, 2.5, 3.0, 4.0  # what covers what


class Painter:
    """Paints on `ax` in the colours that fit its background."""

    def __init__(self, ax: Axes) -> None:
        self._ax = ax
        self.palette = palette_for(ax)

    def box(self, box: Box, depth: int) -> None:
        """Paint a box with its title, and with the sheets behind it if it stands for several."""
        node = box.node
        count = boxes.sheets(node)
        width, height = (side - boxes.STACK * (count - 1) for side in (box.width, box.height))
        border, fill = self._colors(node, depth)
        for sheet in reversed(range(count)):
            patch = FancyBboxPatch(
                (box.x + boxes.STACK * sheet, box.y + boxes.STACK * sheet),
                width,
                height,
                facecolor=fill,
                edgecolor=border,
                linewidth=1.0 if node.shade is None and not node.failed else 1.6,
                linestyle=DASHES if node.lazy or node.kind == "loop" else "solid",
                zorder=BEHIND if node.children else BEFORE,
            )
            corner = height / 2 if node.kind == "step" else BOX_CORNER
            patch.set_boxstyle("round", pad=0.0, rounding_size=corner)
            self._ax.add_artist(patch)
        self._title(box, width)

    def line(self, line: Line) -> None:
        """Paint a line with round corners and, if it has one, its arrowhead."""
        *way, tip = line.points
        color = self.palette.faint
        if line.has_head:
            neck = toward(tip, way[-1], HEAD_LENGTH)
            across, along = ((tip[i] - neck[i]) / HEAD_LENGTH * HEAD_WIDTH / 2 for i in (0, 1))
            sides = [(neck[0] - along, neck[1] + across), (neck[0] + along, neck[1] - across)]
            self._ax.add_artist(Polygon([tip, *sides], color=color, linewidth=0, zorder=FLOWING))
            tip = neck
        self._path([*way, tip], CORNER, color, 1.0, FLOWING)

    def label(self, label: Label, color: str | None = None) -> None:
        """Paint a label."""
        self._text(label.text, label.x, label.y, boxes.LABEL, color or self.palette.faint, "left")

    def arc(self, arc: Arc, first: Box, second: Box) -> None:
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
        color = SHADES[(arc.first.shade or 0) % len(SHADES)]
        self._path([start, *corners, end], ARC_CORNER, color, 1.8, JOINING)
        for tip in (start, end):
            self._ax.add_artist(Circle(tip, DOT, color=color, linewidth=0, zorder=BEFORE))

    def _title(self, box: Box, width: float) -> None:
        node, palette = box.node, self.palette
        length = boxes.title_width(node, text_width)
        x, y = box.x + (width - length) / 2, box.y + boxes.HEIGHT.get(node.kind, HEADER) / 2
        if node.children:
            x, y = box.x + boxes.PAD, box.y + HEADER / 2
        self._text(node.title, x, y, boxes.TITLE, palette.ink, "left")
        badge = boxes.badge_text(node)
        if badge:
            frame = {"boxstyle": "round,pad=0.25,rounding_size=0.5", "linewidth": 0}
            frame |= {"facecolor": palette.faint}
            self._text(badge, x + length, y, boxes.NOTE, palette.paper, "right", frame)
        if node.note and not node.children:
            y = box.y + boxes.HEIGHT[node.kind] + boxes.NOTE_HEIGHT / 2 - 0.045
            self._text(node.note, box.x + width / 2, y, boxes.NOTE, palette.faint, "center")

    def _colors(self, node: Node, depth: int) -> tuple[str | Color, str | Color]:
        """Return the colours of the border and of what is inside."""
        palette = self.palette
        border = palette.failure if node.failed else palette.border
        if node.shade is not None:
            color = SHADES[node.shade % len(SHADES)]
            return palette.failure if node.failed else color, tint(color, palette.paper, 0.25)
        if node.children:
            return border, palette.nest[depth % 2]
        if node.failed:
            return border, tint(palette.failure, palette.paper, 0.15)
        if node.trained or node.lazy:
            return palette.accent, tint(palette.accent, palette.paper, 0.18)
        return border, palette.paper

    def _path(
        self, points: Sequence[Point], radius: float, color: str, width: float, level: float
    ) -> None:
        path = PathPatch(rounded(points, radius), edgecolor=color, linewidth=width, zorder=level)
        path.set(fill=False, capstyle="round")
        self._ax.add_artist(path)

    def _text(
        self, text: str, x: float, y: float, size: float, color: str, side: str,
        frame: dict[str, object] | None = None,
    ) -> None:  # fmt: skip
        style = {"ha": side, "va": "center_baseline", "color": color, "zorder": ON_TOP}
        self._ax.add_artist(ScaledText(x, y, text, size, bbox=frame, **style))
