"""What is to be drawn of a net: as much as fits, as a picture and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...passes.registered import registered_text
from ...words.language import _
from ..calls import Call
from .boxes import Box
from .columns import SLIDE, arrange
from .graph import EXIT, Graph, Node
from .rows import flow_label
from .scene import Scene, scene_of

ROOM = 1.4 * SLIDE[0], 1.4 * SLIDE[1]  # for a picture that folds by itself, in inches
MOST_NODES = 250  # more do not fit


class View(NamedTuple):
    """A picture in the language that is spoken, its title, and what it says in words."""

    scene: Scene
    title: str
    alt: str


@dataclass(frozen=True)
class Sketch:
    """The calls of a net, what its inputs are called, None if it has not run, and why it stopped.

    `depth` is how many levels to open, "all" for every block, None for as many as fit. `registered`
    names what `forward` added to the net.
    """

    calls: Sequence[Call]
    names: Sequence[str] | None
    depth: int | str | None
    message: str
    registered: Sequence[str] = ()

    def view(self) -> View:
        """Return the picture."""
        graph = Graph(self.calls, self.names)
        box, opened = _arranged(graph, self.depth)
        notes = [registered_text(self.registered)] if self.registered else []
        if self.depth is None and opened < graph.deepest:
            levels = {"opened": opened, "deepest": graph.deepest}
            text = _('{opened} of {deepest} levels are open; depth="all" opens every block')
            notes.append(text.format(**levels))
        told = graph.wired, self.message, _("; ").join(notes)
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


def alt_text(root: Node, wired: bool, message: str, note: str) -> str:
    """Return what the picture of a node shows: names in order, shapes, what repeats, what is tied.

    `wired` is whether it shows how data flows; `message` and `note` are as for a scene.
    """
    sentences = [_opening(root, wired)]
    pending = [root]
    while pending:
        node = pending.pop()
        if node.children:
            parts = _("; ").join(_parts(node, wired))
            sentences.append(_("{name} consists of: {parts}.", name=_name(node), parts=parts))
        for first, second in node.arcs:
            sentences.append(_tie(first, second))
        pending += reversed(node.children)
    return " ".join([*sentences, *filter(None, [message, note])])


def _opening(root: Node, wired: bool) -> str:
    if not wired:
        return _("Picture of {name}.", name=_name(root))
    inputs = _(", ").join(root.entries) or _("nothing")
    outputs = flow_label(flow for flow in root.flows if flow.target == EXIT) or _("nothing")
    texts = {"name": _name(root), "inputs": inputs, "outputs": outputs}
    return _("Picture of {name}, which takes {inputs} and gives {outputs}.", **texts)


def _tie(first: Node, second: Node) -> str:
    if first.title == second.title:
        return _("{name} is one block that is called again.", name=first.title)
    names = {"first": _name(first), "second": _name(second)}
    return _("{first} and {second} share parameters.", **names)


def _parts(node: Node, wired: bool) -> Iterator[str]:
    """Yield a phrase for each child that is not just a tensor, in the order of their calls."""
    for index, child in enumerate(node.children):
        if child.kind != "held":
            phrase = [_name(child), *([] if child.children else [child.note])]
            if wired:
                phrase += [_sources(node, index), _results(node, index)]
            yield _(", ").join(filter(None, phrase))


def _sources(node: Node, index: int) -> str:
    """Return where a child has data from, "" if it is just from the child before."""
    found = dict.fromkeys(flow.source for flow in node.flows if flow.target == index)
    if list(found) == [index - 1]:
        return ""
    names = [_name(node.children[i]) if i >= 0 else _entry(node, ~i) for i in found]
    return _("from {names}", names=_(" and ").join(names)) if names else ""


def _entry(node: Node, number: int) -> str:
    several = len({flow.source for flow in node.flows if flow.source < 0}) > 1
    if number < len(node.entries) and several:
        return node.entries[number]
    return _("input {number}", number=number + 1) if several else _("the input")


def _results(node: Node, index: int) -> str:
    shapes = flow_label(flow for flow in node.flows if flow.source == index)
    return _("gives {shapes}", shapes=shapes) if shapes else ""


def _name(node: Node) -> str:
    return f"{node.title} ({node.badge})" if node.badge else node.title
