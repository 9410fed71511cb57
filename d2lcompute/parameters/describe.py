"""What the parameters and buffers of a net look like, as a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .description import BufferRow, Description, Gradient, ParameterRow, TensorRow
from .memory import count_once, is_sparse, parts_of, size_of
from .names import Entry, Shape, known_shape, select, slots, tied_entries, walk


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
        gradient_bytes=_gradient_bytes([entry.tensor for entry, _ in parameters]),
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
    total = sum(row.count or 0 for _, row in pairs)
    size = sum(row.bytes or 0 for _, row in pairs)
    tensors = {id(entry.tensor): entry.tensor for entry, _ in pairs}
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
    for index, (_, _, _, tensor, is_buffer) in enumerate(chosen):
        if not (is_buffer or is_lazy(tensor)) and tensor.is_leaf and tensor.grad is not None:
            measured = norm(tensor.grad)
            norms[index] = "?"
            if type(measured) is Tensor and not measured.is_meta:
                places.setdefault((measured.device, measured.dtype), []).append((index, measured))
    for found in places.values():
        values = torch.stack([measured for _, measured in found]).tolist()
        for (index, _), value in zip(found, values, strict=True):
            norms[index] = value
    return norms
