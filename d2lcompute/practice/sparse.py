"""Sparse tensors on practice devices: their indices and values are practice tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .tensor import host_of, place

_aten = torch.ops.aten
_KEYS = {
    "SparsePrivateUse1": torch._C.DispatchKeySet(torch._C.DispatchKey.SparseCPU),
    "SparseCsrPrivateUse1": torch._C.DispatchKeySet(torch._C.DispatchKey.SparseCsrCPU),
}
# These look at the parts, or put parts together, whatever device they are on.
_STRUCTURAL = {
    "SparsePrivateUse1": (
        "copy_sparse_to_sparse_", "dense_dim", "indices", "is_coalesced", "sparse_dim",
        "sparse_resize_", "sparse_resize_and_clear_", "values", "_coalesced_", "_dimI", "_dimV",
        "_indices", "_nnz", "_sparse_coo_tensor_with_dims",
        "_sparse_coo_tensor_with_dims_and_tensors", "_values",
    ),
    "SparseCsrPrivateUse1": (
        "ccol_indices", "col_indices", "copy_", "crow_indices", "dense_dim", "row_indices",
        "sparse_dim", "values", "_nnz",
    ),
}  # fmt: skip


def structural_kernels(key: str) -> dict[str, Callable[..., Any]]:
    """Return the kernels that a dispatch key for sparse tensors can take over from the CPU."""
    return {
        name: partial(getattr(_aten, name).default._handle.redispatch_boxed, _KEYS[key])
        for name in _STRUCTURAL[key]
    }


def sparse_host_of(tensor: Tensor) -> Tensor:
    """Return the CPU tensor that shares the indices and values of a sparse practice tensor."""
    if tensor.layout is torch.sparse_coo:
        return _aten._sparse_coo_tensor_unsafe(
            host_of(tensor._indices()), host_of(tensor._values()), tensor.shape,
            is_coalesced=tensor.is_coalesced(),
        )  # fmt: skip
    outer, inner = _compressed_indices(tensor)
    return _aten._sparse_compressed_tensor_unsafe(
        host_of(outer), host_of(inner), host_of(tensor.values()), tensor.shape,
        layout=tensor.layout,
    )  # fmt: skip


def place_sparse(host: Tensor, index: int) -> Tensor:
    """Return the sparse tensor on `practice:index` with the indices and values of `host`."""
    if host.layout is torch.sparse_coo:
        return _aten._sparse_coo_tensor_unsafe(
            place(host._indices(), index), place(host._values(), index), host.shape,
            is_coalesced=host.is_coalesced(),
        )  # fmt: skip
    outer, inner = _compressed_indices(host)
    return _aten._sparse_compressed_tensor_unsafe(
        place(outer, index), place(inner, index), place(host.values(), index), host.shape,
        layout=host.layout,
    )  # fmt: skip


def write_sparse(tensor: Tensor, host: Tensor) -> None:
    """Give a sparse practice tensor the content of a CPU tensor."""
    source = place_sparse(host, tensor.device.index)
    if tensor.layout is torch.sparse_coo:
        _aten.copy_sparse_to_sparse_(tensor, source)
    else:
        _aten.copy_(tensor, source)


def _compressed_indices(tensor: Tensor) -> tuple[Tensor, Tensor]:
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return tensor.crow_indices(), tensor.col_indices()
    return tensor.ccol_indices(), tensor.row_indices()
