"""Practice accelerators: several devices on a machine that has none."""

from __future__ import annotations

import functools

import torch

from . import practice_module
from .practice_memory import DEVICES
from .practice_registry import register


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

    _setup_privateuseone_for_python_backend("practice", practice_module)
    return register()
