"""What a picture of a net is made of, and how large it is: inches, `y` downwards."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from unicodedata import combining, east_asian_width

from .graph import Node

TITLE, NOTE, LABEL = 10.0, 7.5, 8.0  # type sizes in points
PAD = 0.14  # between the border of a box and what is inside
HEIGHT = {"block": 0.3, "step": 0.25, "loop": 0.3, "held": 0.22}
NOTE_HEIGHT = 0.16
STACK = 0.04  # by which each sheet of a stack sticks out
BADGE_GAP = 0.16  # between a title and the number of repeats

Point = tuple[float, float]

# How wide the letters of DejaVu Sans are, in thousandths of its size.
_WIDTHS = {
    letter: width
    for width, letters in {
        275: "'", 278: "ijl", 295: "IJ", 318: " ,.", 337: "/:;\\|", 344: "f", 361: "-", 390: "()[]",
        392: "t", 394: "r", 401: "!", 460: '"', 500: "*_`", 521: "s", 525: "z", 531: "?", 550: "c",
        557: "L", 575: "F", 579: "k", 592: "vxy", 593: "T", 603: "P", 611: "Yao", 615: "e",
        632: "E", 635: "Sbdghnpqu", 636: "$0123456789{}", 656: "K", 685: "VXZ", 686: "B", 695: "R",
        698: "C", 712: "A", 732: "U", 748: "N", 752: "H", 770: "D", 775: "G", 780: "&", 787: "OQ",
        818: "w", 838: "#+<=>^~×", 863: "M", 950: "%", 974: "m", 989: "W", 1000: "@",
    }.items()
    for letter in letters
}  # fmt: skip


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
    """A node with its place; data enters it at the top at `entries`, and leaves below at `leave`.

    What passes a column by, or is taken in a later one too, leaves it at the places `aside`. All of
    these, and what lies inside, have coordinates from the corner of the box until `placed` makes
    them those of the picture.
    """

    node: Node
    width: float
    height: float
    entries: list[float]
    leave: float
    children: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    arcs: list[Arc] = field(default_factory=list)
    aside: list[float] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def entry(self, number: int) -> float:
        """Return where data comes in as what has this number; a closed box has but one place."""
        return self.entries[min(number, len(self.entries) - 1)]

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
        self.entries = [entry + x for entry in self.entries]
        self.leave += x
        self.aside = [leave + x for leave in self.aside]


def sheets(node: Node) -> int:
    """Return how many sheets stand for a folded node, in a stack."""
    return 1 if node.kind == "loop" else min(node.count, 3)


def stack_height(node: Node) -> float:
    """Return by how much the sheets behind the first one stick out, right and below."""
    return STACK * (sheets(node) - 1)


def measure(text: str, size: float) -> float:
    """Return the width in inches of a text of `size` points, the same on every machine."""
    width = sum(_WIDTHS.get(letter) or _other_width(letter) for letter in text)
    return width * size / 72_000


def title_width(node: Node) -> float:
    """Return the width of the title and of the number of repeats behind it."""
    size = NOTE if node.kind == "held" else TITLE
    return measure(node.title, size) + (measure(node.badge, NOTE) + BADGE_GAP if node.badge else 0)


def leaf(node: Node) -> Box:
    """Return the box of a node without others inside."""
    stack = stack_height(node)
    width = max(title_width(node), measure(node.note, NOTE)) + 2 * PAD
    height = HEIGHT[node.kind] + (NOTE_HEIGHT if node.note else 0.0)
    return Box(node, width + stack, height + stack, [width / 2], width / 2)


def _other_width(letter: str) -> int:
    return 0 if combining(letter) else 1000 if east_asian_width(letter) in "WF" else 700


def toward(start: Point, end: Point, length: float) -> Point:
    """Return the point `length` away from `start` on the way to `end`."""
    share = length / (distance(start, end) or 1.0)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def distance(a: Point, b: Point) -> float:
    """Return how far apart two points are that lie in one row or one column."""
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def placed(root: Box) -> list[Box]:
    """Return a box and all inside, from the outside in, in coordinates of the picture."""
    boxes = [root]
    for box in boxes:
        box.move_inside(box.x, box.y)
        boxes += box.children
    return boxes
