"""What a picture says, in words: for those who cannot see it, and for search."""

from __future__ import annotations

from collections.abc import Iterator

from ...words.language import _
from .graph import EXIT, Node
from .rows import flow_label


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
    inputs = ", ".join(root.entries) or _("nothing")
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
    return _("from {names}", names=" + ".join(names)) if names else ""


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
