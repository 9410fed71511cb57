"""The picture of a net: axes of the right size, and all that is to be seen on them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from matplotlib.axes import Axes

from .artists import new_axes, text_width
from .boxes import LABEL, Box, Label, Line, placed
from .graph import ENTRY, EXIT
from .painter import Painter
from .rows import LABEL_GAP, flow_label

MARGIN = 0.12
STUB = 0.4  # the arrows that lead into the net and out of it
MESSAGE_LINE = 0.17
MESSAGE_WIDTH = 44  # characters, at least
CHARACTERS = 13  # of a message to the inch


def paint(root: Box, ax: Axes | None, arrows: bool, message: str) -> Axes:
    """Paint a box and what is inside, on axes of a figure of its own if `ax` is None.

    `arrows` lead into the net and out of it; a `message` stands where they leave.
    """
    flows = root.node.flows if arrows else []
    entry = flow_label(flow for flow in flows if flow.source == ENTRY)
    leave = flow_label(flow for flow in flows if flow.target == EXIT)
    lines = textwrap.wrap(message, max(MESSAGE_WIDTH, int(root.width * CHARACTERS)))
    above = STUB if entry else 0.0
    below = MESSAGE_LINE * len(lines) if lines else STUB if leave else 0.0
    ends = [root.axis + text_width(entry, LABEL), root.leave + text_width(leave, LABEL)]
    right = max(root.width, *(end + LABEL_GAP for end in ends), *_widths(lines))
    ax = _axes(ax, right, above, root.height + below)
    painter = Painter(ax)
    _paint_inside(painter, root)
    if entry:
        painter.line(Line(((root.axis, -above), (root.axis, 0.0)), has_head=True))
        painter.label(Label(entry, root.axis + LABEL_GAP, 0.12 - above))
    if leave and not lines:
        bottom = root.height
        painter.line(Line(((root.leave, bottom), (root.leave, bottom + below)), has_head=True))
        painter.label(Label(leave, root.leave + LABEL_GAP, bottom + 0.12))
    for number, text in enumerate(lines):
        y = root.height + MESSAGE_LINE * (number + 0.8)
        painter.label(Label(text, 0.0, y), painter.palette.failure)
    return ax


def _axes(ax: Axes | None, right: float, above: float, bottom: float) -> Axes:
    if ax is None:
        ax = new_axes(right + 2 * MARGIN, above + bottom + 2 * MARGIN)
    ax.set(xlim=(-MARGIN, right + MARGIN), ylim=(bottom + MARGIN, -above - MARGIN))
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _paint_inside(painter: Painter, root: Box) -> None:
    at = {box.node: box for box in placed(root)}
    for depth, box in _by_depth(root):
        painter.box(box, depth)
        for line in box.lines:
            painter.line(line)
        for label in box.labels:
            painter.label(label)
        for arc in box.arcs:
            painter.arc(arc, at[arc.first], at[arc.second])


def _by_depth(root: Box) -> Iterator[tuple[int, Box]]:
    level = [(0, root)]
    for depth, box in level:
        yield depth, box
        level += [(depth + 1, child) for child in box.children]


def _widths(lines: list[str]) -> list[float]:
    return [text_width(line, LABEL) for line in lines]
