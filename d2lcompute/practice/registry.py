"""Which kernel each of torch's operators has on practice devices."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from . import cells
from .attention import attention
from .kernels import Kernel
from .memory import DEVICES
from .sparse import structural_kernels
from .tensor import CPU, CPU_KEYS, adopt, host_of, place

_VIEWS = ("as_strided", "unfold", "view", "view_as_complex", "view_as_real", "_reshape_alias")
# Operators that torch composes of others, here computed at once: the CPU does it otherwise, with
# other last bits, or it saves much time.
_WHOLE = (
    "clone", "convolution", "convolution_backward", "ones_like", "zeros_like", "_to_copy",
)  # fmt: skip


def register() -> list[torch.library.Library]:
    """Give the practice devices every operator that the CPU has.

    The registrations last as long as what is returned.
    """
    named, rest = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    names = torch._C._dispatch_get_all_op_names()
    names = [name.removeprefix("aten::") for name in names if name.startswith("aten::")]
    for key, kernels in _kernels(names).items():
        rest.fallback(_Fallback(), key)
        for name, kernel in kernels.items():
            named.m.impl(name, key, kernel, False)
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for key in ("PrivateUse1", "AutogradPrivateUse1"):
        named.m.impl("scaled_dot_product_attention", key, attention, False)
    return [named, rest]


def _kernels(names: list[str]) -> dict[str, dict[str, Callable[..., Any]]]:
    plain = [name for name in names if _has(name, "CPU") or _is_whole(name)]
    views = {name: partial(_operator(name)._handle.redispatch_boxed, CPU_KEYS) for name in _VIEWS}
    kernels = {"PrivateUse1": {name: Kernel(_operator(name)) for name in plain} | views | _OWN | cells.KERNELS}
    for layout in ("Sparse", "SparseCsr"):
        own = {name: Kernel(_operator(name)) for name in names if _has(name, f"{layout}CPU")}
        kernels[f"{layout}PrivateUse1"] = own | structural_kernels(layout)
    return kernels


class _Fallback:
    """Runs operators that have no kernel of their own."""

    def __init__(self) -> None:
        self.kernels: dict[Any, Kernel] = {}

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> Any:
        if operator not in self.kernels:
            self.kernels[operator] = Kernel(operator)
        return self.kernels[operator](*args, **kwargs)


def _is_whole(name: str) -> bool:
    packet = name.partition(".")[0]
    return packet in _WHOLE or packet.startswith("_foreach_") and packet != "_foreach_copy_"


def _has(name: str, key: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", key)


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def _empty(size: Any, *, device: torch.device, **options: Any) -> Tensor:
    index = DEVICES.current if device.index is None else device.index
    _require(index, math.prod(size), options)
    return place(torch.empty(size, device=CPU, **options), index)


def _empty_strided(size: Any, strides: Any, *, device: torch.device, **options: Any) -> Tensor:
    index = DEVICES.current if device.index is None else device.index
    span = 1 + sum((n - 1) * stride for n, stride in zip(size, strides, strict=True))
    _require(index, span if all(size) else 0, options)
    return place(torch.empty_strided(size, strides, device=CPU, **options), index)


def _require(index: int, count: int, options: dict[str, Any]) -> None:
    # The limit speaks before the machine's own memory is asked.
    dtype = options.get("dtype") or torch.get_default_dtype()
    DEVICES.memory(index).require(count * dtype.itemsize)


def _zeros(size: Any, *, device: torch.device, **options: Any) -> Tensor:
    return _empty(size, device=device, **options).zero_()


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    host_of(target).copy_(host_of(source))
    return target


def _unpinned(tensor: Tensor, device: torch.device | None = None) -> Tensor:
    # Pages of the host are pinned for a real device's sake.
    return tensor.clone()


def _interchangeable(self: Tensor, other: Tensor) -> bool:
    # By `param.data = ...`, `net.to(device)` moves parameters and keeps them the same objects.
    return self.layout == other.layout


def _set_storage(tensor: Tensor, storage: Any, *layout: Any) -> Tensor:
    adopt(tensor, storage, *(layout or (0, (storage.nbytes() // tensor.element_size(),), (1,))))
    return tensor


def _set_tensor(tensor: Tensor, source: Tensor) -> Tensor:
    storage = source.untyped_storage()
    adopt(tensor, storage, source.storage_offset(), source.shape, source.stride())
    return tensor


def _set_nothing(tensor: Tensor) -> Tensor:
    return _set_tensor(tensor, torch.empty(0, dtype=tensor.dtype, device=tensor.device))


def _resize(tensor: Tensor, size: Any, *, memory_format: Any = None) -> Tensor:
    layout = torch.empty(size, dtype=tensor.dtype, device="meta", memory_format=memory_format)
    storage, offset = tensor.untyped_storage(), tensor.storage_offset()
    needed = layout.untyped_storage().nbytes() + offset * tensor.element_size()
    if needed > storage.nbytes():
        larger = torch.empty(needed, dtype=torch.uint8, device=tensor.device)
        larger[: storage.nbytes()] = larger.new_empty(0).set_(storage)
        storage = larger.untyped_storage()
    adopt(tensor, storage, offset, layout.shape, layout.stride())
    return tensor


_OWN: dict[str, Callable[..., Any]] = {
    "_copy_from": _copy_from,
    "_efficientzerotensor": _zeros,
    "_has_compatible_shallow_copy_type": _interchangeable,
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "resize_": _resize,
    "set_": _set_nothing,
    "set_.source_Storage": _set_storage,
    "set_.source_Storage_storage_offset": _set_storage,
    "set_.source_Tensor": _set_tensor,
}
