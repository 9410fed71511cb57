"""A trace as a graph to draw: nested nodes, the data that flows between, repeats folded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...parameters.names import Shape, shape_text
from ...tables import listed
from ..calls import Call, inside, kinds
from ..fold import Run, fold
from ..trace_table import ordinal, title

ENTRY, EXIT = -1, -2  # the two ends of the flow through a block
FEWEST_REPEATS, FEWEST_REUSES = 3, 4  # fewer are drawn one by one

Repeated = tuple[int, ...]


@dataclass(frozen=True)
class Flow:
    """Data of a shape on its way between two children of a node, `ENTRY` and `EXIT`."""

    source: int
    target: int
    shape: Shape


@dataclass(eq=False)
class Node:
    """What gets a box in the picture: a block, a step, or a loop of several of them.

    `calls` are the positions of all calls that it stands for. Nodes of one `shade` are the same
    block or share a parameter; `arcs` joins pairs of them, in the innermost node around both.
    """

    title: str
    kind: str
    calls: Repeated
    note: str = ""
    repeats: int = 1
    lazy: bool = False
    failed: bool = False
    trained: bool = False
    shade: int | None = None
    children: list[Node] = field(default_factory=list)
    flows: list[Flow] = field(default_factory=list)
    arcs: list[tuple[Node, Node]] = field(default_factory=list)


class Graph:
    """The nodes of a trace, down to `depth`, the net itself being at depth 0."""

    def __init__(self, calls: Sequence[Call], depth: int | None) -> None:
        self._calls = calls
        self._depth = depth
        self._inside = inside(calls)
        self._kinds = kinds(calls, _look)
        self._open: list[Node] = []
        self.root = self._node((0,), 1)
        for node in self._open:  # which grows meanwhile: nets may be too deep for recursion
            self._fill(node)

    def _node(self, calls: Repeated, repeats: int) -> Node:
        first, last = self._calls[calls[0]], self._calls[calls[-1]]
        node = Node(
            title=_title(first, last, repeats),
            kind="block" if first.is_block else "step",
            calls=calls,
            note=self._note(first, last),
            repeats=repeats,
            lazy=first.lazy,
            failed=first.failed,
            trained=first.parameter_count > 0,
        )
        if self._depth is None or first.depth < self._depth:
            self._open.append(node)
        return node

    def _note(self, first: Call, last: Call) -> str:
        if first.failed:
            return "stopped here"
        notes = []
        if first.lazy:
            decided = [f"{leaf} {shape_text(shape)}" for leaf, shape in first.decided]
            notes.append(listed(decided, 3) if decided else "no shape yet")
        elif first.parameter_count:
            notes.append(f"{first.parameter_count:,} parameters")
        if first.parent is not None and self._calls[first.parent].nth > 1:
            return ", ".join(notes)  # the block around says so already
        if last.nth > first.nth:
            notes.append(f"calls {first.nth} to {last.nth}")
        elif first.nth > 1:
            notes.append(f"{ordinal(first.nth)} call")
        return ", ".join(notes)

    def _fill(self, node: Node) -> None:
        """Give a node the calls inside as children, repeats among them folded."""
        flows = list(self._flows(node.calls[0]))
        kept = self._kept(node.calls[0], flows)
        index = {position: i for i, position in enumerate(kept)}
        made_by: dict[int, list[int]] = {position: [] for position in [*kept, EXIT]}
        for flow in flows:
            made_by.get(flow.target, []).append(index.get(flow.source, ENTRY))

        def alike(a: Repeated, b: Repeated) -> bool:
            before, after, step = made_by[a[0]], made_by[b[0]], index[b[0]] - index[a[0]]
            return all(m == n or m + step == n for m, n in zip(before, after, strict=True))

        def kind(column: Repeated) -> int:
            return self._kinds[column[0]]

        every = zip(*(self._inside[position] for position in node.calls), strict=True)
        columns = [column for column in every if column[0] in index]
        runs = [run for found in fold(columns, kind, alike) for run in self._worthwhile(found)]
        node.children = [self._folded(run, flows) for run in runs]
        places = {column[0]: i for i, run in enumerate(runs) for column in run.items}
        node.flows = between(places, [flow for flow in flows if flow.target in made_by])

    def _folded(self, run: Run[Repeated], flows: Sequence[Flow]) -> Node:
        columns = [sum(column, ()) for column in run.columns()]
        if len(columns) == 1:
            return self._node(columns[0], run.count)
        places = {column[0]: i for i, column in enumerate(run.unit)}
        touching = [flow for flow in flows if flow.source in places or flow.target in places]
        loop = Node(f"{run.count} times", "loop", sum(columns, ()), repeats=run.count)
        loop.children = [self._node(column, 1) for column in columns]
        loop.flows = between(places, touching)
        return loop

    def _worthwhile(self, run: Run[Repeated]) -> list[Run[Repeated]]:
        """Return the run, or one for each item if so few are better seen one by one."""
        columns = [[self._calls[position].name for position, *_ in c] for c in run.columns()]
        reused = any(names[0] and names[0] == names[-1] for names in columns if len(names) > 1)
        if run.count >= (FEWEST_REUSES if reused else FEWEST_REPEATS):
            return [run]
        return [Run(1, [item]) for item in run.items]

    def _flows(self, parent: int) -> Iterator[Flow]:
        """Yield what flows between the calls that `parent` made, by their positions."""
        for position in self._inside[parent]:
            call = self._calls[position]
            for shape, source in zip(call.inputs, call.sources, strict=True):
                if source is not None:
                    yield Flow(self._child(source, parent), position, shape)
        made = self._calls[parent]
        for shape, origin in zip(made.outputs, made.origins, strict=True):
            if origin is not None:
                yield Flow(self._child(origin, parent), EXIT, shape)

    def _child(self, position: int | None, parent: int) -> int:
        while position is not None and self._calls[position].parent != parent:
            position = self._calls[position].parent
        return ENTRY if position is None else position

    def _kept(self, parent: int, flows: Sequence[Flow]) -> list[int]:
        """Return the calls to draw: every block, and the steps that lead to one or to the end."""
        feeding: dict[int, list[int]] = defaultdict(list)
        for flow in flows:
            feeding[flow.target].append(flow.source)
        wanted = set(feeding[EXIT])
        if not wanted and not self._calls[parent].failed:
            return self._inside[parent]
        for position in reversed(self._inside[parent]):
            call = self._calls[position]
            if call.is_block or call.failed or position in wanted:
                wanted.update([position, *feeding[position]])
        return [position for position in self._inside[parent] if position in wanted]


def between(places: Mapping[int, int], flows: Iterable[Flow]) -> list[Flow]:
    """Return the flows between children, given the child that stands at each position."""
    lifted = (
        Flow(places.get(flow.source, ENTRY), places.get(flow.target, EXIT), flow.shape)
        for flow in flows
    )
    return list(dict.fromkeys(flow for flow in lifted if flow.source != flow.target))


def _look(call: Call) -> tuple[object, ...]:
    look = call.type if call.is_block else call.label
    return call.is_block, look, call.parameter_count, call.lazy, call.decided


def _title(first: Call, last: Call, repeats: int) -> str:
    text = title(first)
    if last.label != first.label:
        text = f"{first.label} to {last.label.rpartition('.')[2]}: {first.type}"
    return text
