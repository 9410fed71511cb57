"""A training loop on a practice device beside the same on the CPU."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c

from .harness import Case, Target, limit, ours

# Measured: a step is 26 operators that go through Python. One that makes a tensor costs 10 us more
# than on the CPU (1.5 to get into Python and back, 1.5 to find the CPU's tensors, 1.5 to call its
# operator, 5 to make the tensor, for which torch has no one call), a view 3 us; in the backward
# pass torch asks 48 times for the kind of the device.
WHY = (
    "26 operators a step go through Python, 10 us for each that makes a tensor; C++ alone avoids it"
)


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
            (Target("practice:0", 2, "cpu", why=WHY),),
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
