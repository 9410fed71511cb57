"""What stands in the place of torch's own functions, which know devices made in C++ alone.

Most of it stands there only while there are practice devices. What has to stay for good, because
torch cannot forget a device that it was told of, then goes on with what was there before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, wraps
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from .devices import DEVICES, Generator
from .tensor import CPU, allow_threads, place

_Function = Callable[..., Any]
Patch = tuple[Any, str, Any]  # what has it, under which name, and what takes its place
_NOTHING = object()
# What torch asks about the accelerator, and the function of the device's module that answers.
_NAMES = {
    "emptyCache": "empty_cache",
    "emptyHostCache": "empty_cache",
    "exchangeDevice": "_exchange_device",
    "getDeviceIndex": "current_device",
    "getDeviceStats": "memory_stats_as_nested_dict",
    "getMemoryInfo": "mem_get_info",
    "isAllocatorInitialized": "is_initialized",
    "maybeExchangeDevice": "_exchange_device",
    "resetAccumulatedStats": "reset_accumulated_memory_stats",
    "resetPeakStats": "reset_peak_memory_stats",
    "setDeviceIndex": "_exchange_device",
    "synchronizeDevice": "synchronize",
}
_replaced: list[tuple[Any, str, Any]] = []


def switch(on: bool) -> None:
    """Put what is patched for a time in its place, or torch's own back."""
    if on and not _replaced:
        for owner, name, ours in passing():
            _replaced.append((owner, name, vars(owner).get(name, _NOTHING)))
            setattr(owner, name, ours)
    while _replaced and not on:
        owner, name, own = _replaced.pop()
        if own is _NOTHING:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
    if not on:
        allow_threads()


def passing() -> list[Patch]:
    """Return what is patched while there are practice devices."""
    tensor, storage, native = torch.Tensor, torch.UntypedStorage, torch._C
    compiler: Any = torch._TorchCompileInductorWrapper
    optimizer: Any = import_module("torch.optim.optimizer")  # no attribute of torch.optim
    lists = "_get_foreach_kernels_supported_devices"
    scatter: Any = getattr(native, "_scatter", None)  # only where torch knows CUDA
    return [
        (torch, "Generator", Generator),
        (tensor, "new", naming_device(tensor.new)),
        (tensor, "new_tensor", naming_device(tensor.new_tensor)),
        (compiler, "__call__", refusing_to_generate(compiler.__call__)),
        (native, "_scatter", refusing_to_scatter(scatter)),
        (optimizer, lists, one_by_one(getattr(optimizer, lists))),
        (storage, "_share_fd_cpu_", refusing_to_share(storage._share_fd_cpu_)),
        (storage, "_share_filename_cpu_", refusing_to_share(storage._share_filename_cpu_)),
    ]


def patch_for_good() -> None:
    """Patch what has to stay so, before torch is told of the devices.

    A storage of a practice device would take the process down without it, and from now on torch
    asks for the device made in Python before any other.
    """
    before = torch._C._accelerator_getAccelerator()

    def accelerator() -> torch.device | None:
        return torch.device("practice") if DEVICES.count else before

    native: Any = torch._C
    native._accelerator_getAccelerator = accelerator
    for name, function in _NAMES.items():
        setattr(native, f"_accelerator_{name}", partial(_answer, accelerator, function))
    storage: Any = torch.UntypedStorage
    storage.__new__ = _new_storage


def _answer(accelerator: Callable[[], torch.device | None], name: str, *args: Any) -> Any:
    """Let the module of the accelerator answer, which torch would ask in C++."""
    device = accelerator()
    if device is None:
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return getattr(torch.get_device_module(device), name)(*args)


def _new_storage(cls: Any, *args: Any, device: Any = None, **kwargs: Any) -> Any:
    device = CPU if device is None else torch.device(device)
    if device.type != "practice":
        make: Any = torch._C.StorageBase.__new__
        return make(cls, *args, device=device, **kwargs)
    host = torch.empty(*args, dtype=torch.uint8, device=CPU)
    return place(host, DEVICES.current if device.index is None else device.index).untyped_storage()


def naming_device(method: _Function) -> _Function:
    """Return a method of tensors that makes its result where `self` is.

    torch's own goes to the current device, which it takes for that of `self`.
    """

    @wraps(method)
    def mended(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if self.device.type == "practice" and kwargs.get("device") is None:
            kwargs["device"] = self.device
        return method(self, *args, **kwargs)

    return mended


def refusing_to_generate(compiler: _Function) -> _Function:
    """Return the default of `torch.compile`, which writes code for the devices of its inputs."""

    @wraps(compiler)
    def mended(self: Any, model: Any, inputs: Iterable[Any]) -> Any:
        if any(isinstance(x, Tensor) and x.device.type == "practice" for x in inputs):
            raise NotImplementedError(
                "torch.compile generates no code for practice devices; "
                'do torch.compile(net, backend="aot_eager")'
            )
        return compiler(self, model, inputs)

    return mended


def refusing_to_scatter(scatter: _Function) -> _Function:
    """Return what `nn.DataParallel` spreads a batch with, which can do so for CUDA alone."""

    def mended(tensor: Tensor, *args: Any) -> Any:
        if torch.cuda.is_available() and tensor.device.type != "practice":
            return scatter(tensor, *args)
        raise NotImplementedError(
            "nn.DataParallel does not run on practice devices; do net.to(device) for a copy of the "
            "net on each, and give each its part of the batch"
        )

    return mended


def one_by_one(supported: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Return where optimizers step by lists of tensors on their own accord: not on these devices.

    One by one is what they do on the CPU, with the same last bits, and faster here.
    """
    return lambda: [kind for kind in supported() if kind != "practice"]


def refusing_to_share(share: _Function) -> _Function:
    """Return what hands the memory of a CPU tensor to a process that is started afresh."""

    @wraps(share)
    def mended(self: torch.UntypedStorage, *args: Any) -> Any:
        if self.device.type == "practice":
            raise RuntimeError(
                "Cannot hand the tensors of practice devices to another process. Leave the data of "
                "a DataLoader on the CPU, and move each batch when it comes"
            )
        return share(self, *args)

    return mended
