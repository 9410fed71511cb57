"""Exercises of section 4, deferred initialization."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .exercise import Exercise, expect


def _mixed_net(draw: random.Random) -> tuple[nn.Sequential, Tensor]:
    """Sized and lazy layers that fit, the first one sized."""
    sizes = [draw.randint(2, 9) for _ in range(5)]
    net = nn.Sequential(nn.Linear(sizes[0], sizes[1]))
    for inputs, outputs in pairwise(sizes[1:]):
        net.append(nn.LazyLinear(outputs) if draw.random() < 0.6 else nn.Linear(inputs, outputs))
    return net, torch.rand(3, sizes[0])


def _moments_are_told(moments: Any, draw: random.Random) -> None:
    net, X = _mixed_net(draw)
    lazy = [name for name, p in net.named_parameters() if is_lazy(p)]
    sized = [name for name, p in net.named_parameters() if not is_lazy(p)]
    found = moments(net, X)
    expect(
        isinstance(found, tuple | list) and len(found) == 2,
        f"Return two lists of names, got {type(found).__name__}.",
        "return at_once, in_the_first_pass",
    )
    at_once, later = (list(names) for names in found)
    expect(
        any("bias" in name for name in [*at_once, *later]),
        "Biases are initialized too.",
        "Give your initializer an `_init_bias(self, name, data)` beside `_init_weight`.",
    )
    expect(
        set(at_once) == set(sized),
        f"`initialize` fills at once: {', '.join(sized)}. "
        f"You found {', '.join(at_once) or 'none'}.",
        "Let the initializer append each name to a list, and look at the list before the pass.",
    )
    expect(
        later == lazy,
        f"In the first pass come, in this order: {', '.join(lazy) or 'none'}. "
        f"You found {', '.join(later) or 'none'}.",
        "What is new in the list after net(X) came in the pass.",
    )


def _misfit_is_found(first_misfit: Any, draw: random.Random) -> None:
    net, X = _mixed_net(draw)
    wrong = draw.randint(1, len(net) - 1)
    net[wrong] = nn.Linear(11, draw.randint(2, 9))  # no layer before it gives 11
    for layer in range(wrong + 1, len(net)):
        net[layer] = nn.LazyLinear(3)
    found = first_misfit(net, X)
    expect(
        found == wrong,
        f"Layer {wrong} is the first that refuses, got {found!r}.",
        "Call the layers one by one, and catch the RuntimeError of the one that does not fit.",
    )


def _fitting_net_has_no_misfit(first_misfit: Any, draw: random.Random) -> None:
    net, X = _mixed_net(draw)
    found = first_misfit(net, X)
    expect(found is None, f"In a net where all layers fit the answer is None, got {found!r}.")


def _misfit_leaves_the_net(first_misfit: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4), nn.Linear(5, 2))
    first_misfit(net, torch.rand(2, 7))
    expect(
        is_lazy(net.get_parameter("0.weight")),
        "The net is no longer lazy: the experiment settled its shapes.",
        "copy.deepcopy(net) is lazy as well: experiment on that.",
    )


def _any_width_takes_all(answer: Any, draw: random.Random) -> None:
    units = draw.randint(1, 5)
    block = answer(units)
    widths = draw.sample(range(2, 30), 3)
    for width in widths:
        try:
            Y = block(torch.rand(4, width))
        except RuntimeError as error:
            expect(
                width == widths[0],
                f"After a batch of width {widths[0]} the block refuses one of width {width}.",
                "No parameter may have a size that depends on the width: reduce that axis with "
                "a mean, or give every position to the same nn.Linear(1, units).",
            )
            raise error
        expect(
            Y.shape == (4, units),
            f"For X of shape (4, {width}) the output must have shape (4, {units}), got "
            f"{tuple(Y.shape)}.",
        )


def _any_width_uses_every_input(answer: Any, draw: random.Random) -> None:
    block = answer(8)
    X = torch.randn(2, draw.randint(4, 9), requires_grad=True)
    block(X).sum().backward()
    expect(
        X.grad is not None and bool((X.grad != 0).any(dim=0).all()),
        "Some inputs have no influence on the output.",
        "Cutting off what is too long throws it away; a mean or a sum keeps every input.",
    )
    expect(
        list(block.parameters()),
        "The block has no parameters, so it cannot learn.",
        "Give every position to one nn.Linear(1, units), and then take the mean.",
    )


def _accepts_tells_by_experiment(accepts: Any, draw: random.Random) -> None:
    width = draw.randint(2, 9)
    first = (draw.randint(1, 4), width)
    for second, wanted in [
        ((draw.randint(5, 9), width), True),
        ((first[0], width + 1), False),
        ((2, 3, width), True),
    ]:
        net = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(2))
        found = accepts(net, first, second)
        expect(
            found == wanted,
            f"After {first} the net {'takes' if wanted else 'refuses'} {second}, got {found!r}.",
            "Run torch.rand(first), then torch.rand(second), and catch a RuntimeError of the "
            "second alone.",
        )
        expect(
            is_lazy(net.get_parameter("0.weight")),
            "The net itself has lost its laziness.",
            "Experiment on copy.deepcopy(net).",
        )


EXERCISES = (
    Exercise(
        "lazy.first-only",
        "a function: `moments(net, X)` gives two lists, the names of the parameters that "
        "`initialize` fills at once and of those filled in the first pass `net(X)`",
        {"tells which parameters wait": _moments_are_told},
    ),
    Exercise(
        "lazy.mismatch",
        "a function: `first_misfit(net, X)` is the index of the first layer of a Sequential that "
        "refuses its input, or None",
        {
            "finds the layer": _misfit_is_found,
            "finds nothing where all fit": _fitting_net_has_no_misfit,
            "leaves the net as it was": _misfit_leaves_the_net,
        },
    ),
    Exercise(
        "lazy.varying",
        "a class: `AnyWidth(units)` maps X (n, d) to (n, units), one block for every d",
        {
            "takes inputs of every width": _any_width_takes_all,
            "uses every input, and can learn": _any_width_uses_every_input,
        },
    ),
    Exercise(
        "lazy.new-shape",
        "a function: `accepts(net, first, second)` is whether a lazy net that has seen an input "
        "of shape `first` takes one of shape `second`",
        {"tells by experiment": _accepts_tells_by_experiment},
    ),
)
