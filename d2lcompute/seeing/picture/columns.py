"""A box with others inside: their rows, broken into columns where they are taller than a slide."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from .boxes import PAD, Arc, Box, Line, leaf, stack_height, title_width
from .graph import EXIT, Flow, Node
from .routes import CHANNEL
from .rows import Rows, rows_of

HEADER = 0.3  # for the title
GUTTER = 0.16  # between arcs
APART = 0.3  # between columns
TURN = 0.12  # above and below columns, for the line from one to the next
SLIDE = 13.33, 7.5
ROOMY = 1.0  # the share of a slide up to which rows need no columns
MOST_COLUMNS = 10
HALVINGS = 12
BREAK = 0.2  # what a break must gain, of a slide
LINE = 0.05  # and each line more than one that leads over it
MOST_LINES = 12  # that lead over a break

Spot = tuple[int, int]  # column and row
Cut = tuple[float, int, list[int]]  # how far down a row begins, which it is, what leads to it


def arrange(root: Node, arrows: bool) -> Box:
    """Return the box of a node with all that is inside, at the origin."""
    nodes = [root]
    for node in nodes:
        nodes += node.children
    boxes: dict[Node, Box] = {}
    for node in reversed(nodes):
        inner = [boxes.pop(child) for child in node.children]
        boxes[node] = _around(node, inner, arrows) if inner else leaf(node)
    return boxes[root]


def _around(node: Node, boxes: Sequence[Box], arrows: bool) -> Box:
    """Return the box of a node with these boxes in it, in as many columns as are best to see."""

    def framed(breaks: Sequence[Cut]) -> Box:
        bounds = [0, *(row for _top, row, _lines in breaks), len(rows)]
        parts = [sorted(chain(*rows[a:b])) for a, b in pairwise(bounds)]
        through = [[], *(lines for _top, _row, lines in breaks), []]
        entering = _entering(node, parts)
        nodes = [_part(node, parts, number, own, through) for number, own in enumerate(entering)]
        inner = [[boxes[index] for index in part] for part in parts]
        columns = [Rows(n, b, arrows) for n, b in zip(nodes, inner, strict=True)]
        return _Frame(node, columns, entering, arrows).box()

    def cost(breaks: Sequence[Cut]) -> float:
        lines = sum(len(lines) - 1 for _top, _row, lines in breaks)
        return _share(framed(breaks)) + BREAK * len(breaks) + LINE * lines

    rows = rows_of(len(boxes), node.flows)
    whole = framed([])
    if _share(whole) <= ROOMY:
        return whole
    uncut = Rows(node, boxes, arrows)
    cuts = uncut.cuts()
    choices: list[list[Cut]] = [[]]
    for most in (1, MOST_LINES):
        few = [cut for cut in cuts if 1 <= len(cut[2]) <= most]
        for count in range(2, MOST_COLUMNS + 1):
            breaks = _balanced(few, uncut, count)
            choices += [breaks] if breaks not in choices else []
    return framed(min(choices, key=cost))


def _share(box: Box) -> float:
    return max(box.width / SLIDE[0], box.height / SLIDE[1])


def _balanced(cuts: Sequence[Cut], rows: Rows, count: int) -> list[Cut]:
    """Return the cuts that make at most `count` parts, the highest as low as can be."""
    ends = [*cuts, (rows.height, len(rows.rows), [])]
    low, high = rows.height / count, rows.height
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_breaks(ends, middle)) < count else (middle, high)
    return _breaks(ends, high)


def _breaks(ends: Sequence[Cut], most: float) -> list[Cut]:
    """Return where to break so that no part is higher than `most`, if that can be."""
    breaks = []
    start, last = 0.0, ends[0]
    for cut in ends[1:]:
        if cut[0] - start > most and last[0] > start:
            breaks.append(last)
            start = last[0]
        last = cut
    return breaks


def _entering(node: Node, parts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return for each part what comes into the node there: where it is taken first."""
    part_of = {index: number for number, part in enumerate(parts) for index in part}
    firsts = dict.fromkeys(range(len(node.entries)), 0)
    for flow in sorted(node.flows, key=lambda flow: flow.target, reverse=True):
        if flow.source < 0:
            firsts[~flow.source] = part_of.get(flow.target, len(parts) - 1)
    return [[k for k in sorted(firsts) if firsts[k] == number] for number in range(len(parts))]


def _part(
    node: Node,
    parts: Sequence[Sequence[int]],
    number: int,
    entering: Sequence[int],
    through: Sequence[Sequence[int]],
) -> Node:
    """Return a part as a node; what leads `through` from the part before comes in first.

    What leads through to the next one leaves at exits of its own, in the same order.
    """
    is_last = number == len(parts) - 1
    coming = through[number]
    places = {index: place for place, index in enumerate(parts[number])}
    sources = places | {source: ~place for place, source in enumerate(coming)}
    sources |= {~k: ~(len(coming) + place) for place, k in enumerate(entering)}
    exits = {source: EXIT + place for place, source in enumerate(through[number + 1])}
    targets = places | ({EXIT: EXIT} if is_last else {})
    flows = dict.fromkeys(
        Flow(sources[flow.source], target, flow.shape, flow.into)
        for flow in node.flows
        if flow.source in sources
        and (target := targets.get(flow.target, exits.get(flow.source))) is not None
    )
    labels = [node.entries[k] if k < len(node.entries) else "" for k in entering]
    part = Node("", node.kind if is_last else "column", entries=[*[""] * len(coming), *labels])
    part.children = [node.children[index] for index in places]
    part.flows = list(flows)
    return part


