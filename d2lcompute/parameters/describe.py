"""What the parameters of a net look like, as a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..tables import Report, Table, listed
from .memory import count_once
from .names import Entry, Shape, dtype_name, known_shape, select, shape_text, slots, tied_entries

Gradient = float | Literal["?"] | None


@dataclass(frozen=True)
class ParameterRow:
    """One parameter: `count` and the sizes in `shape` are None where they are not known yet.

    `gradient` is None before backward, else the norm of the gradient, or `"?"` where it cannot be
    read, as on the meta device or where a gradient is spread over processes. `tied_with` are the
    other names of the parameter, and those of what shares its memory.
    """

    name: str
    shape: Shape | None
    dtype: torch.dtype
    device: torch.device
    count: int | None
    trainable: bool
    gradient: Gradient
    tied_with: tuple[str, ...]

    @property
    def state(self) -> str:
        """`"lazy"` as long as the parameter waits for its shape, then `"ready"`."""
        return "lazy" if self.count is None else "ready"


@dataclass(frozen=True, repr=False)
class Description(Report):
    """The rows, and totals over the parameters that are ready, each tied one counted once."""

    title: str
    rows: tuple[ParameterRow, ...]
    total: int
    trainable: int
    pattern: str | None = None

    @property
    def complete(self) -> bool:
        """Whether every parameter is ready, so that `total` is all there will be."""
        return all(row.count is not None for row in self.rows)

    def _table(self) -> Table:
        headers = ("name", "shape", "dtype", "device", "count", "state", "gradient", "tied with")
        return Table(headers, [_cells(row) for row in self.rows], self.title, self._notes())

    def _notes(self) -> list[str]:
        if not self.rows:
            return [self._why_empty()]
        notes = [f"total {self.total:,}"]
        if not self.complete:
            notes = [
                f"total at least {self.total:,}: lazy parameters get their size "
                "from a first forward pass or materialize(net, X)"
            ]
        if self.trainable != self.total:
            notes.append(f"trainable {self.trainable:,}")
        if any(row.tied_with for row in self.rows):
            notes.append("what is tied is counted once")
        return notes

    def _why_empty(self) -> str:
        if self.pattern is None:
            return "no parameters"
        return (
            f"no name fits {self.pattern!r}: names are matched from their start, "
            "'.*weight' finds a weight at any depth"
        )


def describe(net: nn.Module, pattern: str | re.Pattern[str] | None = None) -> Description:
    """Return a table of the parameters of a net, with what is known of each at this moment.

    >>> net = nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.Linear(256, 10))
    >>> d2c.describe(net)
    Sequential
    name      shape      dtype    device    count    state    gradient    tied with
    --------  ---------  -------  --------  -------  -------  ----------  -----------
    0.weight  (256, ?)   float32  cpu       ?        lazy     none
    0.bias    (256,)     float32  cpu       ?        lazy     none
    2.weight  (10, 256)  float32  cpu       2,560    ready    none
    2.bias    (10,)      float32  cpu       10       ready    none
    total at least 2,570: lazy parameters get their size from a first forward pass or ...
    >>> d2c.describe(net, "2").total
    2570

    `net` is any module. `pattern` is a regular expression that selects names, as in
    `collect_params`. The gradient is shown as none, zero or its norm. Tied are the other names of
    a parameter, also those of another one on the same memory.

    Returns a report with `rows`, `total`, `trainable` and `complete` as data; nothing about the
    net changes. Raises `ValueError` if `pattern` is not a regular expression.
    Source: D2L 6.2 / zh 5.2
    """
    found = list(slots(net))
    chosen, groups = select(found, pattern), tied_entries(found)
    ready = [entry.tensor for entry in chosen if not is_lazy(entry.tensor)]
    return Description(
        title=type(net).__name__,
        rows=_rows(chosen, groups),
        total=_total(ready, groups),
        trainable=_total([tensor for tensor in ready if tensor.requires_grad], groups),
        pattern=re.compile(pattern).pattern if pattern is not None else None,
    )


def _total(tensors: Sequence[Tensor], groups: list[list[Entry]]) -> int:
    """Count the elements, those that tensors of one group share once."""
    apart = {id(tensor): tensor for tensor in tensors}
    total = 0
    for group in groups:
        keys = {id(entry.tensor) for entry in group}
        total += count_once([apart.pop(key) for key in keys & apart.keys()])
    return total + sum(tensor.numel() for tensor in apart.values())


def norm(tensor: Tensor) -> Tensor:
    """Return the Euclidean norm, safe from overflow where the device has double precision."""
    values = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor
    wide = torch.complex128 if values.is_complex() else torch.float64
    dtype = None if values.device.type == "mps" else wide
    measured: Tensor = torch.linalg.vector_norm(values, dtype=dtype)
    return measured


def _rows(chosen: Sequence[Entry], groups: list[list[Entry]]) -> tuple[ParameterRow, ...]:
    names = {id(entry.tensor): [e.name for e in group] for group in groups for entry in group}
    norms = _gradient_norms([entry.tensor for entry in chosen])
    return tuple(
        ParameterRow(
            name=name,
            shape=known_shape(module, leaf) if is_lazy(tensor) else tuple(tensor.shape),
            dtype=tensor.dtype,
            device=tensor.device,
            count=None if is_lazy(tensor) else tensor.numel(),
            trainable=tensor.requires_grad,
            gradient=gradient,
            tied_with=tuple(other for other in names.get(id(tensor), ()) if other != name),
        )
        for (name, module, leaf, tensor, _), gradient in zip(chosen, norms, strict=True)
    )


@torch.no_grad()
def _gradient_norms(parameters: Sequence[Tensor]) -> list[Gradient]:
    """Measure every gradient where it lies, and read the results once for each device."""
    norms: list[Gradient] = [None] * len(parameters)
    places: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for index, parameter in enumerate(parameters):
        if not is_lazy(parameter) and parameter.is_leaf and parameter.grad is not None:
            measured = norm(parameter.grad)
            norms[index] = "?"
            if type(measured) is Tensor and not measured.is_meta:
                places.setdefault((measured.device, measured.dtype), []).append((index, measured))
    for found in places.values():
        values = torch.stack([measured for _, measured in found]).tolist()
        for (index, _), value in zip(found, values, strict=True):
            norms[index] = value
    return norms


def _cells(row: ParameterRow) -> tuple[object, ...]:
    count = "?" if row.count is None else row.count
    return (row.name, shape_text(row.shape), dtype_name(row.dtype), row.device, count, row.state,
            _gradient_cell(row), listed(row.tied_with, 2))  # fmt: skip


def _gradient_cell(row: ParameterRow) -> str:
    if row.gradient is None:
        return "none" if row.trainable else "none (frozen)"
    if row.gradient == "?":
        return "?"
    return f"{row.gradient:.3g}" if row.gradient else "zero"
