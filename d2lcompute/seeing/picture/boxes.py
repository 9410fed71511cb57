"""What a picture of a net is made of, and how large it is: inches, `y` downwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from .graph import Node

TITLE, NOTE, LABEL = 10.0, 7.5, 8.0  # type sizes in points
PAD = 0.14  # between the border of a box and what is inside
HEIGHT = {"block": 0.3, "step": 0.25}
NOTE_HEIGHT = 0.16
STACK = 0.04  # by which each sheet of a stack sticks out
BADGE_GAP = 0.16  # between a title and the number of repeats

Measure = Callable[[str, float], float]  # the width of a text of a size
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line with right angles, with an arrowhead at its end or not."""

    points: tuple[Point, ...]
    has_head: bool


@dataclass(frozen=True)
class Label:
    """Text that begins at `x` and is centered on `y`."""

    text: str
    x: float
    y: float


@dataclass(frozen=True)
class Arc:
    """What joins two nodes: a way over `x`, or over `x`, `y` and another `x`, or straight."""

    first: Node
    second: Node
    way: tuple[float, ...] = ()


@dataclass
class Box:
    """A node with its place; data enters it at the top at `axis`, and leaves below at `leave`.

    These two, and all that lies inside, have coordinates from the corner of the box until `placed`
    makes them those of the picture.
    """

    node: Node
    width: float
    height: float
    axis: float
    leave: float
    children: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    arcs: list[Arc] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def move_inside(self, x: float, y: float) -> None:
        """Move what lies inside, and the ends of the flow."""
        for child in self.children:
            child.x, child.y = child.x + x, child.y + y
        self.lines = [
            Line(tuple((left + x, top + y) for left, top in line.points), line.has_head)
            for line in self.lines
        ]
        self.labels = [replace(label, x=label.x + x, y=label.y + y) for label in self.labels]
        self.arcs = [
            replace(arc, way=tuple(at + (y if i == 1 else x) for i, at in enumerate(arc.way)))
            for arc in self.arcs
        ]
        self.axis, self.leave = self.axis + x, self.leave + x


def sheets(node: Node) -> int:
    """Return how many sheets stand for a folded node, in a stack."""
    return 1 if node.kind == "loop" else min(node.repeats, 3)


def stack_height(node: Node) -> float:
    """Return by how much the sheets behind the first one stick out, right and below."""
    return STACK * (sheets(node) - 1)


def title_width(node: Node, measure: Measure) -> float:
    """Return the width of the title and of the number of repeats behind it."""
    badge = badge_text(node)
    return measure(node.title, TITLE) + (measure(badge, NOTE) + BADGE_GAP if badge else 0.0)


def badge_text(node: Node) -> str:
    """Return how often a folded node stands there, "" for once; the title of a loop says it."""
    return f"× {node.repeats:,}" if sheets(node) > 1 else ""


def leaf(node: Node, measure: Measure) -> Box:
    """Return the box of a node without others inside."""
    stack = stack_height(node)
    width = max(title_width(node, measure), measure(node.note, NOTE)) + 2 * PAD
    height = HEIGHT[node.kind] + (NOTE_HEIGHT if node.note else 0.0)
    return Box(node, width + stack, height + stack, width / 2, width / 2)


def placed(root: Box) -> list[Box]:
    """Return a box and all inside, from the outside in, in coordinates of the picture."""
    boxes = [root]
    for box in boxes:
        box.move_inside(box.x, box.y)
        boxes += box.children
    return boxes
