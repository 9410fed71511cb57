"""Nets that do to themselves, their inputs and their surroundings what a pass can do.

Each entry makes a net and the positional inputs that it takes.
"""

import random
from collections import UserDict, deque
from dataclasses import dataclass
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Momentum(nn.Module):
    """Let one layer follow another, by giving its parameters new memory."""

    def __init__(self):
        super().__init__()
        self.q, self.k = nn.Linear(4, 2), nn.Linear(4, 2).requires_grad_(False)

    def forward(self, X):
        with torch.no_grad():
            for a, b in zip(self.q.parameters(), self.k.parameters(), strict=True):
                b.data = b.data * 0.9 + a.data * 0.1
        return self.q(X) + self.k(X)


class Clipped(nn.Module):
    """Write into its weights in place, through several names of the same memory."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        self.layer.weight.data.clamp_(-0.1, 0.1)
        with torch.no_grad():
            self.layer.bias += 1
            self.layer.weight[0].zero_()
        return self.layer(X)


class Codebook(nn.Module):
    """Learn without gradients, in buffers."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("codes", torch.rand(3, 4))
        self.register_buffer("counts", torch.zeros(3))

    def forward(self, X):
        X = self.layer(X)
        nearest = torch.cdist(X, self.codes).argmin(1)
        self.counts.index_add_(0, nearest, torch.ones(len(X)))
        self.codes[nearest] = X.detach()
        return X + (self.codes[nearest] - X).detach()


class Statistics(nn.Sequential):
    """Collect statistics, rescale embeddings and drop."""

    def __init__(self):
        norms = nn.BatchNorm1d(4), nn.InstanceNorm1d(3, track_running_stats=True)
        super().__init__(nn.Embedding(5, 4, max_norm=0.1), *reversed(norms), nn.Dropout())
        self.flat = norms[0]

    def forward(self, ids):
        X = self[3](self[1](self[0](ids)))
        return self.flat(X.mean(1))


class Chance(nn.Module):
    """Draw from every generator there is."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
        self.own = torch.Generator().manual_seed(3)
        self.rng = np.random.default_rng(0)
        self.python = random.Random(0)

    def forward(self, X):
        X = self.layers[0](X)  # else the output has no graph, once in fifty times
        for layer in self.layers[1:]:
            if random.random() < 0.7 and self.python.random() < 0.9:
                X = layer(X)
        noise = torch.rand(4) + torch.rand(4, generator=self.own)
        return X + noise + float(np.random.rand()) + float(self.rng.normal())


@dataclass
class Batch:
    X: torch.Tensor
    more: dict


class Pair(NamedTuple):
    X: torch.Tensor
    scale: torch.Tensor


class Greedy(nn.Module):
    """Use up what it is given: write into it, and take parts away."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, batch):
        X = batch.X if hasattr(batch, "X") else batch.pop("X") if len(batch) == 1 else batch["X"]
        X.mul_(2)
        if isinstance(batch, Batch):
            batch.more["Y"].zero_()
            batch.more.clear()
            batch.X = None
        return UserDict(logits=self.layer(X))


class InPlace(nn.Module):
    """Overwrite its input in every way."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        X += 1
        X[0] = 0
        F.relu_(X)
        X.numpy()[:, 1] = 7
        torch.add(X, 1, out=X)
        return self.layer(X)


class Notes(nn.Module):
    """Keep notes in attributes of all kinds."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.calls, self.last, self.history = 0, None, []
        self.queue, self.nested = deque([1]), {"a": {"b": [torch.zeros(2)]}}
        self.cache = SimpleNamespace(keys=torch.zeros(2, 4), seen=set())
        self.running = torch.zeros(4)

    def forward(self, X):
        self.calls += 1
        self.last = X.detach()
        self.history.append(float(X.detach().sum()))
        self.queue.append(2)
        self.nested["a"]["b"][0].add_(1)
        self.nested["a"]["b"].append(3)
        self.cache.keys.add_(1)
        self.cache.seen.add(len(X))
        self.cache.keys = None
        self.running.add_(X.detach().mean(0))
        self.layer.eval().requires_grad_(False)
        self.layer.register_forward_hook(lambda *rest: None)
        self.new = nn.Linear(1, 1)
        return self.layer(X)


class Unhashable(nn.Linear):
    def __eq__(self, other):
        return isinstance(other, Unhashable)

    __hash__ = None


class Resize(nn.Module):
    """Take a tuple that is no shape."""

    def forward(self, X, size):
        return F.interpolate(X, size=size)


class Own(torch.autograd.Function):
    """A function with a backward pass of its own making."""

    @staticmethod
    def forward(ctx, X):
        return X.round()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class Straight(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, X):
        return Own.apply(self.layer(X))


def tied():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.BatchNorm1d(4))
    net[2].weight = net[0].weight
    return net


def scripted():
    return nn.Sequential(nn.Linear(4, 4), torch.jit.script(nn.Linear(4, 2)))


def traced():
    return nn.Sequential(nn.Linear(4, 4), torch.jit.trace(nn.Linear(4, 2), torch.rand(3, 4)))


def after_a_step():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net(torch.rand(3, 4)).sum().backward()
    return net


def view_of_more():
    return torch.rand(5, 4)[1:4]


def X():
    return torch.rand(3, 4)


NETS = {
    "momentum": lambda: (Momentum(), X()),
    "clipped": lambda: (Clipped(), X()),
    "codebook": lambda: (Codebook(), X()),
    "statistics": lambda: (Statistics(), torch.arange(5).repeat(3)[:12].view(4, 3)),
    "chance": lambda: (Chance(), X()),
    "greedy dict": lambda: (Greedy(), {"X": X()}),
    "greedy UserDict": lambda: (Greedy(), UserDict(X=X())),
    "greedy dataclass": lambda: (Greedy(), Batch(X(), {"Y": torch.ones(2)})),
    "greedy named tuple": lambda: (Greedy(), Pair(X(), torch.ones(()))),
    "in place": lambda: (InPlace(), X()),
    "in place on a view": lambda: (InPlace(), view_of_more()),
    "notes": lambda: (Notes(), X()),
    "half precision": lambda: (nn.Conv2d(3, 4, 3).bfloat16(), torch.rand(1, 3, 5, 5).bfloat16()),
    "double": lambda: (nn.LSTM(4, 4).double(), torch.rand(3, 2, 4).double()),
    "literal tuple": lambda: (Resize(), torch.rand(1, 3, 4, 4), (8, 8)),
    "shape and tensor": lambda: (nn.Bilinear(4, 4, 2), X(), (3, 4)),
    "scripted": lambda: (scripted(), X()),
    "traced": lambda: (traced(), X()),
    "unhashable": lambda: (nn.Sequential(Unhashable(4, 4), nn.ReLU(), Unhashable(4, 2)), X()),
    "tied": lambda: (tied(), X()),
    "after a step": lambda: (after_a_step(), X()),
    "an input with a gradient": lambda: (nn.Linear(4, 2), X().requires_grad_()),
    "an input with a graph": lambda: (nn.Linear(4, 2), X().requires_grad_() * 2),
    "straight through": lambda: (Straight(), X()),
    "lazy": lambda: (nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()), X()),
    "eval": lambda: (tied().eval(), X()),
    "on meta": lambda: (nn.Linear(4, 2, device="meta"), torch.rand(3, 4, device="meta")),
}
