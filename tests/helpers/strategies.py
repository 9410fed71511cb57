"""Hypothesis strategies that generate nets.

`plans()` draws a `Plan`: what to build, as plain data that shrinks and prints well. `plan.build()`
gives a fresh net each time, so a test can build twins; `plan.build(lazy=False)` is the eager twin
of a plan with lazy layers, `plan.build(lazy=True)` its all-lazy one. `plan.inputs()` is a batch
that the net takes. Every part maps (n, width) to (n, width), so that any part fits at any place.
"""

import dataclasses

import torch
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, *modules):
        super().__init__()
        self.inner = nn.Sequential(*modules)

    def forward(self, X):
        return X + self.inner(X)


class Loose(nn.Module):
    """Parameters that sit in containers and directly on the block, and a module never called."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.offsets = nn.ParameterList([nn.Parameter(torch.zeros(width)) for _ in range(2)])
        self.unused = nn.ModuleDict({"empty": nn.Sequential()})

    def forward(self, X):
        return self.scale * X + self.offsets[0] - self.offsets[1]


class Buffered(nn.Module):
    """Buffers that are kept, that are not kept, and one under two names."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("constant", torch.linspace(-1, 1, width))
        self.register_buffer("passing", torch.ones(width), persistent=False)
        self.register_buffer("again", self.constant)

    def forward(self, X):
        return X * self.passing + self.constant + self.again


class Twice(nn.Module):
    """One weight that two functions read, as a tied autoencoder does."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width) / width)

    def forward(self, X):
        return F.linear(torch.tanh(F.linear(X, self.weight)), self.weight.t())


class Heads(nn.Module):
    """Alike layers side by side."""

    def __init__(self, width):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, width) for _ in range(width))

    def forward(self, X):
        return torch.stack([head(X) for head in self.heads]).mean(0)


class Recurrent(nn.Module):
    """A cell in a loop over the features, from a state that is a buffer."""

    def __init__(self, width):
        super().__init__()
        self.cell = nn.GRUCell(1, width)
        self.register_buffer("start", torch.zeros(1, width))

    def forward(self, X):
        H = self.start.expand(len(X), -1)
        for t in range(X.shape[1]):
            H = self.cell(X[:, t : t + 1], H)
        return H


class Dense(nn.Module):
    """Layers of which each takes what all before it gave."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width + i, 1) for i in range(width))

    def forward(self, X):
        features = [X]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return torch.cat(features[1:], 1)


class Deciding(nn.Module):
    """A branch and a loop that values decide."""

    def __init__(self, width):
        super().__init__()
        self.yes, self.no = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, X):
        X = self.yes(X) if X.sum() > 0 else self.no(X)
        for _ in range(9):
            if X.abs().max() <= 1:
                break
            X = X / 2
        return X


@dataclasses.dataclass(frozen=True)
class Plan:
    width: int
    parts: tuple

    def build(self, *, lazy=None):
        """Return a fresh net: `lazy` overrides what each part says about being lazy."""
        return _Builder(self.width, lazy).block(nn.Sequential, self.parts)

    def inputs(self, batch=3):
        generator = torch.Generator().manual_seed(self.width)
        return torch.randn(batch, self.width, generator=generator)


class _Builder:
    """Remember what was built, for the parts that refer back to it."""

    def __init__(self, width, lazy):
        self.width = width
        self.lazy = lazy
        self.finished = []
        self.linears = []

    def block(self, make, parts):
        built = make(*[self.part(*part) for part in parts])
        self.finished.append(built)
        return built

    def part(self, kind, *details):
        built = getattr(self, kind)(*details)
        self.finished.append(built)
        return built

    def linear(self, lazy, bias):
        built = self._linear(lazy, bias)
        self.linears.append(built)
        return built

    def norm(self, lazy):
        return nn.LazyBatchNorm1d() if self._is_lazy(lazy) else nn.BatchNorm1d(self.width)

    def plain(self, name):
        made = {
            "relu": nn.ReLU,
            "empty": nn.Sequential,
            "loose": lambda: Loose(self.width),
            "buffered": lambda: Buffered(self.width),
            "twice": lambda: Twice(self.width),
            "heads": lambda: Heads(self.width),
            "recurrent": lambda: Recurrent(self.width),
            "dense": lambda: Dense(self.width),
            "deciding": lambda: Deciding(self.width),
        }
        return made[name]()

    def sequential(self, *parts):
        return self.block(nn.Sequential, parts)

    def residual(self, *parts):
        return self.block(Residual, parts)

    def again(self, index):
        """Place a module that is there already once more, at any depth."""
        return self.finished[index % len(self.finished)] if self.finished else nn.Identity()

    def tied(self, index):
        """Add a layer that holds the parameters of an earlier one."""
        if not self.linears:
            return self.linear(False, True)
        first = self.linears[index % len(self.linears)]
        second = self._linear(isinstance(first, nn.LazyLinear), first.bias is not None)
        second.weight, second.bias = first.weight, first.bias
        return second

    def alias(self, index):
        """Add a layer whose weight is another parameter on the memory of an earlier one's."""
        sized = [layer for layer in self.linears if type(layer) is nn.Linear]
        built = nn.Linear(self.width, self.width, bias=False)
        if sized:
            built.weight = nn.Parameter(sized[index % len(sized)].weight.detach())
        return built

    def _linear(self, lazy, bias):
        if self._is_lazy(lazy):
            return nn.LazyLinear(self.width, bias=bias)
        return nn.Linear(self.width, self.width, bias=bias)

    def _is_lazy(self, drawn):
        return drawn if self.lazy is None else self.lazy


def parts(*, lazy, ties, aliases, wired):
    """Draw one part of a plan, nested parts included."""
    may_be_lazy = st.booleans() if lazy else st.just(False)
    more = ["heads", "recurrent", "dense", "deciding"] if wired else []
    names = st.sampled_from(["relu", "empty", "loose", "buffered", "twice", *more])
    index = st.integers(0, 7)
    leaves = [
        st.tuples(st.just("linear"), may_be_lazy, st.booleans()),
        st.tuples(st.just("norm"), may_be_lazy),
        st.tuples(st.just("plain"), names),
    ]
    if ties:
        leaves += [st.tuples(st.sampled_from(["again", "tied"]), index)]
    if aliases:
        leaves += [st.tuples(st.just("alias"), index)]
    return st.recursive(
        st.one_of(leaves),
        lambda inner: st.lists(inner, max_size=4).flatmap(
            lambda held: st.sampled_from(["sequential", "residual"]).map(lambda kind: (kind, *held))
        ),
        max_leaves=8,
    )


def plans(*, lazy=True, ties=True, aliases=False, wired=False, max_parts=4):
    """Draw a `Plan`.

    `lazy` mixes lazy layers with sized ones, `ties` adds modules placed repeatedly and layers
    that share parameters, `aliases` adds parameters that share memory but not the object, `wired`
    adds branches, loops, and layers that take more and more.
    """
    part = parts(lazy=lazy, ties=ties, aliases=aliases, wired=wired)
    drawn = st.lists(part, min_size=1, max_size=max_parts)
    return st.builds(Plan, width=st.integers(2, 4), parts=drawn.map(tuple))
