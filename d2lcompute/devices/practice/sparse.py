"""Sparse tensors on practice devices: their indices and values are practice tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .memory import DEVICES
from .tensor import host_of, place

_aten = torch.ops.aten
_KEYS = {
    "Sparse": torch._C.DispatchKeySet(torch._C.DispatchKey.SparseCPU),
    "SparseCsr": torch._C.DispatchKeySet(torch._C.DispatchKey.SparseCsrCPU),
}
# These look at the parts, or put parts together, whatever device they are on.
_STRUCTURAL = {
    "Sparse": (
        "copy_sparse_to_sparse_", "dense_dim", "indices", "is_coalesced", "sparse_dim",
        "sparse_resize_", "sparse_resize_and_clear_", "values", "_coalesced_", "_dimI", "_dimV",
        "_indices", "_nnz", "_sparse_coo_tensor_with_dims",
        "_sparse_coo_tensor_with_dims_and_tensors", "_values",
    ),
    "SparseCsr": (
        "ccol_indices", "col_indices", "copy_", "crow_indices", "dense_dim", "row_indices",
        "sparse_dim", "values", "_nnz",
    ),
}  # fmt: skip


def structural_kernels(layout: str) -> dict[str, Callable[..., Any]]:
    """Return the kernels for "Sparse" or "SparseCsr" tensors that need not know the device."""
    kernels = {name: _structural(name, layout) for name in _STRUCTURAL[layout]}
    return kernels | {"_sparse_mm_reduce_impl": _mm_reduce} if layout == "SparseCsr" else kernels


def _structural(name: str, layout: str) -> Callable[..., Any]:
    kernel: Callable[..., Any] = partial(
        getattr(_aten, name).default._handle.redispatch_boxed, _KEYS[layout]
    )
    if not name.startswith("_sparse_coo_tensor"):
        return kernel

    def on_device(*args: Any, device: torch.device, **options: Any) -> Any:
        with DEVICES.using(device.index):  # torch starts with parts on the current device
            return kernel(*args, device=device, **options)

    return on_device


def _mm_reduce(matrix: Tensor, other: Tensor, reduce: str) -> tuple[Tensor, Tensor]:
    # The CPU notes where an extremum came from only if it sees that a gradient is wanted.
    host = sparse_host_of(matrix).requires_grad_(matrix.requires_grad or other.requires_grad)
    result, origin = _aten._sparse_mm_reduce_impl(host, host_of(other), reduce)
    return place(result, matrix.device.index), place(origin, matrix.device.index)


def sparse_host_of(tensor: Tensor) -> Tensor:
    """Return the CPU tensor that shares the indices and values of a sparse practice tensor."""
    return _rebuilt(tensor, host_of)


def place_sparse(host: Tensor, index: int) -> Tensor:
    """Return the sparse tensor on `practice:index` with the indices and values of `host`."""
    return _rebuilt(host, partial(place, index=index))


def write_sparse(tensor: Tensor, host: Tensor) -> None:
    """Give a sparse practice tensor the content of a CPU tensor."""
    source = place_sparse(host, tensor.device.index)
    if tensor.layout is torch.sparse_coo:
        _aten.copy_sparse_to_sparse_(tensor, source)
    else:
        _aten.copy_(tensor, source)


def _rebuilt(tensor: Tensor, move: Callable[[Tensor], Tensor]) -> Tensor:
    rebuilt: Tensor
    if tensor.layout is torch.sparse_coo:
        rebuilt = _aten._sparse_coo_tensor_unsafe(
            move(tensor._indices()), move(tensor._values()), tensor.shape,
            is_coalesced=tensor.is_coalesced(),
        )  # fmt: skip
        return rebuilt
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        outer, inner = tensor.crow_indices(), tensor.col_indices()
    else:
        outer, inner = tensor.ccol_indices(), tensor.row_indices()
    values = move(tensor.values())
    rebuilt = _aten._sparse_compressed_tensor_unsafe(
        move(outer), move(inner), values, tensor.shape, layout=tensor.layout, device=values.device
    )
    return rebuilt
