"""What differs between two of a kind: the reports of `compare` for nets, files and traces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from ..files.report import Kind, cell
from ..parameters.names import shape_text
from ..tables import Named, Report, Rows, Table, listed
from ..words.language import _, marks, ngettext
from .calls import Call
from .trace_table import MOST_SHAPES

_FEW = 20  # rows of a report that are worth showing although nothing differs in them


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
