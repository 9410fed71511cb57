"""The nets that several subjects use. `linear(inputs, outputs)` makes their layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


def lazy(inputs, outputs):
    return nn.LazyLinear(outputs)


def three_layers(linear=nn.Linear):
    return nn.Sequential(linear(20, 256), nn.ReLU(), linear(256, 256), nn.ReLU(), linear(256, 10))


def thousand_blocks(count=1000, linear=nn.Linear):
    """Return blocks of four modules each."""
    return nn.Sequential(
        *(nn.Sequential(linear(8, 8), nn.ReLU(), linear(8, 8)) for _ in range(count))
    )


def nested(depth, linear=nn.Linear):
    net = linear(8, 8)
    for _ in range(depth):
        net = nn.Sequential(net)
    return net


def wide(count=16, width=4096):
    """Return `count` layers without activations: 1.07 GB by default."""
    return nn.Sequential(*(nn.Linear(width, width) for _ in range(count)))


class Attention(nn.Module):
    """Attention and gated layers behind it, the way large language models have them."""

    def __init__(self, width, hidden, linear):
        super().__init__()
        self.norms = nn.ModuleList([nn.RMSNorm(width), nn.RMSNorm(width)])
        self.qkv = nn.ModuleList([linear(width, width) for _ in range(3)])
        self.project = linear(width, width)
        self.gate, self.up = linear(width, hidden), linear(width, hidden)
        self.down = linear(hidden, width)

    def forward(self, X):
        Y = self.norms[0](X)
        X = X + self.project(F.scaled_dot_product_attention(*(layer(Y) for layer in self.qkv)))
        Y = self.norms[1](X)
        return X + self.down(F.silu(self.gate(Y)) * self.up(Y))


def seven_billion(linear=nn.Linear, blocks=32, width=4096, hidden=11008):
    """Return a net with 6.7 billion parameters on the meta device, without its embedding."""
    with torch.device("meta"):
        return nn.Sequential(
            *(Attention(width, hidden, linear) for _ in range(blocks)), linear(width, 32000)
        )
