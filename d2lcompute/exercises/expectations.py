"""What the checks of several exercises expect; `hints` has the hints for what they share."""

from __future__ import annotations

import numbers
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..words.language import _
from .exercise import NotYetError, expect


def shown(value: object) -> str:
    """Return a short text for what an answer gave."""
    if isinstance(value, Tensor):
        return _("a tensor of shape {shape}", shape=tuple(value.shape))
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    inside = [*value] if isinstance(value, list | tuple | set | dict) else [value]
    inside += value.values() if isinstance(value, dict) else []
    if not all(isinstance(one, str | int | float | None) for one in inside):
        return type(value).__name__
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def returned(value: Any) -> Any:
    """Return the value, unless it is None."""
    expect(value is not None, "nothing returned", _("Your code gave None: is a `return` missing?"))
    return value


def tensor(value: Any) -> Tensor:
    """Return the value if it is a tensor."""
    if not isinstance(returned(value), Tensor):
        fact = _("A tensor is wanted, your code gave {value}.", value=shown(value))
        raise NotYetError("not a tensor", fact)
    return cast(Tensor, value)


def module(value: Any) -> nn.Module:
    """Return the value if it is a module, and not the class of one."""
    if not isinstance(returned(value), nn.Module):
        fact = _("A module is wanted, your code gave {value}.", value=shown(value))
        raise NotYetError("not a module", fact)
    expect("_modules" in vars(value), "no super", _("`super().__init__()` was never called."))
    return cast(nn.Module, value)


def sequence(value: Any, length: int | None = None) -> list[Any]:
    """Return the items of a list or a tuple, of this length if one is given."""
    returned(value)
    fact = _("A list is wanted, your code gave {value}.", value=shown(value))
    expect(isinstance(value, list | tuple), "not a list", fact)
    fact = _(
        "{wanted} results are wanted, your code gave {found}.", wanted=length, found=len(value)
    )
    expect(length is None or len(value) == length, "another length", fact)
    return list(value)


