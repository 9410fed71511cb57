"""Constructing a net of 1 GB and giving it normal values."""

from __future__ import annotations

import torch

from .harness import Case, Target, limit, ours, peer
from .initialization import bare, initialize, visit
from .nets import wide

WRITE = "torch draws normal numbers on one thread, and one write of them takes as long"


def cases(quick):
    size = (2, 64) if quick else ()
    yield Case(
        "construct and initialize 1 GB",
        (
            ours("without seed", lambda: by_meta(size)),
            ours("with seed", lambda: by_meta(size, seed=0)),
            peer("construct, net.apply", lambda: wide(*size).apply(visit)),
            limit("one write", lambda: one_write(size)),
        ),
        (
            Target("without seed", 0.5, "construct, net.apply", WRITE),
            Target("with seed", 0.5, "construct, net.apply"),
        ),
        headline="construct and initialize 1 GB",
        heavy=True,
    )


def by_meta(size, seed=None):
    with torch.device("meta"):
        net = wide(*size)
    net.to_empty(device="cpu")
    initialize(net, seed)
    return net


def one_write(size):
    with torch.device("meta"):
        shapes = [parameter.shape for parameter in wide(*size).parameters()]
    tensors = [torch.empty(shape) for shape in shapes]
    bare(tensors)
    return tensors
