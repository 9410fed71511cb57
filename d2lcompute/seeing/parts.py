"""What a table or a picture of a trace shows: its calls, what repeats among them only once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ..tables import listed
from ..words.language import _, mark, marks
from .calls import Call
from .fold import Link, Run, Wiring, fold

FEWEST, FEWEST_REUSES = 3, 4  # repeats to fold; of one block that is called again
LARGE = 6  # calls in what is worth folding from two on
JOINING = {"cat", "concat", "concatenate", "hstack", "vstack", "dstack", "column_stack"}
MOST_NUMBERS = 4

IN_A_ROW = mark("{count:,} in a row")
SIDE_BY_SIDE = mark("{count:,} side by side")
ON_ALL_BEFORE = mark("{count:,} in a row, each on all before")

Repeated = tuple[int, ...]  # the positions of a call in every repetition


@dataclass(eq=False, slots=True)
class Part:
    """What is shown once: a call or a loop over several, with all repetitions that it stands for.

    `calls` are the positions of all calls that it stands for, those of the first repetition first.
    It stands `count` times in its place, wired as `wiring` says, a text with a place for the
    count. `parts` are inside.
    """

    calls: Repeated
    count: int = 1
    wiring: str = ""
    is_loop: bool = False
    parts: list[Part] = field(default_factory=list)

    def repeats(self) -> str:
        """Return how often the part is there and how that is wired, "" if it is there once."""
        return _(self.wiring, count=self.count) if self.count > 1 else ""


def check_depth(depth: object) -> None:
    """Raise unless `depth` says how many levels of calls to show."""
    is_number = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    is_all = isinstance(depth, str) and depth == "all"
    if not (depth is None or is_all or is_number):
        raise ValueError(f'`depth` must be None, "all" or at least 0, got {depth!r}; do depth=2')


def parts_of(calls: Sequence[Call], wiring: Wiring) -> Part:
    """Return the net as a part, with all inside; repeats are folded.

    Calls are alike if their names and shapes are, and those of all calls inside, and if the data
    flows through all of them in the same way. Blocks that take more and more are alike, too, if
    this is what those before gave, as in a DenseNet. Alike calls fold from three on; one block
    that is called again from four on, as its calls are worth seeing; from two on if there are
    six calls or more in each.
    """
    return _Folding(calls, wiring).root()


def title(calls: Sequence[Call], part: Part) -> str:
    """Return what a part is headed with: `hidden: Linear`, `0 to 2: Block`, `3 in a row`."""
    if part.is_loop:
        return part.repeats()
    labels = list(dict.fromkeys(calls[position].label for position in sorted(part.calls)))
    first = calls[part.calls[0]]
    is_step = not first.is_block and len(labels) > 1
    label = _to(labels[0], labels[-1]) if is_step else spanned(labels)
    return f"{label}: {first.type}" if first.name else label


def spanned(labels: Sequence[str]) -> str:
    """Return several dotted names as one: `layers.0 to 5`."""
    if len(labels) == 1:
        return labels[0]
    leaves = list(dict.fromkeys(label.rpartition(".")[2] for label in labels))
    if len(leaves) == 1:  # if it hangs at several places
        return leaves[0]
    return labels[0].removesuffix(leaves[0]) + _span(leaves)


def calls_text(calls: Sequence[Call], part: Part) -> str:
    """Return which calls of its block a part is, `2nd call` or `calls 1 to 5`; "" for the first."""
    numbers = sorted({calls[position].nth for position in part.calls})
    if len(numbers) > 1:
        return _("calls {numbers}", numbers=_span([f"{number}" for number in numbers]))
    return _("{nth} call", nth=ordinal(numbers[0])) if numbers[0] > 1 else ""


def ordinal(number: int) -> str:
    """Return `1st`, `2nd`, `3rd`, `4th` and so on."""
    last = 0 if 10 <= number % 100 <= 20 else number % 10
    endings = marks("{number:,}th", "{number:,}st", "{number:,}nd", "{number:,}rd")
    return _(endings[last] if last < len(endings) else endings[0], number=number)


class _Folding:
    def __init__(self, calls: Sequence[Call], wiring: Wiring) -> None:
        self._calls = calls
        self._wiring = wiring
        self._sizes = [1] * len(calls)
        self._joined = [False] * len(calls)  # whether it gives what a `cat` joined
        self._kinds, self._forms = [0] * len(calls), [0] * len(calls)
        numbers: dict[Hashable, int] = {}
        for position in reversed(range(len(calls))):  # what is inside comes before what is around
            self._look(position, calls[position], numbers)

    def _look(self, position: int, call: Call, numbers: dict[Hashable, int]) -> None:
        """Number what a call looks like: its kind, and its form, which leaves the sizes aside."""
        children, links = self._wiring.inside[position], self._wiring.links
        name = "[" if call.type.startswith("[") else call.type  # an index, whatever it is
        form: Hashable = (call.is_block, name, call.failed)
        sizes = call.inputs, call.outputs, call.parameter_count, call.lazy, call.decided
        kind: Hashable = (form, sizes)
        self._joined[position] = not call.is_block and name in JOINING
        if children:
            kinds = [(self._kinds[c], *links[c]) for c in children]
            kind = (form, sizes, *kinds, *self._wiring.leaving[position])
            form = (form, *((self._forms[c], _origins(links[c])) for c in children))
            self._sizes[position] += sum([self._sizes[child] for child in children])
            self._joined[position] = any(self._joined[o] for o in call.origins if o is not None)
        self._forms[position] = numbers.setdefault(form, len(numbers))
        self._kinds[position] = numbers.setdefault(kind, len(numbers))

    def root(self) -> Part:
        root = Part((0,))
        opening = [root]
        for part in opening:  # which grows meanwhile: nets may be too deep for recursion
            if not part.is_loop and self._wiring.inside[part.calls[0]]:
                columns = zip(*(self._wiring.inside[call] for call in part.calls), strict=True)
                part.parts = list(self._folded(list(columns)))
            opening += part.parts
        return root

    def _folded(self, columns: Sequence[Repeated]) -> Iterator[Part]:
        def repeats(start: int, length: int, place: int) -> bool:
            first, a, b = (columns[i][0] for i in (start, place - length, place))
            return self._repeats(a, b, self._wiring.number[first], length)

        for run in fold(columns, lambda column: self._forms[column[0]], repeats, self._is_worth):
            merged = [tuple(chain(*column)) for column in run.columns()]
            wiring = self._wired(run) if run.count > 1 else ""
            if len(merged) == 1:
                yield Part(merged[0], run.count, wiring)
            else:
                inner = list(self._folded(merged))
                yield Part(tuple(chain(*merged)), run.count, wiring, is_loop=True, parts=inner)

    def _is_worth(self, run: Run[Repeated]) -> bool:
        pairs = list(zip(*(column[:2] for column in run.columns()), strict=True))
        first, second = ([column[0] for column in repetition] for repetition in pairs)
        if any(self._is_wider(a, b) for a, b in zip(first, second, strict=True)):
            return run.count >= FEWEST  # two are not enough to tell that sizes grow evenly
        names = [[self._calls[call].name for call in calls] for calls in (first, second)]
        reused = any(a and a == b for a, b in zip(*names, strict=True))
        size = sum(self._sizes[call] for call in first)
        return size >= LARGE or run.count >= (FEWEST_REUSES if reused else FEWEST)

    def _wired(self, run: Run[Repeated]) -> str:
        """Return how the repetitions depend on each other."""
        length, links = len(run.unit), self._wiring.links
        first = self._wiring.number[run.items[0][0]]
        before, after = (run.items[i : i + length] for i in (0, length))
        sources = [link.source for column in after for link in links[column[0]] if link]
        if not any(first <= source < first + length for source in sources):
            return SIDE_BY_SIDE
        pairs = zip(before, after, strict=True)
        grows = any(len(links[a[0]]) < len(links[b[0]]) for a, b in pairs)
        return ON_ALL_BEFORE if grows else IN_A_ROW

    def _is_wider(self, a: int, b: int) -> bool:
        same_number = len(self._wiring.links[a]) == len(self._wiring.links[b])
        return same_number and self._kinds[a] != self._kinds[b]

    def _repeats(self, a: int, b: int, first: int, length: int) -> bool:
        """Whether call `b` repeats `a` in a run of units of a `length` that begins at `first`."""
        before, after = self._wiring.links[a], self._wiring.links[b]
        if len(before) != len(after):
            return self._takes_more(a, b, first, length)
        if self._kinds[a] != self._kinds[b] and not self._is_alike_but_wider(a, b, first, length):
            return False
        pairs = zip(before, after, strict=True)
        return all(self._follows(x, y, b, first, length) for x, y in pairs)

    def _takes_more(self, a: int, b: int, first: int, length: int) -> bool:
        """Whether call `b` takes what `a` does, and besides what the repetition before gave."""
        if not self._gives_alike(a, b):
            return False
        turn = (self._wiring.number[b] - first) // length
        last = range(first + (turn - 1) * length, first + turn * length)
        before = self._wiring.links[a]

        def is_same(x: Link | None, y: Link | None) -> bool:
            if x is None or y is None or x[:3] == y[:3]:  # `into` depends on how many come before
                return (x is None) == (y is None)
            return x.shape == y.shape and self._follows(x, y, b, first, length)

        matched = {0}  # how many of `before` may have been met so far
        for link in self._wiring.links[b]:
            is_new = link is not None and link.source in last
            met = {n + 1 for n in matched if n < len(before) and is_same(before[n], link)}
            matched = met | matched if is_new else met
        return len(before) in matched

    def _follows(self, x: Link | None, y: Link | None, b: int, first: int, length: int) -> bool:
        """Whether an input of call `b` comes from where that of the repetition before did."""
        if y is None:
            return x is None
        is_second = self._wiring.number[b] < first + 2 * length
        if is_second and first <= y.source < first + length and (x is None or x.source < first):
            return True  # what the first repetition took from outside, this one takes from it
        if x is None or (x.source < first) != (y.source < first):
            return False
        if x.source >= first:
            return y.source - x.source == length and y.port == x.port
        if x.source == y.source or max(x.source, y.source) < 0:
            return True  # all take the same, or each the next of several
        if min(x.source, y.source) < 0:
            return False
        siblings = self._wiring.inside[self._calls[b].parent or 0]
        return self._kinds[siblings[x.source]] == self._kinds[siblings[y.source]]

    def _is_alike_but_wider(self, a: int, b: int, first: int, length: int) -> bool:
        """Whether call `b` is call `a` on what was joined to more, by as much each time."""
        if not self._gives_alike(a, b):
            return False
        before, after = self._calls[a], self._calls[b]
        siblings = self._wiring.inside[after.parent or 0]
        links = zip(before.inputs, after.inputs, self._wiring.links[b], strict=False)
        wider = [link for x, y, link in links if x != y]
        if not all(k and k.source >= 0 and self._joined[siblings[k.source]] for k in wider):
            return False
        step = _growth(before, after)
        earlier = self._wiring.number[a] - length
        as_before = earlier < first or step == _growth(self._calls[siblings[earlier]], before)
        return bool(wider) and step is not None and as_before

    def _gives_alike(self, a: int, b: int) -> bool:
        return self._calls[a].outputs == self._calls[b].outputs or self._joined[b]


def _origins(links: Sequence[Link | None]) -> frozenset[int | None]:
    """Return where a call has data from, its parent's inputs all taken for one."""
    return frozenset(link and max(link.source, -1) for link in links)


def _growth(before: Call, after: Call) -> list[int] | None:
    """Return by how much each size of the inputs grew, None if they have other dimensions."""
    if [len(shape) for shape in before.inputs] != [len(shape) for shape in after.inputs]:
        return None
    pairs = zip(chain(*before.inputs), chain(*after.inputs), strict=True)
    return [0 if x == y else (y or 0) - (x or 0) for x, y in pairs]


def _span(names: Sequence[str]) -> str:
    """Return `0 to 5` for all numbers between, `layer1 to 6` for names with numbers, `0, 2, 4`."""
    stem = names[0].rstrip("0123456789")
    ends = [name.removeprefix(stem) for name in names]
    numbers = [int(end) if end.isdecimal() else None for end in ends]
    if numbers == list(range(int(ends[0] or 0), int(ends[0] or 0) + len(ends))):
        return _to(names[0], ends[-1])
    if None in numbers:
        return _to(names[0], names[-1])
    return stem + listed(ends, MOST_NUMBERS)


def _to(first: str, last: str) -> str:
    return _("{first} to {last}", first=first, last=last)
