"""Nets spread over devices or types that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ...parameters.names import dtype_name, entries
from .findings import Finding
from .observe import Seen
from .values import distinct

Kind = TypeVar("Kind")
_MATRICES = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)


def several_devices(net: nn.Module) -> Iterator[Finding]:
    """Find nets that are partly on the CPU or the meta device, or layers that are torn apart.

    A net on several accelerators is on purpose; a single number on the CPU goes with any device.
    """
    held = [e for e in distinct(entries(net)) if is_lazy(e.tensor) or e.tensor.dim()]
    places = _grouped({entry.name: entry.tensor.device for entry in held})
    if len({device.type for device in places}) > 1:
        yield Finding(
            "several devices",
            tuple(places[_rarest(places)]),
            f"the net is spread over {', '.join(map(str, sorted(places, key=str)))}; these are "
            f"its parts on {_rarest(places)}",
            "Torch computes only with tensors on one device: a pass ends in an error, unless "
            "`forward` moves what goes from one part to the next.",
            "`net.to(device)`, after the last layer was added; what is on meta has no memory, and "
            "needs `to_empty(device=...)` and an initialization.",
        )


def several_dtypes(net: nn.Module) -> Iterator[Finding]:
    """Find layers of different precision, and double precision next to any other."""
    held = [e for e in distinct(entries(net)) if e.tensor.is_floating_point()]
    chosen = [e for e in held if isinstance(e.module, _MATRICES)]
    everywhere = _grouped({entry.name: entry.tensor.dtype for entry in held})
    layers = _grouped({entry.name: entry.tensor.dtype for entry in chosen})
    dtypes = everywhere if torch.float64 in everywhere else layers
    if len(dtypes) > 1:
        names = ", ".join(sorted(map(dtype_name, dtypes)))
        yield Finding(
            "several dtypes",
            tuple(dtypes[_rarest(dtypes)]),
            f"the net computes in {names}; these are its parts in {dtype_name(_rarest(dtypes))}",
            "Layers refuse inputs of another type, and where torch converts instead, float64 "
            "spreads to everything behind it, at a fraction of the speed. Arrays of numpy are "
            "float64 if nothing else is said.",
            "`net.float()`, or another type for all of the net.",
        )


def spreading_doubles(seen: Seen) -> Iterator[Finding]:
    """Find double precision in a net that takes single precision, and gives double for it."""
    doubles = [tensor.dtype == torch.float64 for tensor in seen.outputs]
    if any(doubles) and not any(tensor.dtype == torch.float64 for tensor in seen.inputs):
        yield from several_dtypes(seen.net)


def _grouped(kinds: Mapping[str, Kind]) -> dict[Kind, list[str]]:
    groups: dict[Kind, list[str]] = {}
    for name, kind in kinds.items():
        groups.setdefault(kind, []).append(name)
    return groups


def _rarest(groups: Mapping[Kind, list[str]]) -> Kind:
    return min(reversed(list(groups)), key=lambda kind: len(groups[kind]))
