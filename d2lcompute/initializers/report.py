"""The report of `initialize`: which rule reached which parameter, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..tables import Report, Table
from .base import Moments

# Few places, since each costs a wait for the memory; primes, to keep in step with no row.
_RUNS, _RUN = 37, 41


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
class InitReport(Report):
    """Which rule reached which parameter, and the mean and the deviation that came of it.

    They are measured at once, on about 1,500 entries of a larger parameter: so the report costs
    next to nothing, keeps no tensor alive, and goes on saying what was true when it was made.
    """

    rows: tuple[Initialized, ...]
    kept: tuple[str, ...]

    def _table(self) -> Table:
        headers = ("parameter", "shape", "rule", "as", "mean", "expected", "deviation", "expected")
        notes = [f"kept, as initialized before: {first_few(self.kept)}"] if self.kept else []
        return Table(headers, [_cells(row) for row in self.rows], notes=notes)


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


def _cells(row: Initialized) -> tuple[str, ...]:
    mean, deviation = _numbers(row.measured)
    wanted_mean, wanted_deviation = _numbers(row.expected)
    shape = "deferred" if row.shape is None else str(row.shape)
    return row.name, shape, row.rule, row.role, mean, wanted_mean, deviation, wanted_deviation


def _numbers(moments: Moments | None) -> tuple[str, str]:
    return ("-", "-") if moments is None else (f"{moments[0]:.3g}", f"{moments[1]:.3g}")
