"""What the parameters and buffers of a net look like: a row for each, and what they add up to."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..tables import Rows, Shown, Table, listed, size_text
from ..words.language import _, mark, marks, ngettext
from .memory import count_once, is_sparse, parts_of, size_of
from .names import (
    Entry,
    Shape,
    dtype_name,
    known_shape,
    select,
    shape_text,
    slots,
    tied_entries,
    walk,
)

Gradient = float | Literal["?"] | None

_HEADERS = marks(
    "name", "shape", "dtype", "device", "count", "state", "gradient", "tied with", "kind", "bytes"
)
_HIDDEN = ("kind", "bytes")
_MOST_FLAT = 12  # rows that a notebook shows as a plain table


def describe(net: nn.Module, pattern: str | re.Pattern[str] | None = None) -> Description:
    """Return a table of the parameters and buffers of a net, with what is known at this moment.

    >>> net = nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.Linear(256, 10))
    >>> d2c.describe(net)
    Sequential
    name      shape      dtype    device      count  state    gradient    tied with
    --------  ---------  -------  --------  -------  -------  ----------  -----------
    0.weight  (256, ?)   float32  cpu             ?  lazy     none
    0.bias    (256,)     float32  cpu           256  lazy     none
    2.weight  (10, 256)  float32  cpu         2,560  ready    none
    2.bias    (10,)      float32  cpu            10  ready    none
    total at least 2,826, 11.3 kB: lazy parameters get their size from a first forward pass ...
    >>> d2c.describe(net, "2").total
    2570

    `net` is any module. `pattern` is a regular expression that selects names, as in
    `collect_params`. The gradient is shown as none, zero or its norm. Tied are the other names of
    a parameter, also those of another one on the same memory.

    Returns a report, a sequence of the rows of parameters, with `buffers` and totals as data;
    nothing about the net changes. Raises `ValueError` if `pattern` is not a regular expression.
    Source: D2L 6.2 / zh 5.2
    """
    found = list(slots(net))
    chosen, groups = select(found, pattern, buffers=True), tied_entries(found)
    rows = _rows(chosen, groups)
    pairs = list(zip(chosen, rows, strict=True))
    parameters = [(entry, row) for entry, row in pairs if not entry.is_buffer]
    trainable = [(entry, row) for entry, row in parameters if entry.tensor.requires_grad]
    total, size = _total(parameters, groups)
    return Description(
        title=type(net).__name__,
        tensors=rows,
        total=total,
        trainable=_total(trainable, groups)[0],
        bytes=size,
        buffer_bytes=_total([pair for pair in pairs if pair[0].is_buffer], groups)[1],
        gradient_bytes=_gradient_bytes([entry.tensor for entry, _row in parameters]),
        kept=_kept(chosen),
        modules={name: type(module).__name__ for name, module in walk(net, every_name=True)},
        pattern=re.compile(pattern).pattern if pattern is not None else None,
    )


def norm(tensor: Tensor) -> Tensor:
    """Return the Euclidean norm, safe from overflow where the device has double precision."""
    summed = tensor.coalesce() if tensor.layout is torch.sparse_coo else tensor
    values = parts_of(summed)[-1] if is_sparse(summed) else summed
    wide = torch.complex128 if values.is_complex() else torch.float64
    dtype = None if values.device.type == "mps" else wide
    measured: Tensor = torch.linalg.vector_norm(values, dtype=dtype)
    return measured


def _rows(
    chosen: Sequence[Entry], groups: list[list[Entry]]
) -> tuple[ParameterRow | BufferRow, ...]:
    names = {id(entry.tensor): [e.name for e in group] for group in groups for entry in group}
    rows: list[ParameterRow | BufferRow] = []
    for entry, gradient in zip(chosen, _gradient_norms(chosen), strict=True):
        name, module, leaf, tensor, is_buffer = entry
        lazy = is_lazy(tensor)
        shape = known_shape(module, leaf) if lazy else tuple(tensor.shape)
        count = _known_count(shape) if lazy else tensor.numel()
        tied_with = tuple(other for other in names.get(id(tensor), ()) if other != name)
        size = size_of(tensor) if not lazy else count and count * tensor.dtype.itemsize
        common = name, shape, tensor.dtype, tensor.device, count, lazy, tied_with, size
        if is_buffer:
            rows.append(BufferRow(*common, leaf not in module._non_persistent_buffers_set))
        else:
            rows.append(ParameterRow(*common, tensor.requires_grad, gradient))
    return tuple(rows)


def _known_count(shape: Shape | None) -> int | None:
    known = [size for size in shape or () if size is not None]
    return math.prod(known) if shape is not None and len(known) == len(shape) else None


def _total(pairs: Sequence[tuple[Entry, TensorRow]], groups: list[list[Entry]]) -> tuple[int, int]:
    """Return how many numbers and bytes are known, what tensors share counted once."""
    total = sum(row.count or 0 for _entry, row in pairs)
    size = sum(row.bytes or 0 for _entry, row in pairs)
    tensors = {id(entry.tensor): entry.tensor for entry, _row in pairs}
    for group in groups:
        shared = [tensors[key] for key in {id(entry.tensor) for entry in group} & tensors.keys()]
        if len(shared) > 1:
            again = sum(tensor.numel() for tensor in shared) - count_once(shared)
            total, size = total - again, size - again * shared[0].element_size()
    return total, size


def _gradient_bytes(parameters: Sequence[Tensor]) -> int:
    return sum(size_of(p.grad) for p in parameters if p.is_leaf and p.grad is not None)


def _kept(chosen: Sequence[Entry]) -> tuple[int, int] | None:
    """Return how many numbers the masks of `torch.nn.utils.prune` keep, and of how many."""
    masks = [
        entry.tensor
        for entry in chosen
        if entry.is_buffer
        and entry.leaf.endswith("_mask")
        and entry.leaf.removesuffix("mask") + "orig" in entry.module._parameters
        and not entry.tensor.is_meta
    ]
    if not masks:
        return None
    return sum(int(mask.count_nonzero()) for mask in masks), sum(mask.numel() for mask in masks)


@torch.no_grad()
def _gradient_norms(chosen: Sequence[Entry]) -> list[Gradient]:
    """Measure every gradient where it lies, and read the results once for each device."""
    norms: list[Gradient] = [None] * len(chosen)
    places: dict[tuple[torch.device, torch.dtype], list[tuple[int, Tensor]]] = {}
    for index, (*_rest, tensor, is_buffer) in enumerate(chosen):
        if not (is_buffer or is_lazy(tensor)) and tensor.is_leaf and tensor.grad is not None:
            measured = norm(tensor.grad)
            norms[index] = "?"
            if type(measured) is Tensor and not measured.is_meta:
                places.setdefault((measured.device, measured.dtype), []).append((index, measured))
    for found in places.values():
        values = torch.stack([measured for _index, measured in found]).tolist()
        for (index, _measured), value in zip(found, values, strict=True):
            norms[index] = value
    return norms


@dataclass(frozen=True)
class TensorRow:
    """A parameter or buffer: `count`, `bytes`, and sizes in `shape`, are None where not known yet.

    `tied_with` are its other names, and those of what shares its memory. `bytes` is how much memory
    its numbers take, and the indices of a sparse one.
    """

    name: str
    shape: Shape | None
    dtype: torch.dtype
    device: torch.device
    count: int | None
    lazy: bool
    tied_with: tuple[str, ...]
    bytes: int | None


@dataclass(frozen=True)
class ParameterRow(TensorRow):
    """One parameter.

    `gradient` is None before backward, else the norm of the gradient, or `"?"` where it cannot be
    read, as on the meta device or where a gradient is spread over processes.
    """

    trainable: bool
    gradient: Gradient

    @property
    def state(self) -> str:
        """`"lazy"` as long as the parameter waits for its shape, then `"ready"`."""
        return mark("lazy") if self.lazy else mark("ready")


@dataclass(frozen=True)
class BufferRow(TensorRow):
    """One buffer; `saved` tells whether it is in the `state_dict`."""

    saved: bool

    @property
    def state(self) -> str:
        """`"buffer"`, and what else there is to say: lazy, or not saved."""
        if self.lazy:
            return mark("buffer, lazy")
        return mark("buffer") if self.saved else mark("buffer, not saved")


@dataclass(frozen=True, repr=False)
class Description(Rows[ParameterRow]):
    """The parameters of a net, row by row, its buffers, and totals.

    `tensors` are all rows in the order of the net, `rows` those of parameters and `buffers` those
    of buffers. The totals are what is known of them, each tied one counted once: numbers in
    `total` and `trainable`, memory in `bytes`, `buffer_bytes` and `gradient_bytes`. `kept` is how
    many numbers the masks of pruned parameters keep, of how many. `modules` maps the names of
    modules to their types.
    """

    title: str
    tensors: tuple[ParameterRow | BufferRow, ...]
    total: int
    trainable: int
    bytes: int
    buffer_bytes: int
    gradient_bytes: int
    kept: tuple[int, int] | None
    modules: dict[str, str]
    pattern: str | None = None

    @property
    def rows(self) -> tuple[ParameterRow, ...]:
        """The rows of parameters."""
        return tuple(row for row in self.tensors if isinstance(row, ParameterRow))

    @property
    def buffers(self) -> tuple[BufferRow, ...]:
        """The rows of buffers."""
        return tuple(row for row in self.tensors if isinstance(row, BufferRow))

    @property
    def complete(self) -> bool:
        """Whether every parameter is ready, so that `total` is all there will be."""
        return not any(row.lazy for row in self.rows)

    def _rows(self) -> Sequence[ParameterRow]:
        return self.rows

    def _table(self) -> Table:
        rows = [_cells(row, row.name) for row in self.tensors]
        return Table(_HEADERS, rows, self.title, list(self._notes()), hidden=_HIDDEN)

    def _tree(self) -> Table:
        if len(self.tensors) <= _MOST_FLAT:
            return self._table()
        lines = list(_nested(self.tensors, self.modules))
        rows, depths, paths = zip(*lines, strict=True)
        notes = list(self._notes())
        return Table(_HEADERS, rows, self.title, notes, depths, paths, hidden=_HIDDEN)

    def _notes(self) -> Iterator[str]:
        if not self.tensors:
            yield self._why_empty()
            return
        if self.rows:
            yield self._total_note()
        if self.trainable != self.total:
            yield _("trainable {count:,}", count=self.trainable)
        if self.gradient_bytes:
            yield _("gradients {size}", size=size_text(self.gradient_bytes))
        if self.buffers:
            size = size_text(self.buffer_bytes)
            count = len(self.buffers)
            yield ngettext("{n} buffer, {size}", "{n:,} buffers, {size}", count, size=size)
        if self.kept is not None:
            kept, total = self.kept
            yield _("pruned: the masks keep {kept:,} of {total:,} numbers", kept=kept, total=total)
        if any(row.tied_with for row in self.tensors):
            yield _("what is tied is counted once")

    def _total_note(self) -> str:
        size = size_text(self.bytes)
        if self.complete:
            return _("total {count:,}, {size}", count=self.total, size=size)
        return _(
            "total at least {count:,}, {size}: lazy parameters get their size "
            "from a first forward pass or `materialize(net, X)`",
            count=self.total,
            size=size,
        )

    def _why_empty(self) -> str:
        if self.pattern is None:
            return _("no parameters")
        return _(
            "no name fits {pattern!r}: names are matched from their start, "
            "'.*weight' finds a weight at any depth",
            pattern=self.pattern,
        )


def _cells(row: ParameterRow | BufferRow, name: str) -> tuple[object, ...]:
    return (
        name,
        Shown(row.shape, shape_text(row.shape)),
        dtype_name(row.dtype),
        row.device,
        row.count if row.count is not None else Shown(None, "?"),
        Shown(row.state, _(row.state)),
        _gradient_cell(row) if isinstance(row, ParameterRow) else None,
        Shown(row.tied_with, listed(row.tied_with, 2)),
        "parameter" if isinstance(row, ParameterRow) else "buffer",
        row.bytes if row.bytes is not None else Shown(None, "?"),
    )


def _gradient_cell(row: ParameterRow) -> Shown:
    if row.gradient is None:
        return Shown(None, _("none") if row.trainable else _("none (frozen)"))
    if row.gradient == "?":
        return Shown(None, "?")
    return Shown(row.gradient, f"{row.gradient:.3g}" if row.gradient else _("zero"))


def _nested(
    rows: Sequence[ParameterRow | BufferRow], modules: dict[str, str]
) -> Iterator[tuple[tuple[object, ...], int, str]]:
    """Yield the cells, depth and path of a line for each row, below a line for each module."""
    totals = _totals(rows)
    places = [_ancestors(row.name) for row in rows]
    junctions = _junctions(places)
    around: list[str] = []
    for row, place in zip(rows, places, strict=True):
        while around and around[-1] not in place:
            around.pop()
        for path in place[place.index(around[-1]) + 1 if around else 0 :]:
            if path in junctions:
                yield _module_cells(path, around, totals[path], modules), len(around), path
                around.append(path)
        yield _cells(row, row.name.rpartition(".")[2]), len(around), row.name


def _ancestors(name: str) -> list[str]:
    """Return the names of the modules around a tensor, the outermost first."""
    return list(accumulate(name.split(".")[:-1], lambda path, part: f"{path}.{part}"))


def _junctions(places: Sequence[Sequence[str]]) -> set[str]:
    """Return the modules with a tensor or several modules in them, which deserve a line."""
    below: dict[str, set[str]] = {}
    for place in places:
        for path, inner in pairwise([*place, ""]):
            below.setdefault(path, set()).add(inner)
    return {path for path, inside in below.items() if len(inside) > 1 or "" in inside}


def _totals(rows: Sequence[ParameterRow | BufferRow]) -> dict[str, list[TensorRow]]:
    inside: dict[str, list[TensorRow]] = {}
    for row in rows:
        for path in _ancestors(row.name):
            inside.setdefault(path, []).append(row)
    return inside


def _module_cells(
    path: str, around: Sequence[str], inside: Sequence[TensorRow], modules: dict[str, str]
) -> tuple[object, ...]:
    label = path.removeprefix(f"{around[-1]}.") if around else path
    counts = [row.count for row in inside if isinstance(row, ParameterRow)]
    known = [count for count in counts if count is not None]
    text = f"{sum(known):,}" + (" + ?" if len(known) < len(counts) else "")
    return f"{label}: {modules[path]}", "", "", "", Shown(sum(known), text), *[""] * 5
