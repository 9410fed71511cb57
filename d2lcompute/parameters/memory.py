"""Which tensors occupy the same memory: ties that object identity does not show."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

# Where the bytes of a tensor lie: storage (0 in main memory), first byte, end, position in a list.
Extent = tuple[int, int, int, int]
PLAIN = {Tensor, nn.Parameter, nn.Buffer}

_PARTS = {
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def overlapping(tensors: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of the tensors that share elements, one sorted list a group.

    >>> from d2lcompute.parameters.memory import overlapping
    >>> flat = torch.zeros(6)
    >>> overlapping([flat[:3], flat[3:], flat[1:2], torch.zeros(6)])
    [[0, 2]]

    Disjoint slices of one tensor share none, interleaved ones neither. `tensors` are different
    objects. Lazy, empty and sparse tensors and those without memory of their own share nothing;
    meta tensors do if they are views of one another.
    """
    leader: dict[int, int] = {}

    def lead(index: int) -> int:
        while index in leader:
            index = leader[index]
        return index

    for left, right in _close_pairs(_extents(tensors)):
        first, second = sorted((lead(left[-1]), lead(right[-1])))
        if first != second and _meet(left, right, tensors):
            leader[second] = first
    groups: dict[int, list[int]] = {}
    for index in sorted({*leader, *leader.values()}):
        groups.setdefault(lead(index), []).append(index)
    return list(groups.values())


def is_sparse(tensor: Tensor) -> bool:
    """Whether a tensor holds but a few of its numbers, in its last part, and where they are."""
    return tensor.layout in _PARTS


def parts_of(tensor: Tensor) -> list[Tensor]:
    """Return the tensors that hold the data of one: indices and values of a sparse one.

    >>> from d2lcompute.parameters.memory import parts_of
    >>> [part.shape for part in parts_of(torch.eye(3).to_sparse())]
    [torch.Size([2, 3]), torch.Size([3])]

    So it is for nested tensors and others that wrap some. One that has its data itself has none.
    """
    if tensor.layout in _PARTS:
        return [getattr(tensor, name)() for name in _PARTS[tensor.layout]]
    if type(tensor) in PLAIN or not is_traceable_wrapper_subclass(tensor):
        return []
    held = [getattr(tensor, name) for name in tensor.__tensor_flatten__()[0]]
    return [part for inner in held if inner is not None for part in parts_of(inner) or [inner]]


def size_of(tensor: Tensor) -> int:
    """Return how many bytes the numbers of a tensor take, and the indices of a sparse one.

    >>> from d2lcompute.parameters.memory import size_of
    >>> size_of(torch.eye(3)), size_of(torch.eye(3).to_sparse())
    (36, 60)
    """
    return sum(part.numel() * part.element_size() for part in parts_of(tensor) or [tensor])


def count_once(tensors: Sequence[Tensor]) -> int:
    """Return the number of elements, those that several tensors share counted once.

    >>> from d2lcompute.parameters.memory import count_once
    >>> weight = torch.zeros(2, 3)
    >>> count_once([weight, weight.t(), torch.zeros(4)])
    10
    """
    total = sum(tensor.numel() for tensor in tensors)
    for group in overlapping(tensors):
        members = [tensors[index] for index in group]
        total += _distinct(members) - sum(tensor.numel() for tensor in members)
    return total


def span(tensor: Tensor) -> int:
    """Return the number of elements from the first to the last in memory, gaps included."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in steps)


def extent(tensor: Tensor, index: int = 0) -> Extent | None:
    """Return the bytes from the first element to the last, gaps included; None without memory."""
    try:
        if tensor.is_cpu and type(tensor) in PLAIN:
            place, start = 0, tensor.data_ptr()
        else:  # elsewhere, and where nothing is behind a tensor, addresses need not count bytes
            place = tensor.untyped_storage()._cdata
            start = int(tensor.storage_offset()) * tensor.element_size()
    except (RuntimeError, ValueError):  # sparse; lazy
        return None
    length = tensor.nbytes if tensor.is_contiguous() else span(tensor) * tensor.element_size()
    return (place, start, start + length, index) if length else None


def _extents(tensors: Sequence[Tensor]) -> list[Extent]:
    found = map(extent, tensors, itertools.count())
    return [place for place in found if place is not None]


def _close_pairs(extents: list[Extent]) -> Iterator[tuple[Extent, Extent]]:
    """Yield the pairs whose bytes, gaps included, overlap."""
    still_open: list[Extent] = []
    reach = -1
    for current in sorted(extents):
        storage, start, stop, _ = current
        if start >= reach or storage != still_open[0][0]:
            still_open, reach = [current], stop
            continue
        still_open = [other for other in still_open if other[2] > start]
        for other in still_open:
            yield other, current
        still_open.append(current)
        reach = max(reach, stop)


def _meet(left: Extent, right: Extent, tensors: Sequence[Tensor]) -> bool:
    if _is_dense(tensors[left[-1]]) and _is_dense(tensors[right[-1]]):
        return True
    return bool(torch.isin(_addresses(left, tensors), _addresses(right, tensors)).any())


def _distinct(tensors: Sequence[Tensor]) -> int:
    extents = _extents(tensors)
    widest = max(extents, key=lambda place: place[2] - place[1])
    inside = all(widest[1] <= start and stop <= widest[2] for _, start, stop, _ in extents)
    if inside and _is_dense(tensors[widest[-1]]):
        return tensors[widest[-1]].numel()
    addresses = torch.cat([_addresses(place, tensors) for place in extents]).sort().values
    return 1 + int(addresses.diff().count_nonzero())


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the elements fill their memory in some order, without gaps and repeats."""
    filled = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1:
            if stride != filled:
                return False
            filled *= size
    return True


def _addresses(place: Extent, tensors: Sequence[Tensor]) -> Tensor:
    """Return the address of every element, without reading its memory."""
    _, start, stop, index = place
    tensor = tensors[index]
    line = torch.arange(start, stop, tensor.element_size(), device="cpu")
    return line.as_strided(tensor.shape, tensor.stride()).reshape(-1)
