"""Parameters that got no gradient, and whether that is meant."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from torch import nn

from ...parameters.names import Entry, entries, walk
from ...words.language import _, mark
from .findings import Finding
from .observe import Seen, trained

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_DYNAMIC = {"getattr", "__getattr__", "get_submodule", "get_parameter", "_modules", "_parameters"}


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
        owner, _, key = entry.name.rpartition(".")
        while owner not in self._active:
            owner, _, key = owner.rpartition(".")
        while isinstance(self._modules[owner], _CONTAINERS) and owner:
            owner, _, key = owner.rpartition(".")
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
