"""What a block costs over the same functions called by hand: 1,000 forward passes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c

from .harness import Case, Target, limit, ours, peer

PASSES = 1000
LOOKUP = "a layer in an attribute is looked up by `nn.Module`, which takes as long as a container"


def cases(quick):
    torch.set_num_threads(1)
    X = torch.rand(2, 20)
    passes = 10 if quick else PASSES
    plain = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
    ready = {"MySequential": d2c.MySequential(*plain), "MLP": d2c.MLP(256, 10, in_units=20)}
    for name, net in ready.items():
        yield Case(
            f"{name}, 1,000 passes",
            (
                ours(name, lambda net=net: repeat(net, X, passes)),
                peer("nn.Sequential", lambda: repeat(plain, X, passes)),
                limit("by hand", lambda: repeat(by_hand(plain), X, passes)),
            ),
            (Target(name, 1, "nn.Sequential", why=LOOKUP),),
            headline="1,000 forward passes",
        )


@torch.no_grad()
def repeat(net, X, passes):
    for _ in range(passes):
        net(X)


def by_hand(net):
    (first, second), (third, fourth) = net[0].parameters(), net[2].parameters()
    return lambda X: F.linear(F.relu(F.linear(X, first, second)), third, fourth)
