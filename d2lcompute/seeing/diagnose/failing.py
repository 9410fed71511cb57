"""A pass that ended in an error, or in values that are none."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _NormBase

from ...parameters.names import shape_text
from ...passes.record import type_name
from .findings import Finding
from .observe import Failure, Seen, is_bad
from .state import not_finite

_MENDS = (
    ("must be Tensor, not NoneType", "Look at what comes before: a `forward` without `return` "
     "gives None."),
    ("more than 1 value per channel", "Pass a batch of two or more, or call `net.eval()` before "
     "passing a single example."),
    ("more than 1 spatial element", "Pass a larger input, or call the layer on one that has not "
     "shrunk to a single position yet."),
    ("missing the required \"forward\"", "Write `forward`, or call the layers one by one: an "
     "nn.ModuleList and an nn.ModuleDict only keep them."),
    ("positional argument", "Pass to `diagnose` what `forward` takes, one argument each."),
    ("shapes cannot be multiplied", "Make the number of inputs of the layer that of the last "
     "axis that comes in, or put an nn.Flatten() before it; `d2lcompute.infer_shapes` tells."),
    ("index out of range", "Make the embedding larger, or the indices smaller: they count from "
     "0 to `num_embeddings - 1`."),
    ("same device", "Bring net and inputs to one device: `net.to(device)`, `X.to(device)`; a "
     "plain tensor in an attribute must be a buffer to go along."),
    ("dtype", "Bring net and inputs to one type: `net.float()`, `X.float()`; indices for an "
     "embedding must be whole numbers."),
    ("scalar type", "Bring net and inputs to one type: `net.float()`, `X.float()`; indices for "
     "an embedding must be whole numbers."),
    ("grad can be implicitly", "Let `loss_fn` return one number: `.mean()` of the losses."),
    ("inplace operation", "Write `x = x + 1` for `x += 1`, and no values into parameters between "
     "the forward and the backward pass."),
)  # fmt: skip


def failed(seen: Seen) -> Iterator[Finding]:
    """Tell where a pass ended, and why."""
    failure = seen.failure
    if failure is None:
        return
    text = str(failure.error).strip().split("\n")[0]
    reason = f"{type(failure.error).__name__}: {text}"
    if failure.block is None:
        step = "loss" if failure.where else "backward pass"
        yield Finding(
            "failed backward pass",
            (failure.where,),
            f"the {step} ends with {reason}",
            "Without gradients nothing is trained.",
            _mend(text, "Look at what `loss_fn` gets, and at what is written in place."),
        )
    elif isinstance(failure.block, _NormBase) and "more than 1" in text:
        yield Finding(
            "wrong mode for the input",
            (failure.where,),
            f"{_kind(failure)} in training mode{_shapes(failure, ' gets ')}, one value per channel",
            "In training mode it normalizes by the mean and variance of the batch, and a single "
            "value has no variance.",
            _mend(text, ""),
        )
    else:
        yield Finding(
            "failed forward pass",
            (failure.where,),
            f"{_kind(failure)} fails{_shapes(failure, ' on ')} with {reason}",
            "The net cannot be used on such inputs, and nothing further could be examined.",
            _mend(text, "Change that layer, or what comes into it; `d2lcompute.trace(net, X)` "
                        "shows the way there."),
        )  # fmt: skip


def returned_nothing(seen: Seen) -> Iterator[Finding]:
    """Tell that a pass came to its end and gave nothing."""
    came_through = seen.failure is None or seen.failure.block is None
    if came_through and seen.output is None:
        yield Finding(
            "no output",
            ("",),
            "`forward` returns None",
            "What it has computed is lost, and there is nothing to train on.",
            "End `forward` with `return`, followed by the result.",
        )


def bad_outputs(seen: Seen) -> Iterator[Finding]:
    """Tell where NaN or infinity came up first, if the outputs hold any."""
    if not is_bad(seen.outputs) or any(not_finite(seen.net)):
        return
    if is_bad(seen.inputs):
        yield Finding(
            "output not finite",
            ("",),
            "NaN or infinity in the inputs comes out again",
            "The loss and every gradient are NaN or infinite too: one step spoils all parameters.",
            "Clean the data: `torch.isfinite(X).all()` must hold.",
        )
        return
    yield Finding(
        "output not finite",
        (seen.first_bad or "",),
        "NaN or infinity comes out, here for the first time",
        "The loss and every gradient are NaN or infinite too: one step spoils all parameters.",
        "Look there for a division by zero, a logarithm or root of what is not positive, an "
        "exponential of what is large, or weights that are not finite.",
    )


def _kind(failure: Failure) -> str:
    return "" if failure.block is None else type_name(failure.block)


def _shapes(failure: Failure, before: str) -> str:
    return before + ", ".join(map(shape_text, failure.inputs)) if failure.inputs else ""


def _mend(text: str, otherwise: str) -> str:
    return next((mend for sign, mend in _MENDS if sign in text), otherwise)
