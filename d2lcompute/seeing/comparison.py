"""What differs between two of a kind: the reports of `compare`, and two traces side by side."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cached_property
from itertools import takewhile
from typing import Generic, TypeVar

from ..files.report import Kind, cell
from ..parameters.names import shape_text
from ..passes.event import Statistics
from ..tables import Named, Report, Rows, Table, listed
from ..words.language import _, marks, ngettext
from .calls import Call, inside, reader
from .trace import Trace
from .trace_table import MOST_SHAPES

_FEW = 20  # rows of a report that are worth showing although nothing differs in them
# What is told of values, each with the name of its field.
_NUMBERS = dict(
    zip(
        marks("mean", "deviation", "least", "most", "zeros", "not finite"),
        ("mean", "deviation", "least", "most", "zeros", "not_finite"),
        strict=True,
    )
)


@dataclass(frozen=True)
class Pair:
    """What two nets or files have under a name: shape and dtype or the type, and how they differ.

    `differing` counts the values that are not equal, by at most `gap`.
    """

    name: str
    first: Kind | None
    second: Kind | None
    outcome: str
    equal: bool
    differing: int = 0
    gap: float = 0.0

    def cells(self) -> tuple[object, object]:
        """Return what the table shows of the two."""
        return cell(self.first), cell(self.second)


@dataclass(frozen=True)
class CallPair:
    """The same call in two traces, and how the two differ; None where only one of them has it.

    `gaps` tells by how much numbers about the values of the outputs differ at most.
    """

    name: str
    first: Call | None
    second: Call | None
    outcome: str
    equal: bool
    gaps: Mapping[str, float] = field(default_factory=dict)

    def cells(self) -> tuple[object, object]:
        """Return what the table shows of the two."""
        return _call_text(self.first), _call_text(self.second)


OnePair = TypeVar("OnePair", bound=Pair | CallPair)


@dataclass(frozen=True, repr=False)
class _Differences(Report, Generic[OnePair]):
    first: str
    second: str
    pairs: tuple[OnePair, ...]
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> tuple[OnePair, ...]:
        """The pairs that are not equal in all."""
        return tuple(pair for pair in self.pairs if not pair.equal)

    def _table(self) -> Table:
        differences = self.differences
        pairs = differences if len(self.pairs) > _FEW else self.pairs
        rows = [(pair.name, *pair.cells(), pair.outcome) for pair in pairs]
        hidden = len(self.pairs) - len(pairs)
        more = [ngettext("{n} more is equal", "{n:,} more are equal", hidden)] if hidden else []
        verdict = (
            ngettext("{n} difference", "{n:,} differences", len(differences))
            if differences
            else _("the same")
        )
        headers = marks("name", "in the first", "in the second", "outcome")
        title = _("{first} and {second}", first=self.first, second=self.second) + f": {verdict}"
        return Table(headers, rows, title, [*more, *self.notes])


@dataclass(frozen=True, repr=False)
class Comparison(_Differences[Pair], Named[Pair]):
    """What differs between two nets or two files: a mapping from names to a `Pair` each."""

    @cached_property
    def _by_name(self) -> dict[str, Pair]:
        return {pair.name: pair for pair in self.pairs}

    def _rows(self) -> dict[str, Pair]:
        return self._by_name


@dataclass(frozen=True, repr=False)
class TraceComparison(_Differences[CallPair], Rows[CallPair]):
    """What differs between two traces: a sequence of `CallPair` objects, in order of the calls.

    A block that only one of the two calls is one pair, without what runs inside it.
    """

    def _rows(self) -> Sequence[CallPair]:
        return self.pairs


def by_size(gap: float) -> float:
    """Return what to order gaps by: NaN is the largest."""
    return math.inf if math.isnan(gap) else gap


def gap_text(gap: float) -> str:
    """Return a gap to three digits."""
    return "NaN" if math.isnan(gap) else f"{gap:.3g}"


def _call_text(call: Call | None) -> object:
    if call is None:
        return cell(None)
    given, made = (
        listed([shape_text(shape) for shape in shapes], MOST_SHAPES)
        for shapes in (call.inputs, call.outputs)
    )
    return f"{call.type} {given} → {made}"


def compare_traces(first: Trace, second: Trace) -> TraceComparison:
    """Return what differs between two traces; a replaced call is beside the one in its place."""
    one_only = _has_values(first) != _has_values(second)
    notes = (_("without values in one of the two"),) if one_only else ()
    pairs = tuple(_Sides(first.calls, second.calls).pairs())
    return TraceComparison(_label(first), _label(second), pairs, notes)


def _label(trace: Trace) -> str:
    return trace.calls[0].type if trace.calls else ""


def _has_values(trace: Trace) -> bool:
    return any(any(call.values) for call in trace.calls)


class _Sides:
    """The calls of two traces, and where those of the first stand in the second."""

    def __init__(self, first: Sequence[Call], second: Sequence[Call]) -> None:
        self._first, self._second = first, second
        self._places = list(_places(first, second))
        self._beside = {
            one: two for one, two in self._places if one is not None and two is not None
        }

    def pairs(self) -> Iterator[CallPair]:
        """Yield all calls side by side, in order."""
        for one, two in self._places:
            if one is not None and two is not None:
                yield self._pair(one, two)
            elif one is not None:
                name, said = _name(self._first, one), _("only in the first")
                yield CallPair(name, self._first[one], None, said, equal=False)
            elif two is not None:
                name, said = _name(self._second, two), _("only in the second")
                yield CallPair(name, None, self._second[two], said, equal=False)

    def _pair(self, one: int, two: int) -> CallPair:
        first, second = self._first[one], self._second[two]
        gaps = _gaps(first, second)
        apart = [_("{name} by {gap}", name=_(key), gap=gap_text(gap)) for key, gap in gaps.items()]
        said = _(", ").join([*self._unlike(first, second), *apart])
        name = _name(self._first, one)
        return CallPair(name, first, second, said or _("equal"), not said, gaps)

    def _unlike(self, first: Call, second: Call) -> Iterator[str]:
        if first.is_block and second.is_block and first.name and first.label != second.label:
            yield _("called {name} in the second", name=second.label)
        same_type = first.type == second.type
        if not same_type:
            both = first.is_block and second.is_block
            yield _("other type") if both else _("other step")
        if first.inputs != second.inputs:
            yield _("other input")
        elif self._there(first.sources) != list(second.sources) or first.ports != second.ports:
            yield _("input from another call")
        if first.outputs != second.outputs:
            yield _("other output")
        elif same_type and self._there(first.origins) != list(second.origins):
            yield _("output from another call")
        if first.parameter_count != second.parameter_count:
            counts = f"{first.parameter_count:,}", f"{second.parameter_count:,}"
            yield _("{first} and {second} parameters", first=counts[0], second=counts[1])
        elif _held(self._first, first) != _held(self._second, second):
            yield _("reads other tensors of the net")
        if not _same(first.value, second.value):
            yield f"{first.value} ≠ {second.value}"
        if first.failed != second.failed:
            yield _("fails in the first only") if first.failed else _("fails in the second only")

    def _there(self, positions: Sequence[int | None]) -> list[int | None]:
        """Return where calls of the first stand in the second, -1 if they do not."""
        return [None if place is None else self._beside.get(place, -1) for place in positions]


def _places(
    first: Sequence[Call], second: Sequence[Call]
) -> Iterator[tuple[int | None, int | None]]:
    """Yield the positions of calls side by side, None beside what only one of the two has."""
    insides = inside(first), inside(second)
    pending = [*_siblings(first, second, range(len(first))[:1], range(len(second))[:1])]
    while pending:
        one, two = pending.pop()
        yield one, two
        if one is not None and two is not None:
            inner = list(_siblings(first, second, insides[0][one], insides[1][two]))
            pending += reversed(inner)


def _siblings(
    first: Sequence[Call], second: Sequence[Call], ones: Sequence[int], twos: Sequence[int]
) -> Iterator[tuple[int | None, int | None]]:
    left, right = [_key(first[one]) for one in ones], [_key(second[two]) for two in twos]
    alike = zip(left, right, strict=False)
    same = sum(1 for _pair in takewhile(lambda keys: keys[0] == keys[1], alike))
    yield from zip(ones[:same], twos[:same], strict=True)  # spares long loops a slow search
    ones, twos = ones[same:], twos[same:]
    matcher = SequenceMatcher(None, left[same:], right[same:], autojunk=False)
    for _tag, start, end, begin, stop in matcher.get_opcodes():
        if end - start == stop - begin:
            yield from zip(ones[start:end], twos[begin:stop], strict=True)
        else:
            yield from ((one, None) for one in ones[start:end])
            yield from ((None, two) for two in twos[begin:stop])


def _key(call: Call) -> Hashable:
    return call.is_block, call.label


def _name(calls: Sequence[Call], position: int) -> str:
    """Return the dotted name of a block, or the step and the block that runs it."""
    call = calls[position]
    block, step = reader(calls, call)
    if not step:
        return block or call.type
    return _("{step} in {block}", step=step, block=block) if block else step


def _held(calls: Sequence[Call], call: Call) -> list[list[str]]:
    """Return what a call reads of the net, by the names that the block around it has for them."""
    prefix = f"{reader(calls, call)[0]}."
    names = sorted(name.removeprefix(prefix) for name in call.parameters)
    return [names, [name.removeprefix(prefix) for name in call.held]]


def _gaps(first: Call, second: Call) -> dict[str, float]:
    """Return by how much numbers about outputs of equal shapes differ, where both have them."""
    if first.outputs != second.outputs:
        return {}
    found = {name: _gap(first.values, second.values, field) for name, field in _NUMBERS.items()} | {
        "gradient": _gap(first.gradients, second.gradients, "size")
    }
    return {name: gap for name, gap in found.items() if gap}


def _gap(
    first: Sequence[Statistics | None], second: Sequence[Statistics | None], field: str
) -> float:
    seen = [(one, two) for one, two in zip(first, second, strict=False) if one and two]
    numbers = [(getattr(one, field), getattr(two, field)) for one, two in seen]
    gaps = [0.0 if _same(one, two) else abs(one - two) for one, two in numbers]
    return max(gaps, key=by_size, default=0.0)


def _same(one: float | None, two: float | None) -> bool:
    """Whether two numbers are equal; NaN is equal to NaN."""
    return one == two or (one is not None and two is not None and one != one and two != two)
