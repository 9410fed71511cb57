"""The table of a trace: an indented tree of calls in which repeats are one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress

from ..parameters.names import Shape, shape_text
from ..passes.run import collector_paused
from ..tables import Shown, Table, listed
from ..words.language import _, marks
from .calls import Call, reader
from .fold import Wiring
from .parts import Part, calls_text, parts_of, title

HEADERS = marks(
    "call", "input", "output", "parameters", "FLOPs", "FLOPs back", "mean", "deviation", "zeros",
    "not finite", "gradient", "µs", "remarks", "memory", "kept",
)  # fmt: skip
ALWAYS = 5  # of these columns are there even if they are empty
HIDDEN = HEADERS[-2:]  # bytes, which are there to be chosen
MOST_SHAPES = 3
MOST_NAMES = 8
MOST_ROWS = 100


@collector_paused()
def table_of(calls: Sequence[Call], notes: Sequence[str], depth: int | str | None = None) -> Table:
    """Return the table of `calls`; microseconds and remarks have a column if there are any.

    It shows the calls down to `depth`, that of the net being 0; "all" of them; or, for None, down
    to the greatest depth at which there are not too many rows.
    """
    tree = _Tree(calls)
    deepest = depth if isinstance(depth, int) else len(calls) if depth else tree.readable_depth()
    shown = list(tree.shown(deepest))
    rows = [tree.row(part) for _indent, part in shown]
    hidden = sum(call.depth > deepest for call in calls) if depth is None else 0
    text = _('{count:,} calls deeper inside are not shown; depth="all" shows them', count=hidden)
    columns = list(zip(*rows, strict=True)) or [()] * len(HEADERS)
    filled = [
        i < ALWAYS or header in HIDDEN or column.count(None) < len(column)
        for i, (header, column) in enumerate(zip(HEADERS, columns, strict=True))
    ]
    return Table(
        tuple(compress(HEADERS, filled)),
        [tuple(compress(row, filled)) for row in rows],
        notes=[*([text] if hidden else []), *notes],
        hidden=HIDDEN,
        depths=[indent for indent, _part in shown],
        paths=[tree.path(part) for _indent, part in shown],
    )


class _Tree:
    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        wiring = Wiring(calls)
        self._inside = wiring.inside
        self._again = _read_before(calls)
        self._parts = list(_walk(parts_of(calls, wiring))) if calls else []

    def readable_depth(self) -> int:
        """Return the greatest depth, at least 1, at which there are not too many rows."""
        counts = Counter(self._depth(part) for _indent, part in self._parts)
        rows = accumulate(counts[depth] for depth in range(max(counts, default=0) + 1))
        return max(1, sum(count <= MOST_ROWS for count in rows) - 1)

    def shown(self, depth: int) -> Iterator[tuple[int, Part]]:
        """Yield the parts down to a depth, each with its indent."""
        return ((indent, part) for indent, part in self._parts if self._depth(part) <= depth)

    def row(self, part: Part) -> tuple[object, ...]:
        """Return the row of a part."""
        head = title(self._calls, part)
        if part.is_loop:
            return (head, *[None] * (len(HEADERS) - 1))
        calls = [self._calls[position] for position in part.calls]
        seconds = [call.seconds for call in calls if call.seconds is not None]
        counts = [(call.flops, call.backward_flops, call.bytes, call.kept) for call in calls]
        sums = [sum(column) or None for column in zip(*counts, strict=True)]
        return (
            head,
            _grown(calls[0].inputs, calls[-1].inputs),
            _grown(calls[0].outputs, calls[-1].outputs),
            _parameter_count(calls) or None,
            *sums[:2],
            *_values(calls),
            round(1e6 * sum(seconds)) if seconds else None,
            _("; ").join(self._remarks(part)) or None,
            *sums[2:],
        )

    def path(self, part: Part) -> str:
        """Return the name of the block that a part is a call of, "" if it is several or none."""
        names = {self._calls[position].name for position in part.calls}
        return names.pop() if len(names) == 1 else ""

    def _remarks(self, part: Part) -> Iterator[str]:
        first = self._calls[part.calls[0]]
        if part.count > 1:
            yield part.repeats()
        if first.is_block and (text := calls_text(self._calls, part)):
            yield text
        if first.name.startswith("?"):
            yield _("not registered")
        if first.decided:
            decided = [f"{leaf} {shape_text(shape)}" for leaf, shape in first.decided]
            yield _("decided {shapes}", shapes=_(", ").join(decided))
        if held := _held(first):
            yield _("reads {names}", names=listed(held, MOST_NAMES))
        if again := self._again[part.calls[0]]:
            yield _("reads {names} again", names=listed(again, MOST_NAMES))
        values = {self._calls[position].value for position in part.calls}
        if len(values) == 1 and isinstance(first.value, bool):  # other numbers would be noise
            yield str(first.value)
        if first.failed and not any(self._calls[p].failed for p in self._inside[part.calls[0]]):
            yield _("stopped here")

    def _depth(self, part: Part) -> int:
        return self._calls[part.calls[0]].depth


def _walk(root: Part) -> Iterator[tuple[int, Part]]:
    """Yield a part and all inside in order, each with how deep it lies."""
    pending = [(0, root)]
    while pending:
        indent, part = pending.pop()
        yield indent, part
        pending += [(indent + 1, inner) for inner in reversed(part.parts)]


def _grown(first: Sequence[Shape], last: Sequence[Shape]) -> Shown:
    """Return the shapes, or those of the first and of the last repetition if they grow."""
    text = listed([shape_text(shape) for shape in first], MOST_SHAPES)
    if first == last:
        return Shown(first, text)
    end = listed([shape_text(shape) for shape in last], MOST_SHAPES)
    if len(first) != len(last):
        end = _("{count:,} tensors", count=len(last))
    return Shown((first, last), _("{first} to {last}", first=text, last=end))


def _held(call: Call) -> list[str]:
    """Return what the net calls the buffers and constants that a step was given."""
    held = () if call.is_block else call.held
    return list(dict.fromkeys(name for name in held if name and name not in call.parameters))


def _values(calls: Sequence[Call]) -> list[object]:
    """Return what there is to say about the first output, and about its gradient."""
    seen = [call.values[0] for call in calls if call.values and call.values[0]]
    back = [call.gradients[0] for call in calls if call.gradients and call.gradients[0]]
    if not (seen or back):
        return [None] * 5
    return [
        _first_to_last([one.mean for one in seen]),
        _first_to_last([one.deviation for one in seen]),
        _first_to_last([one.zeros for one in seen], "{:.0%}"),
        sum(one.not_finite for one in seen) or None,
        _first_to_last([one.size for one in back]),
    ]


def _first_to_last(numbers: Sequence[float], form: str = "{:.3g}") -> Shown | None:
    if not numbers:
        return None
    first, last = (form.format(number) for number in (numbers[0], numbers[-1]))
    if first == last:
        return Shown(numbers[0], first)
    return Shown((numbers[0], numbers[-1]), _("{first} to {last}", first=first, last=last))


def _parameter_count(calls: Sequence[Call]) -> int:
    """Count the parameters of all repetitions, those of one block that is called again once."""
    counts = {call.name or call.parameters: call.parameter_count for call in calls}
    return sum(counts.values())


def _read_before(calls: Sequence[Call]) -> list[list[str]]:
    """Return for each call those of its parameters that another block or step has read before."""
    readers: dict[str, tuple[str, str]] = {}
    again = []
    for call in calls:
        now = reader(calls, call)
        again.append([p for p in call.parameters if readers.setdefault(p, now) != now])
    return again
