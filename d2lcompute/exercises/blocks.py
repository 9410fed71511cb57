"""Exercises of section 1, layers and blocks."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..passes.hooks import Functions
from ..words.language import _, mark
from .exercise import Exercise, NotYetError, expect
from .expectations import (
    batch_kept,
    computed,
    has_shape,
    module,
    names,
    net_kept,
    shown,
    tensor,
    trainable,
    truth,
    watched,
)

_PARTS = {"forward", "state_dict", "optimizer", "double"}
_MOST_STEPS = 10_000
_MOST_READS = 12


class _Listed(nn.Module):
    """The first `hidden` layers lie in a plain list, the others in a `ModuleList`."""

    def __init__(self, layers: list[nn.Module], hidden: int) -> None:
        super().__init__()
        self.hidden = layers[:hidden]
        self.shown = nn.ModuleList(layers[hidden:])

    def forward(self, X: Tensor) -> Tensor:
        for layer in (*self.hidden, *self.shown):
            X = layer(X)
        return X


def _found(broken: Any, net: nn.Module) -> set[str]:
    with net_kept(net):
        found = names(broken(net))
    others = ", ".join(sorted(found - _PARTS))
    expect(
        not others, "other words", _("You named {names}, which is none of the four.", names=others)
    )
    return found


def _broken_finds_nothing_in_a_good_net(broken: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(20, 5), nn.ReLU(), nn.Linear(5, draw.randint(1, 9)))
    found = ", ".join(sorted(_found(broken, net)))
    fact = _("In an ordinary `nn.Sequential` all four work, but you found: {names}.", names=found)
    expect(not found, "false alarm", fact)


def _broken_finds_a_forward_pass_that_fails(broken: Any, draw: random.Random) -> None:
    found = _found(broken, nn.Sequential(nn.Linear(21, draw.randint(1, 9))))
    fact = _("The forward pass of this net fails, and you found: {names}.",
             names=", ".join(sorted(found)) or "-")  # fmt: skip
    expect("forward" in found, "misses forward", fact)
    expect(found <= {"forward", "double"}, "false alarm", fact)


def _broken_finds_what_a_list_breaks(broken: Any, draw: random.Random) -> None:
    layers: list[nn.Module] = [nn.Linear(20, 20) for _ in range(draw.randint(2, 4))]
    found = _found(broken, _Listed(layers, hidden=len(layers)))
    fact = _("The forward pass of such a net works, but you found: forward.")
    expect("forward" not in found, "forward works", fact)
    for name in ("state_dict", "optimizer", "double"):
        fact = _("With all layers in a plain list this is broken too: {name}.", name=name)
        expect(name in found, f"misses {name}", fact)


def _broken_finds_what_half_a_list_breaks(broken: Any, draw: random.Random) -> None:
    layers: list[nn.Module] = [nn.Linear(20, 20) for _ in range(4)]
    found = _found(broken, _Listed(layers, hidden=draw.randint(1, 3)))
    for name, works in {
        "forward": "forward works",
        "optimizer": "some are registered",
        "state_dict": "some are registered",
    }.items():
        fact = _("With some of the layers registered this works, but you found: {name}.", name=name)
        expect(name not in found, works, fact)
    fact = _("With some of the layers in a plain list this is broken: {name}.", name="double")
    expect("double" in found, "misses double", fact)


def _two_nets(draw: random.Random) -> tuple[nn.Linear, nn.Linear, Tensor]:
    inputs = draw.randint(2, 6)
    widths = draw.sample([7, 8, 9, 10], 2)  # none fits as an input, and no two are alike
    first, second = (nn.Linear(inputs, width) for width in widths)
    return first, second, torch.randn(draw.randint(2, 4), inputs)


def _parallel_joins_outputs(answer: Any, draw: random.Random) -> None:
    first, second, X = _two_nets(draw)
    Y = computed(answer(first, second), X)
    left, right = first(X), second(X)
    has_shape(Y, (len(X), left.shape[1] + right.shape[1]), X)
    swapped = torch.allclose(Y, torch.cat((right, left), dim=1))
    expect(not swapped, "swapped", _("The columns of the second net come first."))
    same = torch.allclose(Y, torch.cat((left, right), dim=1))
    expect(same, "other numbers", _("The shape is right, but these are not the outputs of both."))


def _parallel_registers_both(answer: Any, draw: random.Random) -> None:
    first, second, _X = _two_nets(draw)
    block = module(answer(first, second))
    wanted = {id(p) for net in (first, second) for p in net.parameters()}
    found = [id(p) for p in block.parameters()]
    fact = _("The two nets have 4 parameters, and the block knows {count}.", count=len(found))
    expect(found, "not registered", fact)
    expect(len(found) == 4, "some registered", fact)
    fact = _("The parameters of the block are not those of the nets that were handed in.")
    expect(set(found) == wanted, "copies", fact)


def _parallel_learns(answer: Any, draw: random.Random) -> None:
    first, second, X = _two_nets(draw)
    block = answer(first, second)
    trainable(block, X)


class _Maker:
    """Gives layers that write down who ran, on what, and what came out."""

    def __init__(self) -> None:
        self.ran: list[tuple[nn.Linear, Tensor, Tensor]] = []
        ran = self.ran

        class Layer(nn.Linear):
            def forward(self, X: Tensor) -> Tensor:
                Y = super().forward(X)
                ran.append((self, X, Y))
                return Y

        self.layer = Layer

    def __call__(self) -> nn.Linear:
        return self.layer(4, 4)


def _repeat_runs_in_a_row(repeat: Any, draw: random.Random) -> None:
    make, times = _Maker(), draw.randint(2, 5)
    net = module(repeat(make, times))
    X = torch.rand(2, 4)
    Y = tensor(net(X))
    blocks = [block for block, _, _ in make.ran]
    fact = _("For times={times} your net ran {count} blocks.", times=times, count=len(blocks))
    expect(len(blocks) == times, "another number", fact)
    fact = _("One block ran {count} times.", count=max(blocks.count(one) for one in blocks))
    expect(len(set(blocks)) == times, "one block", fact)
    for (_block, _given, before), (_block, given, _after) in pairwise(make.ran):
        fact = _("A block did not get what the block before it gave.")
        expect(torch.equal(before, given), "not in a row", fact)
    fact = _("The output of the net is not that of its last block.")
    expect(torch.equal(Y, make.ran[-1][2]), "not in a row", fact)


def _repeat_has_parameters_of_its_own(repeat: Any, draw: random.Random) -> None:
    times = draw.randint(2, 5)
    net = repeat(_Maker(), times)
    weights = [p for p in net.parameters() if p.dim() == 2]
    fact = _(
        "The net knows {count} weights of its {times} blocks.", count=len(weights), times=times
    )
    expect(len(weights) == times, "not registered", fact)
    fact = _("All blocks begin with the same values.")
    expect(not torch.equal(weights[0], weights[-1]), "equal blocks", fact)
    trainable(net, torch.rand(2, 4))


def _may_come_early(value: object) -> bool:
    class Early(nn.Module):
        def __init__(self) -> None:
            self.x = value
            super().__init__()

    try:
        Early()
    except AttributeError:
        return False
    return True


def _allowed_tells_what_may_come_early(allowed: Any, draw: random.Random) -> None:
    values = [
        draw.random(), "relu", None, {"a": 1}, torch.rand(2), [nn.ReLU()], nn.Linear, torch.relu,
        nn.Linear(2, 3), nn.Parameter(torch.rand(2)), nn.ModuleList([nn.ReLU()]),
    ]  # fmt: skip
    for value in draw.sample(values, len(values)):
        found, works = truth(allowed(value)), _may_come_early(value)
        kind = f"{shown(value)}" if isinstance(value, type) else type(value).__name__
        fact = _("`self.x = value` works for this: {kind}. You say that it does not.", kind=kind)
        expect(found or not works, "too strict", fact)
        fact = _("`self.x = value` fails for this: {kind}. You say that it works.", kind=kind)
        expect(works or not found, "too lax", fact)


class _Watch(Functions):
    """Counts the numbers that Python reads out of tensors, and stops what does not end."""

    READERS = (Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__)

    def __init__(self) -> None:
        super().__init__(self._count)
        self.reads = 0
        self.steps = 0

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.reads += func in self.READERS
        self.steps += 1
        if self.steps > _MOST_STEPS:
            fact = _("Your loop still ran after {steps:,} operations.", steps=_MOST_STEPS)
            raise NotYetError("no end", fact)
        return func(*args, **kwargs)


def _halve_treats_each_row_alone(halve: Any, draw: random.Random) -> None:
    X = torch.randn(draw.randint(2, 5), draw.randint(1, 4)) * 10 ** draw.uniform(-1, 3)
    X[draw.randrange(len(X))] /= 1e4  # one row needs no halving, whatever the others need
    with batch_kept(X), _Watch():
        Y = tensor(halve(X))
    has_shape(Y, X.shape, X)
    sums, before = Y.abs().sum(dim=1), X.abs().sum(dim=1)
    fact = _("The absolute sum of a row is still {sum:.3g}.", sum=sums.max().item())
    expect(sums.max() <= 1 + 1e-5, "not enough", fact)
    powers = torch.where(sums > 0, torch.log2(before / sums), 0.0)
    halved = torch.allclose(Y * 2 ** powers.round()[:, None], X, rtol=1e-4)
    expect(halved, "other numbers", _("A row is not what halving gives."))
    often = (powers.round() > 0) & (2 * sums <= 1)
    fact = _("A row was halved to {sum:.3g}, which is more often than needed.", sum=sums.min())
    expect(not often.any(), "too often", fact)


def _halve_reads_few_numbers(halve: Any, draw: random.Random) -> None:
    X = torch.full((50, 2), float(2 ** draw.randint(2, 6)))
    with _Watch() as watch:
        halve(X)
    fact = _("For 50 rows Python read {count} numbers out of tensors.", count=watch.reads)
    expect(watch.reads <= _MOST_READS, "many reads", fact)


def _halve_lets_gradients_through(halve: Any, draw: random.Random) -> None:
    X = (torch.randn(3, 4) * 10).requires_grad_()
    Y = halve(X)
    watched(Y)
    Y.sum().backward()
    assert X.grad is not None
    same = torch.allclose(X.grad * X, Y, rtol=1e-3, atol=1e-6)
    expect(same, "other gradient", _("The gradient is not that of halving."))


EXERCISES = (
    Exercise(
        "blocks.list",
        {
            mark("finds nothing in a good net"): _broken_finds_nothing_in_a_good_net,
            mark("finds what a plain list breaks"): _broken_finds_what_a_list_breaks,
            mark("finds what half a list breaks"): _broken_finds_what_half_a_list_breaks,
            mark("finds a forward pass that fails"): _broken_finds_a_forward_pass_that_fails,
        },
    ),
    Exercise(
        "blocks.parallel",
        {
            mark("gives the outputs of both nets side by side"): _parallel_joins_outputs,
            mark("registers both nets"): _parallel_registers_both,
            mark("lets both of them learn"): _parallel_learns,
        },
    ),
    Exercise(
        "blocks.factory",
        {
            mark("runs all blocks in a row"): _repeat_runs_in_a_row,
            mark("gives each block parameters of its own"): _repeat_has_parameters_of_its_own,
        },
    ),
    Exercise(
        "blocks.super",
        {
            mark("tells what may come before `super().__init__()`"): (
                _allowed_tells_what_may_come_early
            )
        },
        cases=3,
    ),
    Exercise(
        "blocks.item",
        {
            mark("treats each row on its own"): _halve_treats_each_row_alone,
            mark("reads few numbers out of tensors"): _halve_reads_few_numbers,
            mark("lets gradients through"): _halve_lets_gradients_through,
        },
    ),
)