def names(value: Any) -> set[str]:
    """Return the names in a list, a set or any other collection."""
    returned(value)
    plain = [value] if isinstance(value, str) else value
    found = list(plain) if isinstance(plain, Iterable) and not isinstance(plain, dict) else [None]
    fact = _("A collection of names is wanted, your code gave {value}.", value=shown(value))
    expect(all(isinstance(one, str) for one in found), "not names", fact)
    return {str(one) for one in found}


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a dictionary or another mapping."""
    if not isinstance(returned(value), Mapping):
        fact = _("A dictionary is wanted, your code gave {value}.", value=shown(value))
        raise NotYetError("not a dictionary", fact)
    return cast(Mapping[str, Any], value)


def number(value: Any) -> float:
    """Return a number of Python's, of numpy's, or a tensor of one."""
    returned(value)
    single = isinstance(value, Tensor) and value.numel() == 1
    fact = _("A number is wanted, your code gave {value}.", value=shown(value))
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    expect(single or is_number, "not a number", fact)
    return float(value)


def truth(value: Any) -> bool:
    """Return a truth value of Python's, of numpy's, or a tensor of one."""
    returned(value)
    single = value.tolist() if isinstance(value, Tensor) and value.numel() == 1 else value
    is_bool = isinstance(single, bool | int) or type(single).__name__.startswith("bool")
    fact = _("True or False is wanted, your code gave {value}.", value=shown(value))
    expect(is_bool, "not a bool", fact)
    return bool(single)


def has_shape(Y: Tensor, wanted: Sequence[int], X: Tensor) -> None:
    """Expect the output to have the shape that is wanted for this input."""
    fact = _(
        "For X of shape {given} the output must have shape {wanted}, yours has {found}.",
        given=tuple(X.shape),
        wanted=tuple(wanted),
        found=tuple(Y.shape),
    )
    expect(Y.shape == tuple(wanted), "another shape", fact)


def computed(block: nn.Module, X: Tensor) -> Tensor:
    """Return what a block gives for X, and expect that no other batch has a part in it."""
    Z = torch.randn(len(X) + 1, *X.shape[1:])
    with batch_kept(X):
        Y = tensor(block(X))
        other, again = tensor(block(Z)), tensor(block(X))
    repeats = Y.shape[:1] == X.shape[:1] and other.shape == Y.shape
    fact = _("For another batch, of {count} rows, comes what came for the first one.", count=len(Z))
    expect(not repeats, "remembers", fact)
    same = again.shape == Y.shape and torch.allclose(again, Y, atol=1e-6, equal_nan=True)
    fact = _("After another batch the first one gives something else than before.")
    expect(same, "remembers", fact)
    return Y


def trainable(layer: nn.Module, X: Tensor) -> None:
    """Expect a gradient that is not zero to reach every parameter of a layer, and its input."""
    X = X.clone().requires_grad_()
    Y = tensor(layer(X))
    watched(Y)
    weights = torch.rand_like(Y) + 0.5
    (Y * weights).abs().sum().backward()
    for name, parameter in layer.named_parameters():
        fact = _("No gradient reaches the parameter {name!r}.", name=name)
        if parameter.grad is None:
            raise NotYetError("unused parameter", fact)
        fact = _("The gradient of the parameter {name!r} is zero everywhere.", name=name)
        expect(parameter.grad.any(), "zero gradient", fact)
    expect(X.grad is not None, "detached", _("No gradient reaches the input."))


def watched(Y: Tensor) -> None:
    """Expect autograd to have followed the computation."""
    expect(Y.requires_grad, "detached", _("Autograd lost track: the output has no gradient."))


@contextmanager
def batch_kept(*batch: Tensor) -> Iterator[None]:
    """Expect the tensors that are handed in to be the same afterwards."""
    before = [X._version for X in batch]
    yield
    same = before == [X._version for X in batch]
    expect(same, "batch changed", _("The tensor that was handed in was written into."))


@contextmanager
def net_kept(net: nn.Module) -> Iterator[None]:
    """Expect the net that is handed in to be the same afterwards."""
    before, modes = _state(net), [one.training for one in net.modules()]
    yield
    after = _state(net)
    changed = [n for n in {**before, **after} if not _same(before.get(n), after.get(n))]
    listed = ", ".join(changed[:3])
    lazy = [name for name in changed if name in before and before[name][1] is None]
    fact = _("The net that was handed in is no longer lazy: {names}.", names=listed)
    expect(not lazy, "no longer lazy", fact)
    fact = _("The net that was handed in has changed: {names}.", names=listed)
    expect(not changed, "net changed", fact)
    same = modes == [one.training for one in net.modules()]
    expect(same, "mode changed", _("The net is no longer in the mode it was in."))


_State = dict[str, tuple[int, "Tensor | None"]]


def _state(net: nn.Module) -> _State:
    """Return every parameter and buffer by name: which object it is, and its values."""
    return {
        name: (id(held), None if is_lazy(held) else held.detach().clone())
        for name, held in (*net.named_parameters(), *net.named_buffers())
    }


def _same(
    before: tuple[int, Tensor | None] | None, after: tuple[int, Tensor | None] | None
) -> bool:
    if before is None or after is None or before[0] != after[0]:
        return False
    old, new = before[1], after[1]
    if old is None or new is None:
        return old is new
    return old.dtype == new.dtype and old.device == new.device and torch.equal(old, new)


class _Kept:
    """Stands for a tensor that autograd keeps; weak references tell how long."""

    def __init__(self, value: Tensor) -> None:
        self.value = value.detach()  # with its graph it would keep itself alive


@contextmanager
def graph_dropped(batches: Sequence[Any]) -> Iterator[Iterator[Any]]:
    """Expect that nothing autograd kept for a batch is alive when two more have been given out."""
    kept: list[list[weakref.ref[_Kept]]] = []

    def pack(value: Tensor) -> _Kept:
        held = _Kept(value)
        kept[-1].append(weakref.ref(held))
        return held

    def given() -> Iterator[Any]:
        for place, batch in enumerate(batches):
            alive = sum(one() is not None for step in kept[: place - 1] for one in step)
            fact = _(
                "At batch {place} autograd still keeps {count} tensors of earlier batches.",
                place=place + 1,
                count=alive,
            )
            expect(place < 2 or not alive, "graph kept", fact)
            kept.append([])
            yield batch

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.value):
        yield given()
