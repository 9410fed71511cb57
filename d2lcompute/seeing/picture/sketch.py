"""What is to be drawn of a net, and how much of it fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...words.language import _
from ..calls import Call
from .alt import alt_text
from .boxes import Box
from .columns import SLIDE, arrange
from .graph import Graph, Node
from .scene import Scene, scene_of

ROOM = 1.4 * SLIDE[0], 1.75 * SLIDE[1]  # for a picture that folds by itself, in inches
MOST_NODES = 250  # more do not fit


class View(NamedTuple):
    """A picture in the language that is spoken, its title, and what it says in words."""

    scene: Scene
    title: str
    alt: str


@dataclass(frozen=True)
class Sketch:
    """The calls of a net, what its inputs are called, None if it has not run, and why it stopped.

    `depth` is how many levels to open, "all" for every block, None for as many as fit.
    """

    calls: Sequence[Call]
    names: Sequence[str] | None
    depth: int | str | None
    message: str

    def view(self) -> View:
        """Return the picture."""
        graph = Graph(self.calls, self.names)
        box, opened = _arranged(graph, self.depth)
        note = ""
        if self.depth is None and opened < graph.deepest:
            levels = {"opened": opened, "deepest": graph.deepest}
            note = _(
                '{opened} of {deepest} levels are open; depth="all" opens every block', **levels
            )
        told = graph.wired, self.message, note
        return View(scene_of(box, *told), box.node.title, alt_text(box.node, *told))


def _arranged(graph: Graph, depth: int | str | None) -> tuple[Box, int]:
    """Return the picture down to a depth, or to the greatest one at which it can be read."""
    if depth is not None:
        opened = graph.deepest if isinstance(depth, str) else min(depth, graph.deepest)
        return arrange(graph.root(opened), graph.wired), opened
    low, high = 1, graph.deepest
    best, opened = None, high
    while low <= high:  # the deepest first, which is most often right, then by halves
        root = graph.root(opened)
        box = arrange(root, graph.wired) if _count(root) <= MOST_NODES or opened == 1 else None
        if box and (opened == 1 or (box.width <= ROOM[0] and box.height <= ROOM[1])):
            best, low = (box, opened), opened + 1
        else:
            high = opened - 1
        opened = (low + high + 1) // 2
    return best or (arrange(graph.root(0), graph.wired), 0)


def _count(root: Node) -> int:
    nodes = [root]
    for node in nodes:
        nodes += node.children
    return len(nodes)
