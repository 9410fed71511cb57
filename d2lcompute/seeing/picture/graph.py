"""A trace as a graph to draw: nested nodes, and the data that flows between them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, pairwise
from typing import NamedTuple

from ...parameters.names import Shape, shape_text
from ...words.language import _
from ..calls import Call, reader
from ..fold import Wiring
from ..parts import Part, parts_of, title
from .notes import Notes, labels

EXIT = 1 << 30  # as the target of a flow: it leaves the node; from here on, a column of it


class Flow(NamedTuple):
    """Data of a shape on its way between two children of a node.

    The source `~k` stands for what comes into the node as number `k`, `into` is that number for
    the child that it goes to.
    """

    source: int
    target: int
    shape: Shape
    into: int = 0


@dataclass(eq=False)
class Node:
    """What gets a box in the picture: a block, a step, a loop of several, or a held tensor.

    `calls` are the positions of all calls that it stands for, `badge` tells how many these are,
    `entries` what comes into the net.
    Nodes of one `shade` are the same block or share a parameter; `arcs` joins pairs of them, in
    the innermost node around both.
    """

    title: str
    kind: str
    calls: Sequence[int] = ()
    note: str = ""
    count: int = 1
    badge: str = ""
    lazy: bool = False
    failed: bool = False
    trained: bool = False
    shade: int | None = None
    children: list[Node] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    arcs: list[tuple[Node, Node]] = field(default_factory=list)


class _Data(NamedTuple):
    """Data on its way to the input number `place` of a call, or to `EXIT`, inside one block."""

    source: int  # the position of a call, or `~k` as in a flow
    port: int
    target: int
    place: int
    shape: Shape
    into: int


class _Block(NamedTuple):
    """What is inside a block: the data that flows there, and which of its calls to draw."""

    data: list[_Data]
    kept: set[int]


class Graph:
    """The nodes of a trace; `names` are those of what the net takes, None for one not run."""

    def __init__(self, calls: Sequence[Call], names: Sequence[str] | None) -> None:
        self._calls = calls
        self.wired = names is not None
        self._entries = labels(calls[0].inputs, names) if names is not None else []
        self._wiring = Wiring(calls)
        self._notes = Notes(calls, self._wiring)
        self._whole = parts_of(calls, self._wiring)
        self.deepest = max(call.depth for call in calls)

    def root(self, depth: int) -> Node:
        """Return the net as a node, with those inside down to a depth, itself being at 0."""
        root = self._node(self._whole)
        root.entries = self._entries
        opening = [(root, self._whole, 1, _Block([], set()))]
        for node, part, turns, block in opening:  # a list that grows: nets may be very deep
            first = self._calls[part.calls[0]]
            if part.is_loop:
                turns *= part.count
            elif first.depth < depth and self._wiring.inside[part.calls[0]]:
                turns, block = len(part.calls), self._block(part.calls[0])
                node.badge = _(", ").join(filter(None, [node.badge, self._notes.again(part)]))
            else:
                node.flows = self._ends(first) if node is root else []
                continue
            parts = list(_drawn(part.parts, block.kept))
            node.children = [self._node(inner) for inner in parts]
            node.flows = _flows(parts, turns, block.data, part.is_loop)
            self._hold(node, parts, turns)
            opening += [(n, p, turns, block) for n, p in zip(node.children, parts, strict=False)]
        _shade(root, self._calls)
        return root

    def _node(self, part: Part) -> Node:
        first = self._calls[part.calls[0]]
        kind = "loop" if part.is_loop else "block" if first.is_block else "step"
        repeats = part.repeats() if self.wired else f"× {part.count:,}"
        return Node(
            title=repeats if part.is_loop else title(self._calls, part),
            kind=kind,
            calls=part.calls,
            note="" if part.is_loop else self._notes.of(part),
            count=part.count,
            badge=repeats if part.count > 1 and not part.is_loop else "",
            lazy=first.lazy and not part.is_loop,
            failed=first.failed and not part.is_loop,
            trained=first.parameter_count > 0,
        )

    def _block(self, position: int) -> _Block:
        children = self._wiring.inside[position]
        data = []
        for call in children:
            for place, link in enumerate(self._wiring.links[call]):
                if link:
                    source = children[link.source] if link.source >= 0 else link.source
                    data.append(_Data(source, link.port, call, place, link.shape, link.into))
        for link in self._wiring.leaving[position]:
            source = children[link.source] if link.source >= 0 else link.source
            data.append(_Data(source, link.port, EXIT, 0, link.shape, 0))
        kept = self._kept(position, data)
        self._notes.decide(position, kept)
        return _Block([one for one in data if one.target in kept or one.target == EXIT], kept)

    def _kept(self, block: int, data: Sequence[_Data]) -> set[int]:
        """Return the calls to draw: every block, and the steps that lead to one or to the end."""
        children = self._wiring.inside[block]
        feeding: dict[int, list[int]] = defaultdict(list)
        for one in data:
            feeding[one.target].append(one.source)
        wanted = set(feeding[EXIT])
        if not wanted and not self._calls[block].failed:
            return set(children)
        for position in reversed(children):
            call = self._calls[position]
            if call.is_block or call.failed or position in wanted:
                wanted.update([position, *feeding[position]])
        return wanted.intersection(children)

    def _ends(self, call: Call) -> list[Flow]:
        """Return what flows into the net and out of it, if nothing in it is to be seen."""
        outputs = [Flow(0, EXIT, shape) for shape in call.outputs]
        return [*(Flow(~k, 0, shape) for k, shape in enumerate(call.inputs)), *outputs]

    def _hold(self, node: Node, parts: Sequence[Part], turns: int) -> None:
        """Add a child for each buffer and constant that a child reads, and the flow from it."""
        places: dict[str, int] = {}
        for index, part in enumerate(parts):
            for position in () if part.is_loop else part.calls[::turns]:
                if self._wiring.inside[position]:
                    continue  # who reads it is inside
                call = self._calls[position]
                for name, shape in zip(call.held, call.inputs, strict=True):
                    if name and name not in call.parameters:
                        if name not in places:
                            local = self._notes.local(call, name)
                            places[name] = len(node.children)
                            node.children.append(Node(f"{local} {shape_text(shape)}", "held"))
                        node.flows.append(Flow(places[name], index, shape))


def _drawn(parts: Sequence[Part], kept: set[int]) -> Iterator[Part]:
    """Yield the parts to draw; a loop in which only one is left is that one."""
    for part in parts:
        inner = list(_drawn(part.parts, kept)) if part.is_loop else []
        if len(inner) == 1 and inner[0].count == 1:
            yield replace(inner[0], count=part.count, wiring=part.wiring)
        elif not kept.isdisjoint(part.calls):
            yield part


def _flows(parts: Sequence[Part], turns: int, data: Sequence[_Data], is_loop: bool) -> list[Flow]:
    """Return the flows between parts that each stand for so many `turns` of the node around."""
    place = {call: i for i, part in enumerate(parts) for call in part.calls[::turns]}
    into: dict[tuple[int, int], int] = {}
    for part in parts:
        into |= _entries(part, turns, data) if part.is_loop else {}
    numbers: dict[tuple[int, int], int] = {}
    flows = []
    for one in data:
        source, target = place.get(one.source), place.get(one.target)
        if source is None:
            if is_loop and target is None:
                continue
            known = (one.source, one.port)
            source = ~numbers.setdefault(known, len(numbers)) if is_loop else one.source
        entry = into.get((one.target, one.place), one.into)
        flows.append(Flow(source, EXIT if target is None else target, one.shape, entry))
    return list(dict.fromkeys(flow for flow in flows if flow.source != flow.target))


def _entries(loop: Part, turns: int, data: Sequence[_Data]) -> dict[tuple[int, int], int]:
    """Number what comes into a loop, by the inputs it goes to: alike ones have one number."""
    turns *= loop.count
    first = set(loop.calls[::turns])
    numbers: dict[tuple[int, int], int] = {}
    into = {
        (one.target, one.place): numbers.setdefault((one.source, one.port), len(numbers))
        for one in data
        if one.target in first and one.source not in first
    }
    alike = {call: loop.calls[i - i % turns] for i, call in enumerate(loop.calls)}
    inputs = [(one.target, one.place) for one in data if one.target in alike]
    return {(call, place): into.get((alike[call], place), 0) for call, place in inputs}


def _shade(root: Node, calls: Sequence[Call]) -> None:
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
        if call.is_block and call.parameter_count and 1 < totals[call.name] != caller:
            blocks[call.name].append(position)
        for parameter in call.parameters:
            readers[parameter].setdefault(reader(calls, call), []).append(position)
    yield from blocks.values()
    yield from (list(chain(*by.values())) for by in readers.values() if len(by) > 1)
