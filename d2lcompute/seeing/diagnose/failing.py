"""A pass that ended in an error, in NaN or infinity, or without a gradient for all parameters."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from ...parameters.names import Entry, entries, shape_text, walk
from ...passes.event import type_name
from ...words.language import _, mark
from .findings import Finding
from .observe import Failure, Seen, is_bad, trained
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
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_DYNAMIC = {"getattr", "__getattr__", "get_submodule", "get_parameter", "_modules", "_parameters"}


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


def no_gradient(seen: Seen) -> Iterator[Finding]:
    """Find trained parameters that were read and got no gradient, or that nobody reads."""
    left = [entry for entry in trained(seen.net) if seen.gradients.get(id(entry.tensor)) is None]
    cut = tuple(entry.name for entry in left if id(entry.tensor) in seen.read)
    if cut:
        yield Finding(
            mark("no gradient"),
            cut,
            _("the pass reads the values, and no gradient comes back"),
            _("An optimizer leaves such parameters as they are: the net runs, and this part of it "
              "never learns."),
            _("Compute with the parameter itself, not with `.data`, `.detach()`, `.item()`, numpy "
              "or within `torch.no_grad()`, and let the loss depend on the result. If it is not "
              "to learn, say so: `requires_grad_(False)`."),
        )  # fmt: skip
    paths = _Paths(seen)
    unused = tuple(e.name for e in left if e.name not in cut and not paths.may_be_used(e))
    if unused:
        yield Finding(
            mark("unused parameters"),
            unused,
            _("no method of the net uses what it has made in `__init__`"),
            _("They take memory and space in files, and never learn; most often a layer was "
              "defined and then another one called twice."),
            _("Call the layer in `forward`, or remove it."),
        )  # fmt: skip


class _Paths:
    """Which parts of a net a pass went through, and who could have gone on to the others."""

    def __init__(self, seen: Seen) -> None:
        self._modules = dict(walk(seen.net, every_name=True))
        active = {name for name, module in self._modules.items() if id(module) in seen.called}
        held = entries(seen.net)
        active |= {e.name.rpartition(".")[0] for e in held if id(e.tensor) in seen.read}
        self._active = {""}
        for name in active:
            while name not in self._active:
                self._active.add(name)
                name = name.rpartition(".")[0]

    def may_be_used(self, entry: Entry) -> bool:
        """Whether some code mentions what leads to the parameter: another pass may read it."""
        owner, _dot, key = entry.name.rpartition(".")
        while owner not in self._active:
            owner, _dot, key = owner.rpartition(".")
        while isinstance(self._modules[owner], _CONTAINERS) and owner:
            owner, _dot, key = owner.rpartition(".")
        module = self._modules[owner]
        names = _mentioned(type(module))
        return "forward" in vars(module) or key in names or not _DYNAMIC.isdisjoint(names)


def _mentioned(kind: type) -> frozenset[str]:
    """Return the names in the code of all methods but `__init__`."""
    classes = [base for base in kind.__mro__ if base not in (nn.Module, object)]
    found = [value for base in classes for key, value in vars(base).items() if key != "__init__"]
    return frozenset(name for value in found for name in _names(value))


def _names(value: Any) -> Iterator[str]:
    while not isinstance(value, FunctionType | CodeType | property | type(None)):
        inner = (getattr(value, name, None) for name in ("__wrapped__", "__func__", "func"))
        value = next(filter(None, inner), None)
    if isinstance(value, property):
        yield from _names(value.fget)
    elif isinstance(value, FunctionType):
        yield from _names(value.__code__)
        yield from _names(getattr(value, "__wrapped__", None))
    elif isinstance(value, CodeType):
        yield from value.co_names
        for constant in value.co_consts:
            if isinstance(constant, str):
                yield constant
            elif isinstance(constant, CodeType):
                yield from _names(constant)
