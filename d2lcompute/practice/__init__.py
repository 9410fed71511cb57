"""Practice accelerators: several devices on a machine that has none."""

from __future__ import annotations

import functools
import operator

import torch

from . import accelerator, backend, generators, registry, tensor
from .memory import DEVICES

_MOST = 128  # torch numbers devices in 8 bits


def practice_gpus(count: int = 2, memory: int | None = None) -> list[torch.device]:
    """Give this machine `count` practice accelerators: `practice:0`, `practice:1`, ...

    >>> import d2lcompute as d2c
    >>> d2c.practice_gpus(2)
    [device(type='practice', index=0), device(type='practice', index=1)]
    """

    _register()
    DEVICES.set(count, memory)
    return [torch.device("practice", index) for index in range(count)]


@functools.cache
def _register() -> object:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    accelerator.install()
    _setup_privateuseone_for_python_backend("practice", backend, device_guard=_guard())
    torch.Generator = generators.Generator
    torch.UntypedStorage.__new__ = tensor.new_storage
    return registry.register()


def _guard() -> object:
    kind = torch._C._autograd.DeviceType.PrivateUse1

    class Guard(torch._C._acc.DeviceGuard):
        def type_(self) -> object:  # torch asks at every node of a backward pass
            return kind

    return Guard()
