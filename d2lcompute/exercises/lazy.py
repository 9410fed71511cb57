"""Exercises of section 4, deferred initialization."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..words.language import _, mark
from .exercise import Exercise, NotYetError, expect
from .expectations import (
    has_shape,
    module,
    names,
    net_kept,
    number,
    returned,
    sequence,
    shown,
    tensor,
    trainable,
    truth,
)


def _mixed_net(draw: random.Random) -> tuple[nn.Sequential, Tensor]:
    """Sized and lazy layers that fit, at least one of each, the first one sized."""
    sizes = [draw.randint(2, 9) for _layer in range(6)]
    net = nn.Sequential(nn.Linear(sizes[0], sizes[1]))
    lazy = [True, True, False, False]
    draw.shuffle(lazy)
    for (inputs, outputs), is_deferred in zip(pairwise(sizes[1:]), lazy, strict=True):
        net.append(nn.LazyLinear(outputs) if is_deferred else nn.Linear(inputs, outputs))
    return net, torch.rand(3, sizes[0])


def _moments_are_told(moments: Any, draw: random.Random) -> None:
    net, X = _mixed_net(draw)
    lazy = {name for name, p in net.named_parameters() if is_lazy(p)}
    sized = {name for name, p in net.named_parameters() if not is_lazy(p)}
    at_once, later = map(names, sequence(moments(net, X), 2))
    found = at_once | later
    fact = _("No bias is in your lists.")
    expect(any("bias" in name for name in found), "no biases", fact)
    fact = _("In both lists is: {names}.", names=", ".join(sorted(at_once & later)[:3]))
    expect(not at_once & later, "twice", fact)
    fact = _("In the first list is {names}, which waits for the first pass.",
             names=", ".join(sorted(at_once & lazy)))  # fmt: skip
    expect(not at_once & lazy, "too early", fact)
    fact = _("In the second list is {names}, which `initialize` fills at once.",
             names=", ".join(sorted(later & sized)))  # fmt: skip
    expect(not later & sized, "too late", fact)
    fact = _("This is in no list: {names}.", names=", ".join(sorted((lazy | sized) - found)[:3]))
    expect(found == lazy | sized, "missing", fact)


def _misfit_is_found(first_misfit: Any, draw: random.Random) -> None:
    for wrong in (0, draw.randint(1, 3)):
        _check_misfit(first_misfit, draw, wrong)


def _check_misfit(first_misfit: Any, draw: random.Random, wrong: int) -> None:
    net, X = _mixed_net(draw)
    net[wrong] = nn.Linear(11, draw.randint(2, 9))  # no layer before it gives 11
    net[wrong + 1] = nn.Linear(12, 4)  # nor is this one given what it wants
    for layer in range(wrong + 2, len(net)):
        net[layer] = nn.LazyLinear(3)
    with net_kept(net):
        found = first_misfit(net, X)
    fact = _("Layer {wrong} refuses its input, and you found none.", wrong=wrong)
    expect(found is not None, "none found", fact)
    fact = _(
        "Layer {wrong} is the first that refuses, and you found {found}.",
        wrong=wrong,
        found=shown(found),
    )
    expect(number(found) == wrong, "another layer", fact)


def _fitting_net_has_no_misfit(first_misfit: Any, draw: random.Random) -> None:
    net, X = _mixed_net(draw)
    with net_kept(net):
        found = first_misfit(net, X)
    fact = _("All layers fit, and you found {found}.", found=shown(found))
    expect(found is None, "false alarm", fact)


def _any_width_takes_all(answer: Any, draw: random.Random) -> None:
    units = draw.randint(2, 5)
    block = module(answer(units)).eval()
    count = sum(1 for _parameter in block.parameters())
    sizes = [size for p in block.parameters() if not is_lazy(p) for size in p.shape]
    beyond = 1 + max(sizes, default=0)  # what a block has a row of a table for, it may refuse
    for width in (*draw.sample(range(2, 40), 3), max(beyond, draw.randint(100, 300))):
        X = torch.randn(4, width)
        Y = tensor(block(X))
        has_shape(Y, (4, units), X)
        same = torch.allclose(Y, block(X), atol=1e-6)
        expect(same, "random", _("The same batch gives something else the second time."))
        apart = torch.allclose(Y[:2], block(X[:2]), atol=1e-4)
        fact = _("The output of a row changes with the other rows of the batch.")
        expect(apart, "rows mix", fact)
    fact = _("With each new width the block gets new parameters.")
    expect(sum(1 for _parameter in block.parameters()) == count, "grows", fact)


def _any_width_uses_every_input(answer: Any, draw: random.Random) -> None:
    block = answer(8).eval()
    for width in (draw.randint(4, 9), draw.randint(40, 60)):
        X = torch.randn(6, width)
        Y = tensor(block(X.requires_grad_()))
        gradient = torch.zeros(6, width)
        if Y.requires_grad:
            (gradient,) = torch.autograd.grad(Y.sum(), X, allow_unused=True, materialize_grads=True)
        X, Y = X.detach(), Y.detach()
        for place in range(width):
            moved = X.clone().repeat(2, 1)
            moved[:6, place] += 20
            moved[6:, place] -= 20
            same = torch.allclose(block(moved), Y.repeat(2, 1), atol=1e-6)
            fact = _(
                "In a batch of width {width} the input at place {place} changes nothing.",
                width=width,
                place=place,
            )
            expect(not same or gradient[:, place].any(), "unused input", fact)


def _any_width_learns(answer: Any, draw: random.Random) -> None:
    block = answer(draw.randint(2, 5))
    expect(list(block.parameters()), "no parameters", _("The block has no parameters."))
    trainable(block, torch.randn(16, draw.randint(4, 9)))


def _accepts_tells_by_experiment(accepts: Any, draw: random.Random) -> None:
    width = draw.randint(3, 9)
    first = (draw.randint(1, 4), width)
    seconds = [((draw.randint(5, 9), width), True), ((first[0], width + 1), False),
               ((width, width - 1), False), ((2, 3, width), True), ((width,), True)]  # fmt: skip
    for second, wanted in draw.sample(seconds, len(seconds)):
        net = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.LazyLinear(2))
        with net_kept(net):
            found = truth(accepts(net, first, second))
        fact = _("After {first} the net takes {second}.", first=first, second=second)
        expect(found or not wanted, "too strict", fact)
        fact = _("After {first} the net refuses {second}.", first=first, second=second)
        expect(wanted or not found, "too lax", fact)


def _lazy_net(draw: random.Random) -> tuple[nn.Module, Tensor]:
    net = nn.Sequential(
        nn.LazyLinear(draw.randint(3, 6)), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(2)
    )
    net[0].eval()  # so that neither `net.train()` nor `net.eval()` gives the modes back
    return net, torch.randn(8, draw.randint(3, 6))


def _optimizer(prepare: Any, net: nn.Module, X: Tensor) -> torch.optim.Optimizer:
    optimizer = returned(prepare(net, X))
    fact = _("An optimizer is wanted, your code gave {value}.", value=shown(optimizer))
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise NotYetError("no optimizer", fact)
    fact = _("SGD is wanted, and your optimizer is {kind}.", kind=type(optimizer).__name__)
    expect(isinstance(optimizer, torch.optim.SGD), "another optimizer", fact)
    return optimizer


def _prepare_groups_by_shape(prepare: Any, draw: random.Random) -> None:
    net, X = _lazy_net(draw)
    optimizer = _optimizer(prepare, net, X)
    net(X)
    decays = {id(p): g.get("weight_decay") for g in optimizer.param_groups for p in g["params"]}
    for name, parameter in net.named_parameters():
        fact = _("The optimizer does not know {name}.", name=name)
        expect(id(parameter) in decays, "unknown parameter", fact)
        decay = decays[id(parameter)]
        axes = parameter.dim()
        fact = _("The decay of {name} is {decay}, and it has this shape: {shape}.",
                 name=name, decay=decay, shape=tuple(parameter.shape))  # fmt: skip
        expect(decay == (0.1 if axes >= 2 else 0), "other decay", fact)
    rates = {group["lr"] for group in optimizer.param_groups}
    fact = _("The learning rate is {rates}.", rates=", ".join(map(str, sorted(rates))))
    expect(rates == {0.1}, "other rate", fact)


def _prepare_trains_all(prepare: Any, draw: random.Random) -> None:
    net, X = _lazy_net(draw)
    optimizer = _optimizer(prepare, net, X)
    net(X).pow(2).sum().backward()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer.step()
    still = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    still = [name for name in still if name != "0.bias"]  # BatchNorm takes it away again
    fact = _("A step of the optimizer does not change this: {names}.", names=", ".join(still))
    expect(not still, "not trained", fact)


def _prepare_leaves_no_trace(prepare: Any, draw: random.Random) -> None:
    net, X = _lazy_net(draw)
    modes = [one.training for one in net.modules()]
    prepare(net, X)
    same = modes == [one.training for one in net.modules()]
    expect(same, "mode changed", _("The net is no longer in the mode it was in."))
    statistics = net.get_submodule("1")
    seen = getattr(statistics, "num_batches_tracked", None)
    fact = _("The statistics of the BatchNorm have already seen a batch.")
    expect(seen is None or int(seen) == 0, "statistics moved", fact)
    grads = any(p.grad is not None for p in net.parameters() if not is_lazy(p))
    expect(not grads, "gradients left", _("There are gradients before the first step."))


EXERCISES = (
    Exercise("lazy.first-only", {mark("tells which parameters wait"): _moments_are_told}),
    Exercise(
        "lazy.mismatch",
        {
            mark("finds the layer"): _misfit_is_found,
            mark("finds nothing where all fit"): _fitting_net_has_no_misfit,
        },
    ),
    Exercise(
        "lazy.varying",
        {
            mark("takes inputs of every width"): _any_width_takes_all,
            mark("uses every input"): _any_width_uses_every_input,
            mark("can learn"): _any_width_learns,
        },
        cases=3,
    ),
    Exercise("lazy.new-shape", {mark("tells by experiment"): _accepts_tells_by_experiment}),
    Exercise(
        "lazy.optimizer",
        {
            mark("lets weights decay, and nothing else"): _prepare_groups_by_shape,
            mark("trains every parameter"): _prepare_trains_all,
            mark("leaves no trace of a first pass"): _prepare_leaves_no_trace,
        },
        cases=5,
    ),
)
