"""The report of `initialize`: which rule reached which parameter, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tables import Rows, Shown, Table
from ..words.language import _, marks
from .base import Moments

# Few places, since each costs a wait for the memory; primes, to keep in step with no row.
_RUNS, _RUN = 37, 41
_HEADERS = marks(
    "parameter", "shape", "rule", "as",
    "mean", "expected mean", "deviation", "expected deviation",
)  # fmt: skip


@dataclass(frozen=True)
class Initialized:
    """What `initialize` did to one parameter; shape and values are None where it is deferred."""

    name: str
    shape: tuple[int, ...] | None
    rule: str
    role: str
    measured: Moments | None
    expected: Moments | None


@dataclass(frozen=True, repr=False)
class InitReport(Rows[Initialized]):
    """Which rule reached which parameter, and the mean and the deviation that came of it.

    They are measured at once, on about 1,500 entries of a larger parameter: so the report costs
    next to nothing, keeps no tensor alive, and goes on saying what was true when it was made.
    """

    rows: tuple[Initialized, ...]
    kept: tuple[str, ...]

    def _table(self) -> Table:
        kept = _("kept, as initialized before: {names}", names=first_few(self.kept))
        return Table(
            _HEADERS, [_cells(row) for row in self.rows], notes=[kept] if self.kept else []
        )

    def _rows(self) -> Sequence[Initialized]:
        return self.rows


def measure(tensor: Tensor) -> Moments | None:
    """Return mean and deviation, of an even sample where there are many entries."""
    if not tensor.numel() or tensor.is_complex():
        return None
    values = tensor.detach().reshape(-1)
    if len(values) > 2 * _RUNS * _RUN:
        values = values.unfold(0, _RUN, len(values) // _RUNS)
    values = values.to("cpu", torch.float64)
    variance, mean = torch.var_mean(values, correction=0)
    return float(mean), float(variance) ** 0.5


def first_few(names: Sequence[str]) -> str:
    """Return a list of names that stays short."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(map(repr, names[:2])) + more


def _cells(row: Initialized) -> tuple[object, ...]:
    mean, deviation = _numbers(row.measured)
    wanted_mean, wanted_deviation = _numbers(row.expected)
    shape = Shown(None, _("deferred")) if row.shape is None else Shown(row.shape, str(row.shape))
    return row.name, shape, row.rule, row.role, mean, wanted_mean, deviation, wanted_deviation


def _numbers(moments: Moments | None) -> tuple[object, object]:
    if moments is None:
        return Shown(None, "-"), Shown(None, "-")
    return moments
