"""Makes `torch.accelerator` agree with the practice devices.

torch answers these questions in C++, where it takes a device defined in Python for one that is
alone, has no memory and cannot be waited for. They are asked by name, so that the answers can be
put in place of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import backend
from .memory import DEVICES


def install() -> None:
    """Answer for the practice devices from now on, and for what was there if there are none."""
    before = torch._C._accelerator_getAccelerator()

    def accelerator() -> torch.device | None:
        return torch.device("practice") if DEVICES.count else before

    for name, answer in {"getAccelerator": accelerator, **_ANSWERS}.items():
        setattr(torch._C, f"_accelerator_{name}", answer)


def _exchange(index: int) -> int:
    before = DEVICES.current
    if index >= 0:
        DEVICES.current = index
    return before


def _statistics(index: int) -> dict[str, Any]:
    memory = DEVICES.memory(index)
    bytes_ = {"all": {"current": memory.allocated(), "peak": memory.peak}}
    return {"allocated_bytes": bytes_, "reserved_bytes": bytes_}


_ANSWERS: dict[str, Callable[..., Any]] = {
    "emptyCache": backend.empty_cache,
    "emptyHostCache": backend.empty_cache,
    "exchangeDevice": _exchange,
    "getDeviceIndex": backend.current_device,
    "getDeviceStats": _statistics,
    "getMemoryInfo": backend.mem_get_info,
    "isAllocatorInitialized": backend.is_initialized,
    "maybeExchangeDevice": _exchange,
    "resetAccumulatedStats": backend.synchronize,
    "resetPeakStats": backend.reset_peak_memory_stats,
    "setDeviceIndex": _exchange,
    "synchronizeDevice": backend.synchronize,
}
