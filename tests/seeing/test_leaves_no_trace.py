"""Whoever looks at a net leaves it, its inputs and all random states as they were.

Every function that looks is tried on every net of a collection: what one promises, all keep.
"""

import contextlib
import random

import numpy as np
import pytest
import torch
from fingerprint import unchanged
from matplotlib import pyplot as plt
from nets_odd import NETS
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize

import d2lcompute as d2c
from d2lcompute import initializers as init
from d2lcompute.passes.values import tensors_in


def draw(net, *inputs):
    d2c.draw(net, *inputs)
    plt.close("all")


def gradients_by_use(net, *inputs):
    d2c.gradients_by_use(net, lambda net: tensors_in(net(*inputs))[0].sum())


def dry_run(net, *inputs):
    with d2c.lazy.dry_run(net, *inputs):
        net(*inputs)


LOOKS = {
    "describe": lambda net, *inputs: repr(d2c.describe(net)),
    "tied_groups": lambda net, *inputs: d2c.tied_groups(net),
    "collect_params": lambda net, *inputs: d2c.collect_params(net),
    "pending": lambda net, *inputs: d2c.pending(net),
    "infer_shapes": d2c.infer_shapes,
    "trace": lambda net, *inputs: repr(d2c.trace(net, *inputs)),
    "trace with times": lambda net, *inputs: d2c.trace(net, *inputs, time=True),
    "draw": draw,
    "draw without inputs": lambda net, *inputs: draw(net),
    "diagnose": lambda net, *inputs: repr(d2c.diagnose(net, *inputs)),
    "diagnose without inputs": lambda net, *inputs: d2c.diagnose(net),
    "gradients_by_use": gradients_by_use,
    "materialize": d2c.materialize,
    "dry_run": dry_run,
}
# What cannot be: shapes stand for tensors only in functions that are told the inputs, a use has no
# gradient on the way of rounding, and the lazy net is what `materialize` and a dry run change.
WITHOUT = {
    ("gradients_by_use", "shape and tensor"), ("dry_run", "shape and tensor"),
    ("gradients_by_use", "lazy"), ("dry_run", "lazy"), ("materialize", "lazy"),
    ("gradients_by_use", "notes"), ("gradients_by_use", "literal tuple"),
}  # fmt: skip


PAIRS = [(look, name) for look in LOOKS for name in NETS if (look, name) not in WITHOUT]


@pytest.mark.parametrize(("look", "name"), PAIRS)
def test_a_look_leaves_no_trace(look, name):
    net, *inputs = NETS[name]()
    reads_values = name in ("codebook", "chance", "in place", "in place on a view", "notes")
    may_fail = (look == "infer_shapes" and reads_values) or name == "on meta"
    with unchanged(net, inputs), contextlib.suppress(*([RuntimeError] if may_fail else [])):
        LOOKS[look](net, *inputs)


def drawn(value=None, *_):
    """Draw from Python and from numpy, once and an odd number of times."""
    np.random.randn()
    random.gauss(0, 1)
    return value


class DrawingParametrization(nn.Module):
    def forward(self, X):
        return drawn(X)


class DrawingInitializer(init.Initializer):
    def _init_weight(self, name, data):
        drawn(data).zero_()


def hook_on_every_module():
    return register_module_forward_hook(lambda *_: drawn())


def parametrized(net):
    parametrize.register_parametrization(net[0], "weight", DrawingParametrization())


def in_the_place_of_forward(net):
    forward = net[0].forward
    net[0].forward = lambda X: drawn(forward(X))


def in_the_place_of_relu(net):
    net[1].activation = lambda X: drawn(X.relu())


@contextlib.contextmanager
def added(register):
    handle = register()
    yield
    handle.remove()


# How code that is not torch's own gets into a net of torch's own layers: what it does to the net,
# what is around the look, and what the look is asked for besides.
OTHERS_CODE = {
    "a hook": (lambda net: net[0].register_forward_hook(lambda *_: drawn()), None, {}),
    "a hook before": (lambda net: net[0].register_forward_pre_hook(lambda *_: drawn()), None, {}),
    "a hook on all modules": (None, lambda: added(hook_on_every_module), {}),
    "a forward": (in_the_place_of_forward, None, {}),
    "a layer": (lambda net: net.append(DrawingParametrization()), None, {}),
    "an activation": (
        lambda net: setattr(net[1], "activation", lambda X: drawn(X.relu())),
        None,
        {},
    ),
    "a parametrization": (parametrized, None, {}),
    "an order": (lambda net: d2c.initialize(net[3], DrawingInitializer()), None, {}),
    "a loss": (None, None, {"backward": True, "loss_fn": lambda Y: drawn(Y.sum())}),
    "a gradient": (lambda net: net[0].weight.register_hook(drawn), None, {"backward": True}),
    "a hook behind": (
        lambda net: net[2].register_full_backward_hook(lambda *_: drawn()),
        None,
        {"backward": True},
    ),
}


@pytest.mark.parametrize("name", OTHERS_CODE)
def test_random_numbers_drawn_by_code_of_others_are_given_back(name):
    change, around, options = OTHERS_CODE[name]
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(nn.Linear(8, 8), attention, nn.LayerNorm(8), nn.LazyLinear(2))
    if change:
        change(net)
    X = torch.rand(2, 3, 8)
    np.random.randn()  # of two numbers that numpy makes at once, one is left over
    with unchanged(net, [X]), around() if around else contextlib.nullcontext():
        assert d2c.trace(net, X, **options).error is None
