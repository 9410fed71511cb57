"""Tensors of the practice devices: ordinary torch tensors whose bytes lie in host memory.

A practice tensor is a plain `torch.Tensor`: torch's own C++ object with device `practice:0`, whose
storage points at bytes that a CPU tensor owns. Views, in-place changes, `.data`, parameters and
autograd are therefore torch's own; only the arithmetic is handed to the CPU.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from .practice_memory import Loan, Memory

aten = torch.ops.aten
CPU = torch.device("cpu")
CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
MEMORIES: list[Memory] = []

_set_storage = aten.set_.source_Storage_storage_offset.redispatch
_alias = aten.alias.default.redispatch
_point_at = torch._C._construct_storage_from_data_pointer


class HostBytes:
    """The CPU tensor behind a practice storage, and the device memory that it counts for."""

    __slots__ = ("host", "index", "loan")

    def __init__(self, host: torch.Tensor, index: int, loan: Loan) -> None:
        self.host = host
        self.index = index
        self.loan = loan


def memory_of(index: int) -> Memory:
    """Return the account of `practice:index`, or raise as torch does for a missing device."""
    if 0 <= index < len(MEMORIES):
        return MEMORIES[index]
    raise RuntimeError(
        f"practice error: invalid device ordinal: there is no practice:{index} among the "
        f"{len(MEMORIES)} practice devices; call practice_gpus({index + 1}) to have it"
    )


def place(host: torch.Tensor, index: int) -> torch.Tensor:
    """Return the practice tensor that `host`, a CPU tensor of its own, is the memory of."""
    if torch._C._is_multithreading_enabled():
        # torch believes that a Python backend has one device and would refuse to run a
        # backward pass in the worker thread of a second; in the calling thread it does not ask.
        torch._C._set_multithreading_enabled(False)
    host_storage = host.untyped_storage()
    size = host_storage.nbytes()
    loan = memory_of(index).borrow(size)
    storage: Any = _point_at(host_storage.data_ptr(), _device(index), size)
    storage.bytes = HostBytes(host, index, loan)
    tensor = _alias(CPU_KEYS, _empty(index, host.dtype))
    _set_storage(
        CPU_KEYS, tensor, storage, host.storage_offset(), host.size(), host.stride()
    )
    return tensor


def host_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the CPU tensor that shares the memory of a practice tensor."""
    host: torch.Tensor = tensor.untyped_storage().bytes.host
    if host.dtype is not tensor.dtype:
        host = torch.empty(0, dtype=tensor.dtype, device=CPU).set_(host.untyped_storage())
    host = host.as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())
    if tensor.is_conj():
        host = torch._conj(host)
    return torch._neg_view(host) if tensor.is_neg() else host


def index_of(tensor: torch.Tensor) -> int | None:
    """Return which practice device holds `tensor`, or None if none does."""
    device = tensor.device
    return device.index if device.type == "practice" else None


@functools.cache
def _device(index: int) -> torch.device:
    return torch.device("practice", index)


class _Blank(torch.Tensor):
    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return True


@functools.cache
def _empty(index: int, dtype: torch.dtype) -> torch.Tensor:
    # The CPU key lies dormant below the device's own. It makes torch hold CPU and practice
    # tensors for exchangeable in `param.data = ...`, as CPU and CUDA tensors are: by that
    # assignment `net.to(device)` moves parameters and keeps them the same objects.
    blank = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
        _Blank, (0,), dtype=dtype, device=_device(index), _extra_dispatch_keys=CPU_KEYS
    )
    tensor = torch.empty(0, dtype=dtype, device=CPU)
    tensor.data = blank
    return tensor
