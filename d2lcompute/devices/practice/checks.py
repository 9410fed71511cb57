"""torch's own errors for arguments that lie on several devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# Beside the operators that torch tags as elementwise, these word their error like them, and take a
# CPU tensor without dimensions for a practice tensor.
_ELEMENTWISE = ("aten::fill_", "aten::mse_loss", "aten::smooth_l1_loss", "aten::huber_loss",
                "aten::_foreach", "aten::_fused")  # fmt: skip


def check_devices(operator: Any, named: Iterable[tuple[str, Any]]) -> None:
    """Raise torch's error if the arguments of an operator may not be combined.

    `named` are the arguments with their names; lists count item by item.
    """
    tensors = [(name, t) for name, value in named for t in _tensors(value)]
    name = operator._schema.name
    if name == "aten::index" or name.startswith("aten::_index_put_impl"):
        _check_indices(tensors)
    elif name.startswith("aten::convolution"):
        _check_convolution(tensors)
    elif torch.Tag.pointwise in operator.tags or name.startswith(_ELEMENTWISE):
        _check_elementwise([t for _, t in tensors])
    else:
        _check_arguments(name, tensors)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _check_elementwise(tensors: list[Tensor]) -> None:
    common = next(t.device for t in tensors if not t.is_cpu)
    for t in tensors:
        if t.device != common and not (t.is_cpu and t.dim() == 0):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{common} and {t.device}!"
            )


def _check_arguments(operator: str, tensors: list[tuple[str, Tensor]]) -> None:
    common = tensors[0][1].device
    for name, t in tensors:
        if t.device != common:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but got {name} is on {t.device}, "
                f"different from other tensors on {common} (when checking argument in method "
                f"wrapper_practice_{operator.removeprefix('aten::')})"
            )


def _check_indices(tensors: list[tuple[str, Tensor]]) -> None:
    home = tensors[0][1].device
    for name, t in tensors:
        if name == "indices" and not t.is_cpu and t.device != home:
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor "
                f"({home})"
            )
    _check_elementwise([t for name, t in tensors if name != "indices"])


def _check_convolution(tensors: list[tuple[str, Tensor]]) -> None:
    found = dict(tensors)
    data, weight = found["input"], found["weight"]
    if data.device.type != weight.device.type:
        raise RuntimeError(
            f"Input type ({data.type()}) and weight type ({weight.type()}) should be the same"
        )
    _check_arguments("convolution", tensors)
