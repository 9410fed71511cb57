"""Filling 1 GB of parameters with normal values."""

from __future__ import annotations

import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute import initializers as init

from .harness import Case, Target, limit, ours, peer
from .nets import wide


def cases(quick):
    net = wide(2, 64) if quick else wide()
    yield Case(
        "initialize 1 GB",
        (
            ours("without seed", lambda: initialize(net)),
            ours("with seed", lambda: initialize(net, seed=0)),
            peer("net.apply", lambda: net.apply(visit)),
            limit("torch.nn.init", lambda: bare([*net.parameters()])),
        ),
        (
            Target(
                "without seed",
                1.02,
                "torch.nn.init",
                why="its report reads a sample of what each parameter got",
            ),
            Target("with seed", 1, "torch.nn.init"),
        ),
        headline="initialize 1 GB",
    )


def initialize(net, seed=None):
    return d2c.initialize(net, init.Normal(0.01), seed=seed, force_reinit=True)


def visit(module):
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


@torch.no_grad()
def bare(parameters):
    for parameter in parameters:
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.01)
        else:
            nn.init.zeros_(parameter)
