"""Dropout and BatchNorm that are in the wrong mode."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from ...parameters.names import walk
from .findings import Finding
from .observe import Seen
from .values import has_values


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
            "wrong mode",
            tuple(left),
            "in training mode, in a net that is in eval mode",
            "What the net gives for one example depends on chance or on the rest of the batch, "
            "and predicting changes the statistics of a BatchNorm.",
            "`net.eval()` once more: layers that are put in later come in training mode.",
        )


def untouched_statistics(net: nn.Module) -> Iterator[Finding]:
    """Find trained BatchNorms in eval mode that have never seen a batch."""
    names = tuple(n for n, m in walk(net) if isinstance(m, _BatchNorm) and _is_untouched(m))
    if names:
        yield Finding(
            "statistics never collected",
            names,
            "in eval mode, with a trained scale and the statistics of a new layer",
            "A mean of 0 and a variance of 1 are not those of the data, so the layer does not "
            "normalize, and the net gives other outputs than in training.",
            "Load the buffers too, or collect them: "
            "`torch.optim.swa_utils.update_bn(loader, net)`.",
        )


def dropped_in_eval_mode(seen: Seen) -> Iterator[Finding]:
    """Find dropout functions that ignore the mode of the module around them."""
    if seen.always_dropped:
        yield Finding(
            "dropout in eval mode",
            tuple(seen.always_dropped),
            "a dropout function is at work although the module is in eval mode",
            "`F.dropout` and `F.scaled_dot_product_attention` do not know the mode of a module: "
            "predictions are random, and worse than they could be.",
            "`F.dropout(X, p, training=self.training)`, "
            "`dropout_p=self.p if self.training else 0.0`, or an nn.Dropout.",
        )


def _is_untouched(norm: _BatchNorm) -> bool:
    held = (norm.running_mean, norm.running_var, norm.num_batches_tracked, norm.weight, norm.bias)
    if norm.training or any(tensor is None or not has_values(tensor) for tensor in held):
        return False
    mean, variance, count, weight, bias = (t for t in held if t is not None)
    is_new = not mean.any() and bool((variance == 1).all()) and not count
    return is_new and bool(bias.any()) and bool((weight != 1).any())
