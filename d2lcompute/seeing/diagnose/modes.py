"""Layers in the wrong mode, on devices or of types that do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from ...parameters.names import dtype_name, entries, walk
from ...words.language import _, mark
from .findings import Finding
from .observe import Seen
from .state import distinct, has_values

Kind = TypeVar("Kind")
_MATRICES = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase)


def mixed_modes(net: nn.Module) -> Iterator[Finding]:
    """Find layers that still train in a net that does not.

    The other way round is how a backbone is frozen, and all dropouts on is how to sample nets.
    """
    if net.training:
        return
    modules = list(walk(net))
    norms = [n for n, m in modules if isinstance(m, _BatchNorm) and m.training and m.affine]
    drops = [(name, m.training) for name, m in modules if isinstance(m, _DropoutNd) and m.p > 0]
    some = any(training for _, training in drops) and not all(training for _, training in drops)
    left = norms + [name for name, training in drops if training and some]
    if left:
        yield Finding(
            mark("wrong mode"),
            tuple(left),
            _("in training mode, in a net that is in eval mode"),
            _("What the net gives for one example depends on chance or on the rest of the batch, "
              "and predicting changes the statistics of a BatchNorm."),
            _("`net.eval()` once more: layers that are put in later come in training mode."),
        )  # fmt: skip


def untouched_statistics(net: nn.Module) -> Iterator[Finding]:
    """Find trained BatchNorms in eval mode that have never seen a batch."""
    names = tuple(n for n, m in walk(net) if isinstance(m, _BatchNorm) and _is_untouched(m))
    if names:
        yield Finding(
            mark("statistics never collected"),
            names,
            _("in eval mode, with a trained scale and the statistics of a new layer"),
            _("A mean of 0 and a variance of 1 are not those of the data, so the layer does not "
              "normalize, and the net gives other outputs than in training."),
            _("Load the buffers too, or collect them: "
              "`torch.optim.swa_utils.update_bn(loader, net)`."),
        )  # fmt: skip


def dropped_in_eval_mode(seen: Seen) -> Iterator[Finding]:
    """Find dropout functions that ignore the mode of the module around them."""
    if seen.always_dropped:
        yield Finding(
            mark("dropout in eval mode"),
            tuple(seen.always_dropped),
            _("a dropout function is at work although the module is in eval mode"),
            _("`F.dropout` and `F.scaled_dot_product_attention` do not know the mode of a module: "
              "predictions are random, and worse than they could be."),
            _("`F.dropout(X, p, training=self.training)`, "
              "`dropout_p=self.p if self.training else 0.0`, or an nn.Dropout."),
        )  # fmt: skip


def _is_untouched(norm: _BatchNorm) -> bool:
    held = (norm.running_mean, norm.running_var, norm.num_batches_tracked, norm.weight, norm.bias)
    if norm.training or any(tensor is None or not has_values(tensor) for tensor in held):
        return False
    mean, variance, count, weight, bias = (t for t in held if t is not None)
    is_new = not mean.any() and bool((variance == 1).all()) and not count
    return is_new and bool(bias.any()) and bool((weight != 1).any())


def several_devices(net: nn.Module) -> Iterator[Finding]:
    """Find nets that are partly on the CPU or the meta device, or layers that are torn apart.

    A net on several accelerators is on purpose; a single number on the CPU goes with any device.
    """
    held = [e for e in distinct(entries(net)) if is_lazy(e.tensor) or e.tensor.dim()]
    places = _grouped({entry.name: entry.tensor.device for entry in held})
    if len({device.type for device in places}) > 1:
        yield Finding(
            mark("several devices"),
            tuple(places[_rarest(places)]),
            _("the net is spread over {devices}; these are its parts on {device}",
              devices=", ".join(map(str, sorted(places, key=str))), device=_rarest(places)),
            _("Torch computes only with tensors on one device: a pass ends in an error, unless "
              "`forward` moves what goes from one part to the next."),
            _("`net.to(device)`, after the last layer was added; what is on meta has no memory, "
              "and needs `to_empty(device=...)` and an initialization."),
        )  # fmt: skip


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
            mark("several dtypes"),
            tuple(dtypes[_rarest(dtypes)]),
            _("the net computes in {dtypes}; these are its parts in {dtype}", dtypes=names,
              dtype=dtype_name(_rarest(dtypes))),
            _("Layers refuse inputs of another type, and where torch converts instead, float64 "
              "spreads to everything behind it, at a fraction of the speed. Arrays of numpy are "
              "float64 if nothing else is said."),
            _("`net.float()`, or another type for all of the net."),
        )  # fmt: skip


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
