"""Layers and blocks: from a net in two lines to control flow in `forward`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from itertools import count
from typing import Any, TypeVar, cast, overload

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn import functional as F

from .arguments import as_generator, guided, positive, shown

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "tanh": nn.Tanh,
}

Self = TypeVar("Self", bound="MySequential")


@guided(
    "dense(256, activation, in_units)",
    bias="nn.Linear(in_units, units, bias=False), or nn.LazyLinear(units, bias=False)",
    use_bias="nn.Linear(in_units, units, bias=False), or nn.LazyLinear(units, bias=False)",
    flatten="nn.Sequential(nn.Flatten(), dense(units)): it flattens nothing",
    in_features="in_units=20",
    out_features="units=256",
)
def dense(
    units: int, activation: str | nn.Module | None = None, in_units: int | None = None
) -> nn.Module:
    """Return a fully connected layer, lazy as long as its input size is not given.

    >>> layer = d2c.dense(256, activation="relu")
    >>> layer(torch.rand(2, 20)).shape
    torch.Size([2, 256])
    >>> d2c.dense(256, in_units=20)
    Linear(in_features=20, out_features=256, bias=True)

    `units` is the width of the output. `activation` is a name such as `"relu"` or a module.
    `in_units` is the width of the input; without it the layer is lazy. Maps (..., in_units) to
    (..., units): as in torch, and unlike Gluon's default, only the last axis is used.

    Returns a linear layer, or an `nn.Sequential` of that layer and its activation, whose `weight`
    and `bias` read as in Gluon. Raises `ValueError` for a size that is not positive or an
    activation that is not known. Source: D2L 6.1 / zh 5.1
    """
    units = positive("units", units)
    layer: nn.Module
    if in_units is None:
        layer = nn.LazyLinear(units)
    else:
        layer = nn.Linear(positive("in_units", in_units), units)
    return layer if activation is None else Dense(layer, _activation(activation))


class Dense(nn.Sequential):
    """What `dense` gives with an activation: its `weight` and `bias` are those of the layer.

    >>> net = nn.Sequential(d2c.dense(256, "relu", in_units=20), d2c.dense(10, in_units=256))
    >>> net[0].weight.shape, list(net.state_dict())
    (torch.Size([256, 20]), ['0.0.weight', '0.0.bias', '1.weight', '1.bias'])

    Source: D2L 6.1 / zh 5.1
    """

    __jit_unused_properties__ = ("weight", "bias")

    @property
    def weight(self) -> Tensor:
        """Return the weight of the layer."""
        return cast(nn.Linear, self[0]).weight

    @property
    def bias(self) -> Tensor | None:
        """Return the bias of the layer."""
        return cast(nn.Linear, self[0]).bias

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__jit_unused_properties__:  # torch would register it here a second time
            setattr(self[0], name, value)
        else:
            super().__setattr__(name, value)


def mlp(
    *units: int, activation: str | nn.Module = "relu", in_units: int | None = None
) -> nn.Sequential:
    """Return the section's two-line net in one call: dense layers, an activation between two.

    >>> net = d2c.mlp(256, 10)
    >>> net(torch.rand(2, 20)).shape
    torch.Size([2, 10])
    >>> d2c.mlp(256, 10, activation="tanh", in_units=20)[1]
    Tanh()

    `units` are the widths of the layers, the last one's that of the output. `activation` is a
    name or a module, of which every place gets a copy of its own. `in_units` is the width of the
    input; without it every layer is lazy. Maps (..., in_units) to (..., units[-1]).

    Raises `ValueError` without `units`, and as `dense` does.
    Source: D2L 6.1 / zh 5.1
    """
    if not units:
        raise ValueError("`units` must name at least one width, got none; do mlp(256, 10)")
    between = _activation(activation)
    layers: list[nn.Module] = []
    for width in units:
        if layers:
            layers.append(deepcopy(between))
        layers.append(dense(width, in_units=in_units))
        in_units = None if in_units is None else width
    return nn.Sequential(*layers)


class MLP(nn.Module):
    """A hidden layer with ReLU and an output layer, written as a custom block.

    >>> net = d2c.MLP()
    >>> net(torch.rand(2, 20)).shape
    torch.Size([2, 10])

    `hidden_units` and `units` are the widths of the two layers, `in_units` that of the input.
    Without it both layers are lazy: their parameters have no shape, and cannot be counted, saved
    or set by `net.apply`, before the first batch. `MLP(in_units=20)` is the sized net that the
    book's Chinese edition writes as `MLP()`. Maps (..., in_units) to (..., units).
    Source: D2L 6.1 / zh 5.1
    """

    def __init__(self, hidden_units: int = 256, units: int = 10, in_units: int | None = None):
        super().__init__()
        hidden_units = positive("hidden_units", hidden_units)
        self.hidden = dense(hidden_units, in_units=in_units)
        self.out = dense(units, in_units=None if in_units is None else hidden_units)

    def forward(self, X: Tensor) -> Tensor:
        H = F.relu(self.hidden(X))  # (..., hidden_units)
        output: Tensor = self.out(H)
        return output


class MySequential(nn.Module):
    """`nn.Sequential` from scratch: every entry runs in order, an entry placed twice runs twice.

    >>> net = d2c.MySequential(nn.LazyLinear(256), nn.ReLU())
    >>> net.add(nn.LazyLinear(10))(torch.rand(2, 20)).shape
    torch.Size([2, 10])
    >>> net[:2](torch.rand(2, 20)).shape
    torch.Size([2, 256])

    `modules` are modules, in the order in which they run, or one mapping from names to modules.
    Names in `state_dict` are those of `nn.Sequential`: `"0.weight"`, `"0.bias"`, and so on. A slice
    is a net of the same modules under the same names.

    Raises `TypeError` for what is not a module, before anything is added.
    Source: D2L 6.1 / zh 5.1
    """

    def __init__(self, *modules: nn.Module | Mapping[str, nn.Module]):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            self._add_named(modules[0])
        else:
            self._add_named(self._numbered(modules))

    def add(self: Self, *modules: nn.Module) -> Self:
        """Append `modules`, as Gluon's `add` does, and return the net itself."""
        self._add_named(self._numbered(modules))
        return self

    def forward(self, X: Tensor) -> Tensor:
        for module in self._modules.values():  # not `children()`: it drops repeats
            X = module(X) if module is not None else X
        return X

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        return (module for module in self._modules.values() if module is not None)

    @overload
    def __getitem__(self, index: int) -> nn.Module: ...
    @overload
    def __getitem__(self: Self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> nn.Module:
        if not isinstance(index, slice):
            return self._at(index)
        names = [name for name, module in self._modules.items() if module is not None]
        return type(self)({name: self.get_submodule(name) for name in names[index]})

    def _at(self, index: int) -> nn.Module:
        modules = list(self)
        try:
            return modules[index]
        except (IndexError, TypeError) as error:
            raise type(error)(
                f"`index` must be a slice, or an integer below {len(modules)}, the number of "
                f"modules, got {shown(index)}; do net[0], or net.get_submodule(name)"
            ) from None

    def _numbered(self, modules: Iterable[Any]) -> dict[str, Any]:
        """Give each a number that is free: a slice begins with the number that it had."""
        numbers = filter(lambda name: name not in self._modules, map(str, count(len(self))))
        return dict(zip(numbers, modules, strict=False))

    def _add_named(self, modules: Mapping[str, Any]) -> None:
        for name, module in modules.items():
            if not isinstance(module, nn.Module):
                raise TypeError(
                    f"`modules` must be modules, got {shown(module)}; do nn.ReLU(), say"
                )
            if not isinstance(name, str) or not name or "." in name or hasattr(self, name):
                raise ValueError(
                    f"`modules` must have names that are free, of text and without a dot, got "
                    f"{shown(name)}; do {{'hidden': nn.Linear(20, 256)}}, say"
                )
        for name, module in modules.items():
            self.add_module(name, module)


class FixedHiddenMLP(nn.Module):
    """A constant in the middle, one layer at two places, and a loop: `forward` is just Python.

    >>> net = d2c.FixedHiddenMLP()
    >>> net(torch.rand(2, 20)).shape
    torch.Size([])
    >>> [name for name, _ in net.named_parameters()], [name for name, _ in net.named_buffers()]
    (['linear.weight', 'linear.bias'], ['rand_weight'])

    `units` is the width of input, constant and layer. `generator` draws the constant, which is a
    buffer: saved and moved with the net, never trained. Maps (n, units) to a scalar: the sum
    after halving until the absolute sum is at most 1.

    Raises `ValueError` where the values to halve are infinite or NaN.
    Source: D2L 6.1 / zh 5.1
    """

    rand_weight: Tensor

    def __init__(self, units: int = 20, *, generator: torch.Generator | None = None):
        super().__init__()
        units = positive("units", units)
        generator = as_generator(generator)
        self.register_buffer("rand_weight", torch.rand(units, units, generator=generator))
        self.linear = nn.Linear(units, units)  # used twice, so input and output are of one width

    def forward(self, X: Tensor) -> Tensor:
        X = self.linear(X)  # (n, units)
        X = F.relu(X @ self.rand_weight + 1)
        X = self.linear(X)
        return _halve_while_above_one(X, order=1).sum()  # ()


class FancyMLP(nn.Module):
    """The first edition's block with a constant, a reused layer, a loop and a branch.

    >>> d2c.FancyMLP()(torch.rand(2, 20)).shape
    torch.Size([])

    `units` and `generator` are as in `FixedHiddenMLP`. Maps (n, units) to a scalar: the sum after
    halving until the norm is at most 1, then ten times that where the norm is below 0.8.

    Raises `ValueError` as `FixedHiddenMLP` does.
    Source: D2L (first edition) 4.1
    """

    rand_weight: Tensor

    def __init__(self, units: int = 20, *, generator: torch.Generator | None = None):
        super().__init__()
        units = positive("units", units)
        generator = as_generator(generator)
        self.register_buffer("rand_weight", torch.rand(units, units, generator=generator))
        self.dense = nn.Linear(units, units)

    def forward(self, X: Tensor) -> Tensor:
        X = F.relu(self.dense(X))  # (n, units)
        X = F.relu(X @ self.rand_weight + 1)
        X = F.relu(self.dense(X))
        X = _halve_while_above_one(X, order=2)
        if vector_norm(X).item() < 0.8:
            X = X * 10
        return X.sum()  # ()


class NestMLP(nn.Module):
    """A block that holds a net of its own: blocks nest.

    >>> net = d2c.NestMLP()
    >>> net(torch.rand(2, 20)).shape
    torch.Size([2, 16])
    >>> chimera = nn.Sequential(d2c.NestMLP(), nn.LazyLinear(20), d2c.FixedHiddenMLP())
    >>> chimera(torch.rand(2, 20)).shape
    torch.Size([])

    `in_units` is the width of the input. Without it every layer is lazy, and has no shape before
    the first batch; `NestMLP(in_units=20)` is the sized net that the book's Chinese edition writes
    as `NestMLP()`. Maps (..., in_units) to (..., 16).
    Source: D2L 6.1 / zh 5.1
    """

    def __init__(self, in_units: int | None = None):
        super().__init__()
        self.net = mlp(64, 32, in_units=in_units).append(nn.ReLU())
        self.linear = dense(16, in_units=None if in_units is None else 32)

    def forward(self, X: Tensor) -> Tensor:
        output: Tensor = self.linear(self.net(X))
        return output


def _activation(activation: str | nn.Module) -> nn.Module:
    if isinstance(activation, nn.Module):
        return activation
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return ACTIVATIONS[activation]()
    kind = ValueError if isinstance(activation, str) else TypeError
    raise kind(
        f"`activation` must be a module or one of {', '.join(ACTIVATIONS)}, got "
        f"{shown(activation)}; do activation=nn.ReLU(), or any other module"
    )


def _halve_while_above_one(X: Tensor, order: int) -> Tensor:
    if not torch.isfinite(X).all():  # inf / 2 is inf: the loop would never end
        raise ValueError(
            "`X` must lead to finite values before the loop that halves them, got infinity or "
            "NaN; do check the input and the weights with torch.isfinite"
        )
    while vector_norm(X, order).item() > 1:
        X = X / 2
    return X
