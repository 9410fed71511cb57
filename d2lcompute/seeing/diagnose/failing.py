"""A pass that ended in an error, or in values that are none."""

from __future__ import annotations

from collections.abc import Iterator

from torch.nn.modules.batchnorm import _NormBase

from ...parameters.names import shape_text
from ...passes.event import type_name
from ...words.language import _, mark
from .findings import Finding
from .observe import Failure, Seen, is_bad
from .state import not_finite

_MENDS = (
    ("must be Tensor, not NoneType",
     mark("Look at what comes before: a `forward` without `return` gives None.")),
    ("more than 1 value per channel",
     mark("Pass a batch of two or more, or call `net.eval()` before passing a single "
          "example.")),
    ("more than 1 spatial element",
     mark("Pass a larger input, or call the layer on one that has not shrunk to a single "
          "position yet.")),
    ("missing the required \"forward\"",
     mark("Write `forward`, or call the layers one by one: an nn.ModuleList and an "
          "nn.ModuleDict only keep them.")),
    ("positional argument",
     mark("Pass to `diagnose` what `forward` takes, one argument each.")),
    ("shapes cannot be multiplied",
     mark("Make the number of inputs of the layer that of the last axis that comes in, or"
          " put an nn.Flatten() before it; `d2lcompute.infer_shapes` tells.")),
    ("index out of range",
     mark("Make the embedding larger, or the indices smaller: they count from 0 to "
          "`num_embeddings - 1`.")),
    ("same device",
     mark("Bring net and inputs to one device: `net.to(device)`, `X.to(device)`; a plain "
          "tensor in an attribute must be a buffer to go along.")),
    ("dtype",
     mark("Bring net and inputs to one type: `net.float()`, `X.float()`; indices for an "
          "embedding must be whole numbers.")),
    ("scalar type",
     mark("Bring net and inputs to one type: `net.float()`, `X.float()`; indices for an "
          "embedding must be whole numbers.")),
    ("grad can be implicitly",
     mark("Let `loss_fn` return one number: `.mean()` of the losses.")),
    ("inplace operation",
     mark("Write `x = x + 1` for `x += 1`, and no values into parameters between the "
          "forward and the backward pass.")),
)  # fmt: skip


def failed(seen: Seen) -> Iterator[Finding]:
    """Tell where a pass ended, and why."""
    failure = seen.failure
    if failure is None:
        return
    text = str(failure.error).strip().split("\n")[0]
    reason = f"{type(failure.error).__name__}: {text}"
    if failure.block is None:
        yield Finding(
            mark("failed backward pass"),
            (failure.where,),
            _("the loss ends with {reason}", reason=reason) if failure.where
            else _("the backward pass ends with {reason}", reason=reason),
            _("Without gradients nothing is trained."),
            _mend(text, _("Look at what `loss_fn` gets, and at what is written in place.")),
        )  # fmt: skip
    elif isinstance(failure.block, _NormBase) and "more than 1" in text:
        yield Finding(
            mark("wrong mode for the input"),
            (failure.where,),
            _("{kind} in training mode gets {shapes}, one value per channel",
              kind=_kind(failure), shapes=_shapes(failure)),
            _("In training mode it normalizes by the mean and variance of the batch, and a single "
              "value has no variance."),
            _mend(text, ""),
        )  # fmt: skip
    else:
        yield Finding(
            mark("failed forward pass"),
            (failure.where,),
            _("{kind} fails on {shapes} with {reason}", kind=_kind(failure),
              shapes=_shapes(failure), reason=reason) if failure.inputs
            else _("{kind} fails with {reason}", kind=_kind(failure), reason=reason),
            _("The net cannot be used on such inputs, and nothing further could be examined."),
            _mend(text, _("Change that layer, or what comes into it; `d2lcompute.trace(net, X)` "
                          "shows the way there.")),
        )  # fmt: skip


def returned_nothing(seen: Seen) -> Iterator[Finding]:
    """Tell that a pass came to its end and gave nothing."""
    came_through = seen.failure is None or seen.failure.block is None
    if came_through and seen.output is None:
        yield Finding(
            mark("no output"),
            ("",),
            _("`forward` returns None"),
            _("What it has computed is lost, and there is nothing to train on."),
            _("End `forward` with `return`, followed by the result."),
        )


def bad_outputs(seen: Seen) -> Iterator[Finding]:
    """Tell where NaN or infinity came up first, if the outputs hold any."""
    if not is_bad(seen.outputs) or any(not_finite(seen.net)):
        return
    spoiled = _(
        "The loss and every gradient are NaN or infinite too: one step spoils all parameters."
    )
    if is_bad(seen.inputs):
        yield Finding(
            mark("output not finite"),
            ("",),
            _("NaN or infinity in the inputs comes out again"),
            spoiled,
            _("Clean the data: `torch.isfinite(X).all()` must hold."),
        )
        return
    yield Finding(
        mark("output not finite"),
        (seen.first_bad or "",),
        _("NaN or infinity comes out, here for the first time"),
        spoiled,
        _("Look there for a division by zero, a logarithm or root of what is not positive, an "
          "exponential of what is large, or weights that are not finite."),
    )  # fmt: skip


def _kind(failure: Failure) -> str:
    return "" if failure.block is None else type_name(failure.block)


def _shapes(failure: Failure) -> str:
    return ", ".join(map(shape_text, failure.inputs))


def _mend(text: str, otherwise: str) -> str:
    return next((_(mend) for sign, mend in _MENDS if sign in text), otherwise)
