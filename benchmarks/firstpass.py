"""The first pass through a lazy net of 20 layers of 2,048, for a batch of 1,024."""

from __future__ import annotations

import torch
from torch import nn

import d2lcompute as d2c

from .harness import Case, Target, limit, ours, peer
from .nets import lazy

BATCH, WIDTH, LAYERS = 1024, 2048, 20


def cases(quick):
    batch, width = (8, 16) if quick else (BATCH, WIDTH)
    X, one = torch.zeros(batch, width), torch.zeros(1, width)

    def make(linear=lazy):
        layers = ((linear(width, width), nn.ReLU()) for _ in range(LAYERS))
        return nn.Sequential(*(module for pair in layers for module in pair))

    def sized():
        with torch.device("meta"):
            return make(nn.Linear)

    on_meta, waiting = sized(), make()
    yield Case(
        "shapes of 20 x 2,048",
        (
            ours("infer_shapes", lambda: d2c.infer_shapes(waiting, (batch, width))),
            limit("sized net on meta", lambda: on_meta(X.to("meta"))),
        ),
        (Target("infer_shapes", 1.5, "sized net on meta"),),
    )
    yield Case(
        "first forward of 20 x 2,048",
        (
            ours("materialize", lambda net: d2c.materialize(net, X), fresh=make),
            peer("plain first forward", lambda net: net(X), fresh=make),
            peer("materialize a batch of one", lambda net: d2c.materialize(net, one), fresh=make),
            limit("construct it sized", lambda: make(nn.Linear)),
        ),
        (
            Target("materialize", 1, "plain first forward"),
            Target(
                "materialize",
                1.05,
                "materialize a batch of one",
                why="a large batch goes through a copy on meta first, one of one does not",
            ),
            Target("materialize", 1.5, "construct it sized"),
        ),
        headline="first pass through 20 lazy layers of 2,048, batch 1,024",
        heavy=True,
    )
