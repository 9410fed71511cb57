"""A training loop on a practice device beside the same on the CPU."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c

from .harness import Case, Target, limit, ours


def cases(quick):
    d2c.practice_gpus(1)
    for inputs, batch in ((20, 64), (784, 64), (784, 256), (784, 1024)):
        here, there = (setup(inputs, batch, device) for device in ("cpu", "practice:0"))
        steps = 2 if quick else 20
        name = f"20 steps of {inputs}-256-10, batch {batch:,}"
        yield Case(
            name,
            (
                ours("practice:0", lambda there=there, steps=steps: train(*there, steps)),
                limit("cpu", lambda here=here, steps=steps: train(*here, steps)),
            ),
            (Target("practice:0", 2, "cpu", why="each operator of a small net waits for Python"),),
            headline=name,
        )


def setup(inputs, batch, device):
    X = torch.rand(batch, inputs).to(device)
    y = torch.randint(10, (batch,)).to(device)
    net = nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 10)).to(device)
    return net, X, y


def train(net, X, y, steps):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimizer.step()
    return net[0].weight.sum().item()
