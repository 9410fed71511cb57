"""Targets: the parameters that `initialize` sets, each once, and which of them it has set."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from ..parameters.memory import extent
from ..parameters.names import Entry, entries, select, walk

_MARK = "_d2l_initialized"


class Place(NamedTuple):
    """A parameter under one of its names, and what it is there: `leaf` of `layer`.

    A parametrized layer computes its leaf from `entry`; elsewhere the two are the same.
    """

    name: str
    layer: nn.Module
    leaf: str
    entry: Entry


class Target(NamedTuple):
    """A parameter at the `places` where it was asked for, and the entries of all its names."""

    places: list[Place]
    everywhere: list[Entry]

    @property
    def key(self) -> str:
        """Return the first of all its names, which does not depend on what was asked for."""
        return self.everywhere[0].name

    @property
    def name(self) -> str:
        """Return the first of the names under which it was asked for."""
        name = self.places[0].name
        return name.rpartition(".")[0] if self.in_parts else name

    @property
    def tensor(self) -> Tensor:
        """Return the parameter, or the first part of a weight that is made of several."""
        return self.places[0].entry.tensor

    @property
    def parameters(self) -> list[Tensor]:
        """Return what is written to: the parameter, or all parts of a weight that has several."""
        return list({id(e.tensor): e.tensor for e in self.everywhere}.values())

    @property
    def in_parts(self) -> bool:
        """Return whether a parametrization computes it from several parameters."""
        return _in_parts(self.places[0].entry.module)

    def write(self, fill: Callable[[Tensor], object]) -> Tensor:
        """Let `fill` write the values in place, and return them."""
        held: Any = self.places[0].entry.module
        value: Tensor = held().detach().clone() if self.in_parts else self.tensor.detach()
        fill(value)
        layers = [place.layer for place in self.places] + [
            entry.module for entry in self.everywhere
        ]
        for layer in layers:
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.padding_idx is not None:
                value[layer.padding_idx] = 0
        if self.in_parts:
            held.right_inverse(value)
        return value

    def mark(self) -> None:
        """Remember that it was initialized: on the tensor, and where deepcopy does not drop it."""
        for entry in self.everywhere:
            setattr(entry.tensor, _MARK, True)
            vars(entry.module).setdefault(_MARK, set()).add(entry.leaf)

    def is_marked(self) -> bool:
        """Tell whether `mark` was called, on this net or on what it was copied from."""
        return any(
            hasattr(entry.tensor, _MARK) or entry.leaf in vars(entry.module).get(_MARK, ())
            for entry in self.everywhere
        )


def find_targets(net: nn.Module, pattern: str | re.Pattern[str] | None) -> list[Target]:
    """Return what `pattern` selects, in the order of the net, tied parameters as one."""
    modules = dict(walk(net, every_name=True))
    found: dict[object, Target] = {}
    for entry in entries(net):
        if not entry.is_buffer:
            target = found.setdefault(_identity(entry), Target([], []))
            target.everywhere.append(entry)
            if select([entry], pattern):
                target.places.append(_place(entry, modules))
    targets = [target for target in found.values() if target.places]
    for target in targets:
        _check_whole(target)
    return targets


def lone_target(name: str, tensor: Tensor) -> Target:
    """Return the target for a tensor that belongs to no net."""
    leaf = name.rpartition(".")[2]
    nowhere = nn.Module()
    entry = Entry(name, nowhere, leaf, tensor, False)
    return Target([Place(name, nowhere, leaf, entry)], [entry])


def _identity(entry: Entry) -> object:
    """Return what is equal for a parameter's names, also where another shares its memory."""
    if _in_parts(entry.module):
        return id(entry.module)
    memory = None if is_lazy(entry.tensor) else extent(entry.tensor)
    if memory is None:
        return id(entry.tensor)
    return *memory, entry.tensor.shape, entry.tensor.stride()


def _place(entry: Entry, modules: dict[str, nn.Module]) -> Place:
    if not isinstance(entry.module, ParametrizationList):
        return Place(entry.name, entry.module, entry.leaf, entry)
    # <layer>.parametrizations.<leaf>.original
    layer, leaf, _ = f".{entry.name}".rsplit(".", 2)
    layer = layer.removesuffix(".parametrizations").removeprefix(".")
    return Place(entry.name, modules[layer], leaf, entry)


def _in_parts(module: nn.Module) -> bool:
    return isinstance(module, ParametrizationList) and not module.is_tensor


def _check_whole(target: Target) -> None:
    held = target.places[0].entry.module
    if target.in_parts and len(held._parameters) != len(target.places):
        raise ValueError(
            f"`pattern` must select all parts of a parametrized weight, got only {target.name!r}; "
            f"do write it so that it matches {list(held._parameters)}"
        )
