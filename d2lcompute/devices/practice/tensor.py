"""Tensors of the practice devices: plain torch tensors whose bytes lie in host memory.

A practice tensor is torch's own C++ object with device `practice:0`; its storage points at bytes
that a CPU tensor owns. Views, changes in place, `.data`, parameters and autograd are therefore
torch's own, and only arithmetic is handed to the CPU. Of sparse tensors, indices and values are
practice tensors.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .devices import DEVICES

CPU = torch.device("cpu")
CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

_QUANTIZED = (torch.qint8, torch.quint8, torch.qint32, torch.quint4x2, torch.quint2x4)
_set_storage = torch.ops.aten.set_.source_Storage_storage_offset._handle.redispatch_boxed
_alias = torch.ops.aten.alias.default._handle.redispatch_boxed
_point_at = torch._C._construct_storage_from_data_pointer
_many_threads = torch._C._is_multithreading_enabled
_inference = torch.is_inference_mode_enabled
_no_dispatch_by_class = torch._C._DisableTorchDispatch
_this_thread = threading.local()


class Lent:
    """The CPU tensor that owns the bytes of a practice storage, on loan from a device."""

    __slots__ = ("changes", "host", "index", "size")

    def __init__(self, host: Tensor, index: int, size: int, changes: deque[int]) -> None:
        self.host = host
        self.index = index
        self.size = size
        self.changes = changes

    def __del__(self) -> None:
        self.changes.append(-self.size)

    def seen_as(self, tensor: Tensor) -> Tensor:
        """Return the CPU tensor with the shape, strides and type of `tensor`."""
        host, dtype = self.host, tensor.dtype
        shape = tensor.size()  # not `tensor.shape`, which an uninitialized parameter hides
        strides, offset = tensor.stride(), tensor.storage_offset()
        if dtype is not host.dtype:
            owner = host.untyped_storage()
            host = torch.empty(0, dtype=dtype, device=CPU).set_(owner, offset, shape, strides)
        elif shape != host.size() or strides != host.stride() or offset != host.storage_offset():
            host = host.as_strided(shape, strides, offset)
        if dtype.is_complex and tensor.is_conj():
            host = torch._conj(host)
        return torch._neg_view(host) if tensor.is_neg() else host


def place(host: Tensor, index: int) -> Tensor:
    """Return the tensor on `practice:index` that has the memory of `host`, a CPU tensor."""
    if _many_threads():
        # torch believes that a device defined in Python comes alone, and has no worker thread for
        # the backward pass of a second one; in the calling thread it does not ask.
        torch._C._set_multithreading_enabled(False)
        _this_thread.single = True
    if host.dtype.is_complex:
        host = host.resolve_conj()
    owner, memory = host.untyped_storage(), DEVICES.memory(index)
    size = owner.nbytes()
    memory.lend(size)
    storage: Any = _point_at(owner.data_ptr(), _device(index), size)
    storage.lent = Lent(host, index, size, memory.changes)
    tensor: Tensor = _alias(CPU_KEYS, _empty(index, host.dtype, _inference()))
    _set_storage(CPU_KEYS, tensor, storage, host.storage_offset(), host.size(), host.stride())
    return tensor


def allow_threads() -> None:
    """Let backward passes of this thread have workers again, if `place` took them away."""
    if getattr(_this_thread, "single", False):
        torch._C._set_multithreading_enabled(True)
        _this_thread.single = False


def lent_to(tensor: Tensor) -> Lent | None:
    """Return what lies behind a practice tensor; None for a tensor of another device."""
    storage: Any = tensor.untyped_storage()
    lent: Lent | None = getattr(storage, "lent", None)
    if lent is None and tensor.device.type == "practice":
        # torch itself pointed a storage of its own at our bytes, for example to write a file.
        owner = _point_at(storage.data_ptr(), CPU, storage.nbytes())
        host = torch.empty(0, dtype=torch.uint8, device=CPU).set_(owner)
        storage.lent = lent = Lent(host, tensor.device.index, 0, deque())
    return lent


def host_of(tensor: Tensor) -> Tensor:
    """Return the CPU tensor that shares the memory of a practice tensor; a CPU tensor as it is."""
    lent = lent_to(tensor)
    return tensor if lent is None else lent.seen_as(tensor)


def adopt(tensor: Tensor, storage: Any, offset: Any, shape: Any, strides: Any) -> None:
    """Let a practice tensor stand for other memory of its device, in place."""
    _set_storage(CPU_KEYS, tensor, storage, offset, shape, strides)


@functools.cache
def _device(index: int) -> torch.device:
    return torch.device("practice", index)


class _Blank(Tensor):
    __torch_dispatch__: Any = None  # torch wants the name alone: nothing is asked by it


@functools.cache
def _empty(index: int, dtype: torch.dtype, inference: bool) -> Tensor:
    # A tensor without bytes is all that Python can make for a device of its own; every other one
    # starts as an alias of it.
    if dtype in _QUANTIZED:
        raise NotImplementedError(
            "Practice devices take no quantized tensors; do quantize and compute on the CPU"
        )
    with torch.inference_mode(inference):
        blank = torch.Tensor._make_wrapper_subclass(
            _Blank, (0,), dtype=dtype, device=_device(index)
        )
        tensor = torch.empty(0, dtype=dtype, device=CPU)
        # Dispatch by class would import all of torch.distributed.tensor, which takes half a second.
        with _no_dispatch_by_class():
            tensor.data = blank
    return tensor


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