class _Frame:
    """Columns side by side, the line from each to the next, and gutters for arcs."""

    def __init__(
        self, node: Node, columns: Sequence[Rows], entering: Sequence[list[int]], arrows: bool
    ) -> None:
        self._node = node
        self._entering = entering
        self._columns = [column.box() for column in columns]
        self._arrows = arrows
        self._title = title_width(node)
        self._spots = dict(_spots(columns)) if node.arcs else {}
        self._taken: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        self._overhead = 0
        self._arcs = [self._arc(pair) for pair in node.arcs]

    def box(self) -> Box:
        """Return the box of the node."""
        lines = max(len(column.aside) for column in self._columns)
        turn = TURN + CHANNEL * lines if len(self._columns) > 1 else 0.0
        top = HEADER + GUTTER * self._overhead + turn
        lefts = list(self._lefts())
        bottom = top + max(column.height for column in self._columns) + turn
        for left, column in zip(lefts, self._columns, strict=True):
            column.move_inside(left, top)
        inner = lefts[-1] + self._columns[-1].width
        width = max(inner + PAD, self._title + 2 * PAD)
        box = Box(self._node, width, bottom, self._entries(), self._columns[-1].leave)
        for column in self._columns:
            box.children += column.children
            box.lines += column.lines
            box.labels += column.labels
        if self._arrows:
            box.lines += self._connections(lefts, top, bottom)
        box.arcs = [self._placed_arc(lefts, *arc) for arc in self._arcs]
        box.move_inside((width - inner - PAD) / 2, 0.0)
        stack = stack_height(self._node)
        box.width, box.height = box.width + stack, box.height + stack
        return box

    def _entries(self) -> list[float]:
        """Return where each thing comes in, above the column that takes it first."""
        found = {0: self._columns[0].entries[0]}
        coming = 0  # from the column before
        for column, entering in zip(self._columns, self._entering, strict=True):
            found |= dict(zip(entering, column.entries[coming:], strict=False))
            coming = 1 + len(column.aside)
        return [found.get(k, found[0]) for k in range(max(found) + 1)]

    def _lefts(self) -> Iterator[float]:
        """Yield where each column begins, right of its gutters."""
        x = PAD
        for number, column in enumerate(self._columns):
            tracks = 1 + max((track for *_, track in self._taken[number]), default=-1)
            x += GUTTER * tracks
            yield x
            x += column.width + APART + CHANNEL * len(column.aside)

    def _connections(self, lefts: Sequence[float], top: float, bottom: float) -> Iterator[Line]:
        """Yield the lines from the end of each column to the top of the next, and out.

        Those further right turn earlier and end higher, so that they lie around each other.
        """
        for (left, column), (_, following) in pairwise(zip(lefts, self._columns, strict=True)):
            end = top + column.height
            pairs = list(zip([column.leave, *column.aside], following.entries, strict=False))
            for place, (leave, begin) in enumerate(sorted(pairs, reverse=True)):
                x = left + column.width + APART / 2 + CHANNEL * place
                below = end + TURN / 2 + CHANNEL * place
                above = top - TURN / 2 - CHANNEL * (len(pairs) - 1 - place)
                way = (leave, end), (leave, below), (x, below), (x, above), (begin, above)
                yield Line((*way, (begin, top)), has_head=False)
        last = self._columns[-1]
        if top + last.height < bottom:
            yield Line(((last.leave, top + last.height), (last.leave, bottom)), has_head=False)

    def _arc(self, pair: tuple[Node, Node]) -> tuple[Node, Node, list[tuple[int, int]], int]:
        """Choose the gutters of an arc, as pairs of column and track, and its place overhead."""
        first, second = sorted(pair, key=lambda node: self._spots[node])
        (column, row), (next_column, next_row) = self._spots[first], self._spots[second]
        if (column, row) == (next_column, next_row):
            return first, second, [], 0
        if column == next_column:
            return first, second, [self._gutter(column, row, next_row)], 0
        self._overhead += 1
        gutters = [self._gutter(column, -1, row), self._gutter(next_column, -1, next_row)]
        return first, second, gutters, self._overhead

    def _gutter(self, column: int, first: int, last: int) -> tuple[int, int]:
        """Take the innermost track beside a column that is free from one row to another."""
        taken = self._taken[column]
        track = 0
        while any(t == track and first < end and begin < last for begin, end, t in taken):
            track += 1
        taken.append((first, last, track))
        return column, track

    def _placed_arc(
        self,
        lefts: Sequence[float],
        first: Node,
        second: Node,
        gutters: Sequence[tuple[int, int]],
        overhead: int,
    ) -> Arc:
        way = [lefts[column] - GUTTER * (track + 0.6) for column, track in gutters]
        if overhead:
            way.insert(1, HEADER + GUTTER * (overhead - 0.5))
        return Arc(first, second, tuple(way))


def _spots(columns: Sequence[Rows]) -> Iterator[tuple[Node, Spot]]:
    """Yield every node inside with the column and the row in which it lies."""
    for number, column in enumerate(columns):
        for row, indices in enumerate(column.rows):
            nodes = [column.node.children[index] for index in indices]
            for node in nodes:
                yield node, (number, row)
                nodes += node.children
