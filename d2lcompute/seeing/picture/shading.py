"""Which nodes of a picture are the same block, or share a parameter: one shade, joined by arcs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, count, pairwise

from ..calls import Call, reader
from .graph import Node


def shade(root: Node, calls: Sequence[Call]) -> None:
    """Give the nodes under `root` that share something a shade, and arcs from one to the next."""
    parents: dict[Node, Node | None] = {root: None}
    at: dict[int, Node] = {}
    nodes = [root]
    for node in nodes:  # from the outside in, so that the innermost node of a call stays
        at.update(dict.fromkeys(node.calls, node))
        parents.update(dict.fromkeys(node.children, node))
        nodes += node.children
    shades = count()
    for positions in _shared(calls):
        sharers = list(dict.fromkeys(_node_at(position, at, calls) for position in positions))
        known = [node.shade for node in sharers if node.shade is not None]
        number = min(known) if known else next(shades)
        for node in sharers:
            node.shade = number
        for first, second in pairwise(sharers):
            _join(first, second, parents)


def _join(first: Node, second: Node, parents: dict[Node, Node | None]) -> None:
    around_first, around_second = _around(first, parents), _around(second, parents)
    if first in around_second or second in around_first:
        return
    innermost = next(node for node in around_second if node in around_first)
    if (first, second) not in innermost.arcs:
        innermost.arcs.append((first, second))


def _around(node: Node, parents: dict[Node, Node | None]) -> list[Node]:
    """Return a node and those around it, the innermost first."""
    around = []
    current: Node | None = node
    while current is not None:
        around.append(current)
        current = parents[current]
    return around


def _node_at(position: int, at: dict[int, Node], calls: Sequence[Call]) -> Node:
    while position not in at:
        position = calls[position].parent or 0
    return at[position]


def _shared(calls: Sequence[Call]) -> Iterator[list[int]]:
    """Yield the calls of each block called again, then those that read each shared parameter."""
    totals = Counter(call.name for call in calls if call.is_block)
    blocks: dict[str, list[int]] = defaultdict(list)
    readers: dict[str, dict[object, list[int]]] = defaultdict(dict)
    for position, call in enumerate(calls):
        caller = 0 if call.parent is None else totals[calls[call.parent].name]
        if call.is_block and 1 < totals[call.name] != caller:
            blocks[call.name].append(position)
        for parameter in call.parameters:
            readers[parameter].setdefault(reader(calls, call), []).append(position)
    yield from blocks.values()
    yield from (list(chain(*by.values())) for by in readers.values() if len(by) > 1)
