"""What a pass tells about learning: gradients that vanish or explode, and dead ReLUs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...parameters.names import walk
from .findings import Finding
from .observe import Rectified, Seen, trained
from .values import alike_finding, has_values, is_constant, is_constant_matrix

_VANISHED = 1e-8  # of the largest: what float32 still tells from nothing
_EXPLODED = 1e4  # times the inputs: sound nets stay near 1
_CLOSED = 1e-3


def dead_relus(seen: Seen) -> Iterator[Finding]:
    """Find ReLUs that give only zeros, if that is no matter of chance."""
    names = tuple(dict.fromkeys(one.where for one in seen.rectified if _is_dead(one)))
    if names:
        yield Finding(
            "dead ReLU",
            names,
            "on these inputs every unit gives zero",
            "Nothing gets through, forward or backward: the layers before it get no gradient and "
            "cannot come back to life by training.",
            "Initialize the layer before it anew, with a bias of zero; scale the inputs; lower "
            "the learning rate if it has died in training; or use a LeakyReLU.",
        )


def symmetric_gradients(seen: Seen, known: set[str]) -> Iterator[Finding]:
    """Find weights that are all one value and are taught the same in all rows or columns."""
    names = []
    for entry in trained(seen.net):
        gradient = seen.gradients.get(id(entry.tensor))
        if gradient is not None and entry.name not in known and is_constant_matrix(entry):
            table = gradient.to_dense().squeeze()
            same = any(bool((table == table.narrow(axis, 0, 1)).all()) for axis in (0, 1))
            if same and bool(table.any()):
                names.append(entry.name)
    if names:
        yield alike_finding(tuple(names))


def tells_of_training(net: nn.Module) -> bool:
    """Whether gradients have the sizes of training: no BatchNorm takes stored statistics."""
    norms = [module for _, module in walk(net) if isinstance(module, _BatchNorm)]
    return all(norm.training or not norm.track_running_stats for norm in norms)


def exploding(seen: Seen) -> Iterator[Finding]:
    """Find gradients that are infinite or out of all proportion to the inputs."""
    sizes = _sizes(seen)
    inputs = [t for t in seen.inputs if t.is_floating_point() and t.numel() and not t.is_meta]
    scale = max([1.0, *(float(tensor.detach().abs().max()) for tensor in inputs)])
    names = tuple(name for name, size in sizes.items() if not size < _EXPLODED * scale)
    if names and seen.loss is not None and bool(seen.loss.isfinite()):
        yield Finding(
            "exploding gradient",
            names,
            _extent(list(sizes.values())),
            "One step of an optimizer throws the parameters far away, and the loss soon is NaN.",
            "Draw smaller weights (Xavier, Kaiming), put norms or skip connections in between, or "
            "limit the gradient with nn.utils.clip_grad_norm_.",
        )


def vanishing(seen: Seen) -> Iterator[Finding]:
    """Find weights that get next to nothing, or parameters that mostly get exactly nothing.

    Zeros are how a residual branch or an adapter is closed at first, and they open in a step;
    a dead ReLU is a finding of its own, or chance.
    """
    sizes = _sizes(seen)
    if not sizes or _is_closed(seen) or any(one.largest <= 0 for one in seen.rectified):
        return
    largest = max(sizes.values())
    matrices = {entry.name for entry in trained(seen.net) if entry.tensor.dim() > 1}
    tiny = [n for n, size in sizes.items() if n in matrices and 0 < size < _VANISHED * largest]
    none = [name for name, size in sizes.items() if size == 0]
    most = 2 * len(none) > len(sizes) and not matrices.isdisjoint(none)
    if not most or not any(map(_has_content, seen.inputs)):
        none = []
    if tiny or none:
        what = "exactly zero" if none else f"less than {_VANISHED:g} of the largest"
        yield Finding(
            "vanishing gradient",
            tuple(none or tiny),
            f"the gradient is {what}",
            "These layers do not learn: each sigmoid or tanh that is saturated, each small weight "
            "makes the gradient smaller on its way back, and rounding, signs and comparisons let "
            "nothing of it through.",
            "Use ReLUs, norms and skip connections, draw weights by Xavier or Kaiming, and leave "
            "`round`, `sign` and comparisons out of the way to the loss.",
        )


def _extent(sizes: Sequence[float]) -> str:
    finite = all(math.isfinite(size) for size in sizes)
    return f"gradients of up to {max(sizes):.0e}" if finite else "gradients beyond all numbers"


def _is_dead(one: Rectified) -> bool:
    # A few units are negative together by chance; then they are so by a little.
    return one.largest <= 0 and one.mean < -24 / one.units * one.deviation


def _sizes(seen: Seen) -> dict[str, float]:
    """Return the largest element of each gradient."""
    found = [(e.name, seen.gradients.get(id(e.tensor))) for e in trained(seen.net)]
    return {name: _largest(g) for name, g in found if g is not None and not g.is_meta}


def _largest(gradient: Tensor) -> float:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return float(values.abs().max()) if values.numel() else 0.0


def _is_closed(seen: Seen) -> bool:
    """Whether a parameter, other than a bias, starts at nothing or next to it on purpose."""
    return any(
        "bias" not in entry.leaf
        and has_values(entry.tensor)
        and is_constant(entry.tensor)
        and float(entry.tensor.detach().reshape(-1)[0].abs()) <= _CLOSED
        for entry in trained(seen.net)
    )


def _has_content(tensor: Tensor) -> bool:
    return bool(torch.any(tensor != 0)) if not tensor.is_meta else True
