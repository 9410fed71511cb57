"""Whoever looks at a net leaves it, its inputs and all random states as they were.

Every function that looks is tried on every net of a collection: what one promises, all keep.
"""

import contextlib

import pytest
from fingerprint import unchanged
from matplotlib import pyplot as plt
from nets_odd import NETS

import d2lcompute as d2c
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
