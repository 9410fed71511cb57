"""One right answer to each exercise of section 5; many others pass as well."""

import torch
from torch import nn


class Rows(nn.Module):
    def forward(self, X):
        return X - X.mean(dim=-1, keepdim=True)


class Reduction(nn.Module):
    def __init__(self, in_units, units):
        super().__init__()
        self.W = nn.Parameter(torch.randn(in_units, in_units, units))

    def forward(self, X):
        return torch.einsum("ni,nj,ijk->nk", X, X, self.W)


class Fourier(nn.Module):
    def forward(self, X):
        return torch.fft.fft(X)[..., : X.shape[-1] // 2]


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, X):
        return X * self.scale


ANSWERS = {
    "layers.rows": Rows,
    "layers.reduction": Reduction,
    "layers.fourier": Fourier,
    "layers.own": Scale(),
}
