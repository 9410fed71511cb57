"""The book's visitors: functions for `net.apply`, which calls them on every module of a net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..arguments import as_module


def init_normal(module: nn.Module) -> None:
    """Draw the weight of a linear layer from a normal distribution (0, 0.01); zero its bias.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1, bias=False))
    >>> _ = net.apply(d2c.initializers.init_normal)
    >>> net[0].bias.any()
    tensor(False)

    `module` is any module; what is not linear stays as it is.

    Raises `ValueError` for a lazy or parametrized layer, and `TypeError` for what is no module, as
    all visitors here do.
    Source: D2L 6.3 / zh 5.2
    """
    if layer := _linear(module):
        nn.init.normal_(_weight(layer), 0.0, 0.01)
        _zero_bias(layer)


def init_constant(module: nn.Module) -> None:
    """Set the weight of a linear layer to 1 and its bias to 0.

    >>> nn.Linear(2, 1).apply(d2c.initializers.init_constant).weight.tolist()
    [[1.0, 1.0]]

    Source: D2L 6.3 / zh 5.2
    """
    if layer := _linear(module):
        nn.init.ones_(_weight(layer))
        _zero_bias(layer)


def init_xavier(module: nn.Module) -> None:
    """Draw the weight of a linear layer by Xavier's rule; its bias stays as it is.

    >>> layer = nn.Linear(4, 2).apply(d2c.initializers.init_xavier)
    >>> bool(layer.weight.abs().max() <= 1)
    True

    Source: D2L 6.3 / zh 5.2
    """
    if layer := _linear(module):
        nn.init.xavier_uniform_(_weight(layer))


def init_42(module: nn.Module) -> None:
    """Set the weight of a linear layer to 42; its bias stays as it is.

    >>> nn.Linear(2, 1).apply(d2c.initializers.init_42).weight.tolist()
    [[42.0, 42.0]]

    Source: D2L 6.3 / zh 5.2
    """
    if layer := _linear(module):
        nn.init.constant_(_weight(layer), 42)


def my_init(module: nn.Module) -> None:
    """Draw the weight of a linear layer from U(5, 10) or U(-10, -5), a quarter each, or make it 0.

    >>> layer = nn.Linear(4, 8).apply(d2c.initializers.my_init)
    Init weight torch.Size([8, 4])
    >>> ((layer.weight == 0) | (layer.weight.abs() >= 5)).all()
    tensor(True)

    It prints the name and the shape of the parameter. The bias stays as it is.
    Source: D2L 6.3 / zh 5.2
    """
    if layer := _linear(module):
        weight = _weight(layer)
        print("Init", "weight", weight.shape)
        nn.init.uniform_(weight, -10, 10)
        with torch.no_grad():
            weight *= weight.abs() >= 5


def _linear(module: nn.Module) -> nn.Linear | None:
    """Return a linear layer, and None for another module."""
    as_module("module", module)
    return module if isinstance(module, nn.Linear) else None


def _weight(module: nn.Linear) -> Tensor:
    weight = module._parameters.get("weight")
    if weight is None:
        raise ValueError(
            "`module` must hold its weight itself, got a layer that computes it "
            "(weight_norm, parametrize); do initialize first and parametrize then"
        )
    if is_lazy(weight):
        raise ValueError(
            f"`module` must have a shape, got {module}; do materialize(net, X) before net.apply, "
            f"or initialize(net, init.Normal(0.01)), which waits for the first forward pass"
        )
    return weight


def _zero_bias(module: nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)
