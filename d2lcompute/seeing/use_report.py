"""The uses of each parameter, and what their gradients add up to, as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from torch import Tensor

from ..parameters.describe import norm
from ..tables import Report, Table
from ..words.language import marks
from .parts import ordinal

MOST_NAMES = 3
MOST_USES = 8


@dataclass(frozen=True, eq=False)
class Use:
    """One operation that read a parameter, and the gradient that came back through it.

    `block` names the innermost block whose call it was part of, `call` counts that block's calls
    from 1, and `grad_fn` is what torch calls the operation.
    """

    block: str
    call: int
    grad_fn: str
    gradient: Tensor

    @property
    def scale(self) -> float:
        """The largest element of the gradient."""
        return _largest(_dense(self.gradient))


@dataclass(frozen=True, eq=False)
class UsedParameter:
    """A parameter under all its names, its uses, and the gradient that backward accumulates."""

    names: tuple[str, ...]
    uses: tuple[Use, ...]
    gradient: Tensor | None

    @property
    def scale(self) -> float:
        """The largest element of the accumulated gradient."""
        return 0.0 if self.gradient is None else _largest(_dense(self.gradient))

    @property
    def difference(self) -> float:
        """The largest difference between the sum over the uses and the accumulated gradient."""
        if self.gradient is None:
            return 0.0
        remainder = -_dense(self.gradient)
        for use in self.uses:
            remainder = remainder + _dense(use.gradient)
        return _largest(remainder)


@dataclass(frozen=True, eq=False, repr=False)
class GradientsByUse(Report, Mapping[str, UsedParameter]):
    """The parameters that are tied or read several times, by name.

    `report[name]` takes any name of a tied parameter; iteration gives the first one of each.
    """

    parameters: tuple[UsedParameter, ...]

    def __getitem__(self, name: str) -> UsedParameter:
        for parameter in self.parameters:
            if name in parameter.names:
                return parameter
        known = ", ".join(name for parameter in self.parameters for name in parameter.names)
        raise KeyError(f"{name!r} is not tied or used repeatedly; what is: {known or 'nothing'}")

    def __iter__(self) -> Iterator[str]:
        return (parameter.names[0] for parameter in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def _table(self) -> Table:
        headers = marks("parameter", "used by", "call", "grad_fn", "gradient norm")
        rows = [row for parameter in self.parameters for row in _rows(parameter)]
        if not rows:
            return Table(headers, (), notes=["no trainable parameter is tied or used repeatedly"])
        note = f"the uses add up to the accumulated gradient{self._remainder()}"
        return Table(headers, rows, notes=[note])

    def _remainder(self) -> str:
        """Say how exactly, in words: the last bits differ from machine to machine."""
        largest = max(parameter.difference for parameter in self.parameters)
        scale = max(parameter.scale for parameter in self.parameters)
        if largest <= 1e-4 * scale:
            return ", up to rounding" if largest else ", bit for bit"
        return f", but for a difference of {largest:.3g}"


def joined(names: Sequence[str]) -> str:
    """Return the names of one thing, the first few if there are many."""
    return " = ".join([*names[:MOST_NAMES], "..."] if len(names) > MOST_NAMES else names)


def _rows(parameter: UsedParameter) -> Iterator[tuple[object, ...]]:
    """Yield a row for each use and one for the sum, beside them the names one below the other."""
    names = joined(parameter.names).replace(" = ", "\n= ").split("\n")
    for name, cells in zip_longest(names, _use_rows(parameter)):
        yield name or "", *(cells or [""] * 4)


def _use_rows(parameter: UsedParameter) -> Iterator[tuple[object, ...]]:
    uses = parameter.uses
    shown = uses if len(uses) <= MOST_USES else uses[: MOST_USES - 2]
    for use in shown:
        yield use.block, ordinal(use.call), use.grad_fn, _norm_cell(use.gradient)
    if len(shown) < len(uses):
        yield f"{len(uses) - len(shown):,} more uses", "", "", ""
    if parameter.gradient is None:
        yield "nothing", "", "", "none"
    else:
        yield "accumulated", "", "", _norm_cell(parameter.gradient)


def _norm_cell(gradient: Tensor) -> str:
    return "?" if gradient.is_meta else f"{_number(norm(gradient)):.3g}"


def _largest(values: Tensor) -> float:
    return _number(values.abs().max()) if values.numel() else 0.0


def _number(scalar: Tensor) -> float:
    return math.nan if scalar.is_meta else scalar.item()


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient
