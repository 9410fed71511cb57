"""Custom layers: one without parameters, and a fully connected one of our own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .arguments import as_generator, positive


class CenteredLayer(nn.Module):
    """Subtract the mean of all elements: a layer needs no parameters.

    >>> d2c.CenteredLayer()(torch.tensor([1.0, 2, 3, 4, 5]))
    tensor([-2., -1.,  0.,  1.,  2.])
    >>> net = nn.Sequential(nn.LazyLinear(128), d2c.CenteredLayer())
    >>> abs(net(torch.rand(4, 8)).mean().item()) < 1e-6
    True

    Maps a floating-point tensor of any shape to the same shape. The mean is that of the whole
    batch, so what one example gives depends on the others.
    Source: D2L 6.5 / zh 5.4
    """

    def forward(self, X: Tensor) -> Tensor:
        return X - X.mean()


class MyLinear(nn.Module):
    """A fully connected layer with ReLU that keeps its own weight and bias, and trains them.

    >>> layer = d2c.MyLinear(5, 3)
    >>> layer
    MyLinear(in_units=5, units=3)
    >>> layer.weight.shape, layer.bias.shape
    (torch.Size([5, 3]), torch.Size([3]))
    >>> nn.Sequential(d2c.MyLinear(64, 8), d2c.MyLinear(8, 1))(torch.rand(2, 64)).shape
    torch.Size([2, 1])

    `in_units` and `units` are the widths of input and output. `weight` is (in_units, units), the
    transpose of `nn.Linear`'s; it and `bias` (units,) are drawn from the standard normal
    distribution, by `generator` if given. Maps (..., in_units) to (..., units).

    Raises `ValueError` for a size that is not positive.
    Source: D2L 6.5 / zh 5.4
    """

    def __init__(self, in_units: int, units: int, *, generator: torch.Generator | None = None):
        super().__init__()
        in_units, units = positive("in_units", in_units), positive("units", units)
        self.weight = nn.Parameter(torch.empty(in_units, units))
        self.bias = nn.Parameter(torch.empty(units))
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw weight and bias anew, under the name that torch's layers use for it."""
        generator = as_generator(generator)
        nn.init.normal_(self.weight, generator=generator)
        nn.init.normal_(self.bias, generator=generator)

    def forward(self, X: Tensor) -> Tensor:
        return F.relu(X @ self.weight + self.bias)  # not `weight.data`: that would never train

    def extra_repr(self) -> str:
        in_units, units = self.weight.shape
        return f"in_units={in_units}, units={units}"


class MyDense(MyLinear):
    """The first edition's form of `MyLinear`: Gluon's argument order and starting values.

    >>> d2c.MyDense(units=3, in_units=5)
    MyDense(in_units=5, units=3)
    >>> d2c.MyDense(3, 5)(torch.rand(2, 5)).shape
    torch.Size([2, 3])

    `units` and `in_units` are the widths of output and input, in this order. The weight starts
    uniform between -0.07 and 0.07, drawn by `generator` if given, and the bias at zero. Maps
    (..., in_units) to (..., units).

    Raises `ValueError` as `MyLinear` does.
    Source: D2L (first edition) 4.4
    """

    def __init__(self, units: int, in_units: int, *, generator: torch.Generator | None = None):
        super().__init__(in_units, units, generator=generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight anew and set the bias to zero."""
        nn.init.uniform_(self.weight, -0.07, 0.07, generator=as_generator(generator))
        nn.init.zeros_(self.bias)
