"""Rules: which parameters of a net are initialized, and which initializer each of them gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import ParametrizationList

from ..arguments import shown
from ..parameters.memory import extent
from ..parameters.names import Entry, entries, matcher, select, walk
from .base import ROLES, Initializer, MaybeGenerator, Role, role_of

Key = str | re.Pattern[str] | type[nn.Module]
_MARK = "_d2l_initialized"


class Mixed(Initializer):
    """Give different parameters different initializers; the first rule that matches wins.

    >>> from d2lcompute import initializers as init
    >>> net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> rules = {"0.weight": init.One(), ".*bias": init.Constant(7), nn.Linear: init.Zero()}
    >>> report = d2c.initialize(net, init.Mixed(rules))
    >>> {name: parameter.tolist() for name, parameter in net.named_parameters()}
    {'0.weight': [[1.0, 1.0], [1.0, 1.0]], '0.bias': [7.0, 7.0],
    '1.weight': [[0.0, 0.0]], '1.bias': [7.0]}

    `rules` maps patterns and layer types to initializers. A pattern is matched at the start of a
    parameter's name, as in `collect_params`; a type reaches the parameters that its layers hold
    themselves. Put ".*" last for the rest. A rule is for the weights among its matches; where it
    matches no weights, it is for the scales (of BatchNorm and the like), and else for the biases.

    Raises `TypeError` and `ValueError` for rules that are none. A parameter that no rule matches
    and a tied one on which two disagree are errors in use, before anything changes.
    Source: D2L 6.3 / zh 5.2
    """

    def __init__(self, rules: Mapping[Key, Initializer]) -> None:
        if not isinstance(rules, Mapping):
            raise TypeError(
                f"`rules` must be a dict from patterns or layer types to initializers, got "
                f"{shown(rules)}; do Mixed({{'.*weight': Normal(0.01), '.*': Zero()}}), say"
            )
        for key, initializer in rules.items():
            _check_key(key)
            if not isinstance(initializer, Initializer) or isinstance(initializer, Mixed):
                raise TypeError(
                    f"`rules` must map to initializers such as Normal(0.01), got "
                    f"{shown(initializer)} for {_shown(key)}; do create one there"
                )
        self.rules = dict(rules)

    def __repr__(self) -> str:
        return f"Mixed({{{', '.join(f'{_shown(k)}: {i!r}' for k, i in self.rules.items())}}})"

    def fill(self, role: Role, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        """Fill `data` by the first pattern that matches `name`; layer types match no name."""
        [found] = assign(self, [lone_target(name, data)])
        found.initializer.fill(found.role, name, data, generator)


@dataclass(frozen=True)
class Assignment:
    """The initializer that one parameter gets, in which role, and the rule that says so."""

    target: Target
    label: str
    initializer: Initializer
    role: Role


def assign(
    init: Initializer, targets: Sequence[Target], *, selected: bool = True
) -> list[Assignment]:
    """Return what each target gets, or raise `ValueError` if one would get nothing or two things.

    A rule, or a pattern by which the targets were `selected`, means its initializer for the most
    weight-like among what it matches.
    """
    rules = list(init.rules.items()) if isinstance(init, Mixed) else [(".*", init)]
    deliberate = selected or isinstance(init, Mixed)
    table = [[[_matches(key, place) for key, _ in rules] for place in t.places] for t in targets]
    roles = [role_of(t.places[0].leaf, t.places[0].layer, t.tensor) for t in targets]
    meant: list[Role] = []
    for rule in range(len(rules)):
        reached = [
            r for r, rows in zip(roles, table, strict=True) if any(row[rule] for row in rows)
        ]
        meant.append(min(reached, key=ROLES.index, default="weight") if deliberate else "weight")
    found = []
    for target, role, rows in zip(targets, roles, table, strict=True):
        rule = _first(rules, target, rows)
        key, initializer = rules[rule]
        label = f"{_shown(key)}: {initializer!r}" if isinstance(init, Mixed) else repr(initializer)
        taken: Role = "weight" if role == meant[rule] else role
        found.append(Assignment(target, label, initializer, taken))
    return found


def _first(
    rules: Sequence[tuple[Key, Initializer]], target: Target, rows: Sequence[Sequence[bool]]
) -> int:
    """Return the index of the rule that wins, which is the same at all places of the target."""
    for place, row in zip(target.places, rows, strict=True):
        if not any(row):
            raise ValueError(
                f"`init` must have a rule for every parameter, got none for {place.name!r} "
                f"of a {type(place.layer).__name__}; do add '.*' as the last rule"
            )
    first, *others = [row.index(True) for row in rows]
    for place, other in zip(target.places[1:], others, strict=True):
        if rules[first][1] != rules[other][1]:
            raise ValueError(
                f"`init` must have one rule for a tied parameter, got {_shown(rules[first][0])} "
                f"for {target.name!r} and {_shown(rules[other][0])} for {place.name!r}; "
                f"do put a rule for '{target.name}|{place.name}' first"
            )
    return first


def _matches(key: Key, place: _Place) -> bool:
    if isinstance(key, type):
        return isinstance(place.layer, key)
    return bool(select([place.entry], key))


def _check_key(key: Key) -> None:
    if isinstance(key, type) and issubclass(key, nn.Module):
        return
    if not isinstance(key, str | re.Pattern):
        raise TypeError(
            f"`rules` must map from patterns or layer types, got {shown(key)}; "
            f"do write a name such as '0.weight', or a type such as nn.Linear"
        )
    matcher(key, "rules")


def _shown(key: Key) -> str:
    if isinstance(key, type):
        return key.__name__
    return repr(key if isinstance(key, str) else key.pattern)


class _Place(NamedTuple):
    """A parameter under one of its names, and what it is there: `leaf` of `layer`.

    A parametrized layer computes its leaf from `entry`; elsewhere the two are the same.
    """

    name: str
    layer: nn.Module
    leaf: str
    entry: Entry


class Target(NamedTuple):
    """A parameter at the `places` where it was asked for, and the entries of all its names."""

    places: list[_Place]
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
    return Target([_Place(name, nowhere, leaf, entry)], [entry])


def _identity(entry: Entry) -> object:
    """Return what is equal for a parameter's names, also where another shares its memory."""
    if _in_parts(entry.module):
        return id(entry.module)
    memory = None if is_lazy(entry.tensor) else extent(entry.tensor)
    if memory is None:
        return id(entry.tensor)
    return *memory, entry.tensor.shape, entry.tensor.stride()


def _place(entry: Entry, modules: dict[str, nn.Module]) -> _Place:
    if not isinstance(entry.module, ParametrizationList):
        return _Place(entry.name, entry.module, entry.leaf, entry)
    # <layer>.parametrizations.<leaf>.original
    layer, leaf, _ = f".{entry.name}".rsplit(".", 2)
    layer = layer.removesuffix(".parametrizations").removeprefix(".")
    return _Place(entry.name, modules[layer], leaf, entry)


def _in_parts(module: nn.Module) -> bool:
    return isinstance(module, ParametrizationList) and not module.is_tensor


def _check_whole(target: Target) -> None:
    held = target.places[0].entry.module
    if target.in_parts and len(held._parameters) != len(target.places):
        raise ValueError(
            f"`pattern` must select all parts of a parametrized weight, got only {target.name!r}; "
            f"do write it so that it matches {list(held._parameters)}"
        )
