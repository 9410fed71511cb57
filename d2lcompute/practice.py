"""Practice accelerators: several devices on a machine that has none."""

from __future__ import annotations

import functools

import torch

from . import practice_kernels, practice_module
from .practice_memory import Memory, physical_memory
from .practice_tensor import MEMORIES


def practice_gpus(count: int = 2, memory: int | None = None) -> list[torch.device]:
    """Give this machine `count` practice accelerators: `practice:0`, `practice:1`, ...

    >>> import d2lcompute as d2c
    >>> d2c.practice_gpus(2)
    [device(type='practice', index=0), device(type='practice', index=1)]
    """
    _register()
    while len(MEMORIES) < count:
        MEMORIES.append(Memory(len(MEMORIES)))
    del MEMORIES[count:]
    for account in MEMORIES:
        account.capacity = physical_memory() if memory is None else memory
    return [torch.device("practice", index) for index in range(count)]


@functools.cache
def _register() -> object:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend("practice", practice_module)
    return practice_kernels.register()
