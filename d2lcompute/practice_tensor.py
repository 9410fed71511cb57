"""Tensors of the practice devices: plain torch tensors whose bytes lie in host memory.

A practice tensor is torch's own C++ object with device `practice:0`; its storage points at bytes
that a CPU tensor owns. Views, changes in place, `.data`, parameters and autograd are therefore
torch's own, and only arithmetic is handed to the CPU.
"""

from __future__ import annotations

import functools
from collections import deque
from typing import Any

import torch

from .practice_memory import DEVICES

CPU = torch.device("cpu")
CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

_set_storage = torch.ops.aten.set_.source_Storage_storage_offset._handle.redispatch_boxed
_alias = torch.ops.aten.alias.default._handle.redispatch_boxed
_point_at = torch._C._construct_storage_from_data_pointer


class Lent:
    """The CPU tensor that owns the bytes of a practice storage, on loan from a device."""

    __slots__ = ("_returned", "dtype", "host", "index", "offset", "shape", "size", "strides")

    def __init__(self, host: torch.Tensor, index: int, size: int, returned: deque[int]) -> None:
        self.host = host
        self.index = index
        self.size = size
        self.shape = host.shape
        self.strides = host.stride()
        self.offset = host.storage_offset()
        self.dtype = host.dtype
        self._returned = returned

    def __del__(self) -> None:
        self._returned.append(self.size)

    def seen_as(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the CPU tensor with the shape, strides and type of `tensor`."""
        shape, strides, offset = tensor.shape, tensor.stride(), tensor.storage_offset()
        if tensor.dtype is not self.dtype:
            host = torch.empty(0, dtype=tensor.dtype, device=CPU)
            host.set_(self.host.untyped_storage(), offset, shape, strides)
        elif shape == self.shape and strides == self.strides and offset == self.offset:
            host = self.host
        else:
            host = self.host.as_strided(shape, strides, offset)
        if tensor.is_conj():
            host = torch._conj(host)
        return torch._neg_view(host) if tensor.is_neg() else host


class PracticeStorage(torch.UntypedStorage):
    """Bytes on a practice device, which know how to be copied."""

    lent: Lent

    def clone(self) -> torch.UntypedStorage:
        """Return other bytes with the same content; `copy.deepcopy` of a tensor asks for it."""
        return self.copied(self.nbytes())

    def copied(self, size: int) -> torch.UntypedStorage:
        """Return `size` bytes on the same device that begin with these."""
        host = torch.empty(size, dtype=torch.uint8, device=CPU)
        old = torch.empty(0, dtype=torch.uint8, device=CPU).set_(self.lent.host.untyped_storage())
        host[: old.numel()] = old[:size]
        return place(host, self.lent.index).untyped_storage()


def place(host: torch.Tensor, index: int) -> torch.Tensor:
    """Return the tensor on `practice:index` that has the memory of `host`, a CPU tensor."""
    if torch._C._is_multithreading_enabled():
        # torch believes that a device defined in Python comes alone, and has no worker thread for
        # the backward pass of a second one; in the calling thread it does not ask.
        torch._C._set_multithreading_enabled(False)
    if host.is_conj() or host.is_neg():
        host = host.resolve_conj().resolve_neg()
    owner = host.untyped_storage()
    size = owner.nbytes()
    memory = DEVICES.memory(index)
    memory.borrow(size)
    lent = Lent(host, index, size, memory.returned)
    storage: Any = _point_at(owner.data_ptr(), _device(index), size)
    storage.__class__ = PracticeStorage
    storage.lent = lent
    tensor: torch.Tensor = _alias(CPU_KEYS, _empty(index, lent.dtype))
    _set_storage(CPU_KEYS, tensor, storage, lent.offset, lent.shape, lent.strides)
    return tensor


def host_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return the CPU tensor that shares the memory of a practice tensor; a CPU tensor as it is."""
    if tensor.is_cpu:
        return tensor
    storage: Any = tensor.untyped_storage()
    host: torch.Tensor = storage.lent.seen_as(tensor)
    return host


def adopt(tensor: torch.Tensor, storage: Any, offset: int, shape: Any, strides: Any) -> None:
    """Let a practice tensor stand for other memory of its device, in place."""
    _set_storage(CPU_KEYS, tensor, storage, offset, shape, strides)


@functools.cache
def _device(index: int) -> torch.device:
    return torch.device("practice", index)


class _Blank(torch.Tensor):
    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return True  # to the one question that is asked: may another tensor take its place


@functools.cache
def _empty(index: int, dtype: torch.dtype) -> torch.Tensor:
    # The CPU key lies dormant below the device's own. It makes torch hold CPU and practice
    # tensors for exchangeable in `param.data = ...`, as CPU and CUDA tensors are: by that
    # assignment `net.to(device)` moves parameters and keeps them the same objects.
    with torch.inference_mode(False):
        blank = torch.Tensor._make_wrapper_subclass(
            _Blank, (0,), dtype=dtype, device=_device(index), _extra_dispatch_keys=CPU_KEYS
        )
        tensor = torch.empty(0, dtype=dtype, device=CPU)
        tensor.data = blank
    return tensor
