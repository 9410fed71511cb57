"""What torch can do for devices in its C++ alone, refused with the way out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def install() -> None:
    """Refuse for practice devices from now on; other devices notice nothing."""
    wrapper: Any = torch._TorchCompileInductorWrapper
    wrapper.__call__ = refusing_to_generate(wrapper.__call__)
    native: Any = torch._C
    scatter: Any = getattr(native, "_scatter", None)  # none where torch comes without CUDA
    native._scatter = refusing_to_scatter(scatter)


def refusing_to_generate(compiler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the default of `torch.compile`, which writes code for the devices of its inputs."""

    @functools.wraps(compiler)
    def mended(self: Any, model: Any, inputs: Iterable[Any]) -> Any:
        if any(isinstance(x, Tensor) and x.device.type == "practice" for x in inputs):
            raise NotImplementedError(
                "torch.compile generates no code for practice devices; "
                'do torch.compile(net, backend="aot_eager")'
            )
        return compiler(self, model, inputs)

    return mended


def refusing_to_scatter(scatter: Callable[..., Any]) -> Callable[..., Any]:
    """Return what `nn.DataParallel` spreads a batch with, which can do so for CUDA alone."""

    def mended(tensor: Tensor, *args: Any) -> Any:
        if torch.cuda.is_available() and tensor.device.type != "practice":
            return scatter(tensor, *args)
        raise NotImplementedError(
            "nn.DataParallel does not run on practice devices; do net.to(device) for a copy of the "
            "net on each, and give each its part of the batch"
        )

    return mended
