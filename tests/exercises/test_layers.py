"""What students really answer to the exercises of section 5, and the hint that they get."""

import pytest
import torch
from torch import nn


def layer(forward):
    """A layer class without parameters that computes `forward`."""
    return type("Layer", (nn.Module,), {"forward": lambda self, X: forward(X)})


@pytest.mark.parametrize(
    ("forward", "hint"),
    [
        (lambda X: X - X.mean(), "After the layer the mean of each row should be zero"),
        (lambda X: X - X.mean(dim=0), "That is the mean of each column"),
        (lambda X: X.mean(dim=1), "The output must have the shape of the input"),
        (lambda X: nn.functional.layer_norm(X, X.shape[1:]), "The means are zero, but"),
    ],
)
def test_rows_hints_at_what_is_wrong(said, forward, hint):
    assert said("layers.rows", layer(forward))[-1].startswith(f"hint  {hint}")


def test_rows_says_that_a_function_is_no_layer(said):
    hint = said("layers.rows", lambda: lambda X: X - X.mean(1, keepdim=True))[-1]
    assert hint.startswith("hint  A layer is an nn.Module, got function")


class Plain(nn.Module):
    def __init__(self, in_units, units):
        super().__init__()
        self.W = torch.randn(in_units, in_units, units)

    def forward(self, X):
        return torch.einsum("ni,nj,ijk->nk", X, X, self.W)


class Reduction(Plain):
    def __init__(self, in_units, units):
        super().__init__(in_units, units)
        self.W = nn.Parameter(self.__dict__.pop("W"))


class Transposed(Reduction):
    def forward(self, X):
        return torch.einsum("ni,nj,ijk->nk", X, X.flip(1), self.W)


class Detached(Reduction):
    def forward(self, X):
        return torch.einsum("ni,nj,ijk->nk", X, X, self.W.data)


class Unbatched(Reduction):
    def forward(self, X):
        return torch.einsum("ni,mj,ijk->k", X, X, self.W)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (Plain, "The layer needs one parameter W"),
        (Transposed, "The numbers differ from the sum"),
        (Detached, "Autograd did not watch the computation"),
        (Unbatched, "For X of shape"),
    ],
)
def test_reduction_hints_at_what_is_wrong(said, answer, hint):
    assert said("layers.reduction", answer)[-1].startswith(f"hint  {hint}")


@pytest.mark.parametrize(
    ("forward", "hint"),
    [
        (lambda X: torch.fft.fft(X).abs()[:, : X.shape[1] // 2], "Fourier coefficients are"),
        (torch.fft.rfft, "One coefficient too many"),
        (torch.fft.fft, "For X of shape"),
        (lambda X: torch.fft.fft(X)[: len(X) // 2], "For X of shape"),
        (lambda X: torch.fft.fft2(X)[:, : X.shape[1] // 2], "These are not the leading"),
        (lambda X: torch.fft.fft(X)[:, X.shape[1] // 2 :], "These are not the leading"),
    ],
)
def test_fourier_hints_at_what_is_wrong(said, forward, hint):
    assert said("layers.fourier", layer(forward))[-1].startswith(f"hint  {hint}")


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))
        self.unused = nn.Parameter(torch.ones(6))
        self.constant = torch.rand(6)

    def forward(self, X):
        return X * self.weight


class Constant(Own):
    def forward(self, X):
        return X * self.weight + self.constant * self.unused


class Restless(nn.Linear):
    def forward(self, X):
        return super().forward(X) + torch.rand(1)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (nn.Linear(6, 3), "Linear is torch's own"),
        (layer(torch.relu)(), "The layer has no parameters"),
        (Own, "A layer is an nn.Module, got type"),
        (Own(), "No gradient reaches unused"),
        (Constant(), "A tensor lies in a plain attribute"),
        (Restless(6, 3), "After saving and loading the layer computes something else"),
    ],
)
def test_own_hints_at_what_is_wrong(said, answer, hint):
    assert said("layers.own", answer)[-1].startswith(f"hint  {hint}")
