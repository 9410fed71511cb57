"""Exercises of section 1, layers and blocks."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .exercise import Exercise, expect


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


def _broken_finds_nothing_in_a_good_net(broken: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(20, 5), nn.ReLU(), nn.Linear(5, draw.randint(1, 9)))
    found = broken(net)
    expect(
        found == set(),
        f"In an ordinary nn.Sequential everything works, but you found {found!r}.",
        "Try each thing on a copy, copy.deepcopy(net): `.double()` changes the net itself.",
    )


def _broken_finds_what_a_list_breaks(broken: Any, draw: random.Random) -> None:
    layers: list[nn.Module] = [nn.Linear(20, 20) for _ in range(draw.randint(2, 4))]
    found = broken(_Listed(layers, hidden=len(layers)))
    expect(
        "forward" not in found,
        "The forward pass works: Python calls the layers in the list as it calls any others.",
    )
    for name, hint in {
        "state_dict": "`state_dict()` of a net with layers should not be empty.",
        "optimizer": "Give `net.parameters()` to torch.optim.SGD and see what it says.",
        "double": "After `net.double()` feed it a batch of float64.",
    }.items():
        expect(name in found, f"One thing more is broken: {name}.", hint)


def _broken_finds_what_half_a_list_breaks(broken: Any, draw: random.Random) -> None:
    layers: list[nn.Module] = [nn.Linear(20, 20) for _ in range(4)]
    found = broken(_Listed(layers, hidden=draw.randint(1, 3)))
    expect(
        "optimizer" not in found,
        "When some layers are registered the optimizer starts, and leaves the rest untrained.",
    )
    expect(
        "double" in found,
        "A net with only some of its layers in a plain list is broken too.",
        "After `net.double()` the layers in the list still hold float32: run a float64 batch.",
    )


def _parallel_joins_outputs(answer: Any, draw: random.Random) -> None:
    inputs, left, right = draw.randint(2, 6), draw.randint(1, 6), draw.randint(7, 9)
    first, second = nn.Linear(inputs, left), nn.Linear(inputs, right)
    X = torch.rand(*[2, 3][: draw.randint(1, 2)], inputs)
    try:
        Y = answer(first, second)(X)
    except RuntimeError as error:
        expect(
            "mat1 and mat2" not in str(error),
            "The second net must read the same X as the first, not what the first one gave.",
            "In `forward`, call both nets with X: self.first(X), self.second(X).",
        )
        expect(
            "size" not in str(error).lower(),
            "The outputs may have different widths: join them along the last axis.",
            "torch.cat((a, b), dim=-1) joins along the last axis.",
        )
        raise
    expect(
        isinstance(Y, Tensor),
        f"`forward` must give one tensor, got {type(Y).__name__}.",
        "torch.cat((a, b), dim=-1) makes one tensor of the two.",
    )
    expect(
        Y.shape == (*X.shape[:-1], left + right),
        f"For X of shape {tuple(X.shape)} and outputs of width {left} and {right} the output "
        f"must have shape {(*X.shape[:-1], left + right)}, got {tuple(Y.shape)}.",
        "torch.cat((a, b), dim=-1) joins along the last axis, dim=1 that of a matrix only.",
    )
    expect(
        torch.equal(Y, torch.cat((first(X), second(X)), dim=-1)),
        "The columns of the first net come first, and both nets read the same X.",
    )


def _parallel_registers_both(answer: Any, draw: random.Random) -> None:
    block = answer(nn.Linear(2, 3), nn.Linear(2, 4))
    expect(
        isinstance(block, nn.Module),
        f"Parallel(first, second) must be an nn.Module, got a {type(block).__name__}.",
        "Write `class Parallel(nn.Module)`, with `__init__(self, first, second)` and `forward`.",
    )
    expect(
        len(list(block.parameters())) == 4,
        "The block must know the parameters of both nets; list(block.parameters()) tells.",
        "Assign each net to an attribute of its own in `__init__`, after super().__init__().",
    )


def _repeat_runs_in_a_row(repeat: Any, draw: random.Random) -> None:
    made: list[nn.Module] = []

    def make() -> nn.Module:
        made.append(nn.Linear(4, 4))
        return made[-1]

    times = draw.randint(2, 5)
    net = repeat(make, times)
    expect(
        isinstance(net, nn.Module),
        f"repeat(make, times) must return an nn.Module, got {type(net).__name__}.",
        "Put the blocks into an nn.Sequential.",
    )
    expect(
        len(made) > 1,
        "`make` was called only once, so all places share one block and its parameters.",
        "Call make() once for every place: [make() for _ in range(times)].",
    )
    X = torch.rand(2, 4)
    wanted = X
    for block in made[:times]:
        wanted = block(wanted)
    expect(
        len(made) == times and torch.allclose(net(X), wanted),
        f"For times={times} the net must run {times} blocks, one after the other.",
        "nn.Sequential(*(make() for _ in range(times))) does both.",
    )


def _repeat_has_parameters_of_its_own(repeat: Any, draw: random.Random) -> None:
    times = draw.randint(2, 5)
    net = repeat(lambda: nn.Linear(4, 4), times)
    found = len(list(net.parameters()))
    expect(
        found == 2 * times,
        f"{times} blocks with two parameters each make {2 * times}, got {found}.",
        "A block placed several times is counted once: call make() for every place, and keep "
        "the blocks where they are registered, in nn.Sequential or nn.ModuleList.",
    )


def _allowed_tells_what_may_come_early(allowed: Any, draw: random.Random) -> None:
    may = [draw.random(), "relu", torch.rand(2), [nn.ReLU()]]
    may_not = [nn.Linear(2, 3), nn.Parameter(torch.rand(2)), nn.ModuleList([nn.ReLU()])]
    for value in (*may, *may_not):
        expect(
            bool(allowed(value)) == any(value is early for early in may),
            f"Your function is wrong about a {type(value).__name__}.",
            "Do the experiment inside the function: a class whose `__init__` assigns the value "
            "before super().__init__(), made within try and except AttributeError.",
        )


class _Reads(TorchFunctionMode):
    """Counts the numbers that Python reads out of tensors."""

    READERS = (Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__)
    count = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += func in self.READERS
        return func(*args, **(kwargs or {}))


def _halve_by_hand(X: Tensor) -> Tensor:
    rows = []
    for row in X:
        while row.abs().sum() > 1:
            row = row / 2
        rows.append(row)
    return torch.stack(rows)


def _halve_treats_each_row_alone(halve: Any, draw: random.Random) -> None:
    X = torch.randn(draw.randint(2, 5), draw.randint(1, 4)) * 10 ** draw.uniform(-1, 3)
    before = X.clone()
    try:
        Y = halve(X)
    except RuntimeError as error:
        expect(
            "ambiguous" not in str(error),
            "A comparison of a whole batch has one answer per row, and `while` wants one answer.",
            "Ask (sums > 1).any(), and halve only the rows that need it, with torch.where.",
        )
        raise
    expect(
        torch.equal(X, before),
        "The X that was given to the function has changed: do not use `/=` on it.",
        "X = X / 2 makes a new tensor; X /= 2 writes into the one that the caller holds.",
    )
    expect(
        isinstance(Y, Tensor) and Y.shape == X.shape and torch.allclose(Y, _halve_by_hand(X)),
        "Some row was halved too often or not often enough: each row stops on its own.",
        "X.abs().sum(dim=1, keepdim=True) > 1 is True for the rows that must still be halved.",
    )


def _halve_reads_few_numbers(halve: Any, draw: random.Random) -> None:
    X = torch.full((50, 2), float(2 ** draw.randint(2, 6)))
    with _Reads() as reads:
        halve(X)
    expect(
        reads.count <= 12,
        f"For 50 rows Python read {reads.count} numbers; on an accelerator each is a wait.",
        "Loop over the rounds and not over the rows: one .any() a round is enough.",
    )


EXERCISES = (
    Exercise(
        "blocks.list",
        'a function: `broken(net)` is the set of what breaks in a net for X (n, 20): "forward", '
        '"state_dict" (is empty), "optimizer" (refuses), "double" (float64 fails)',
        {
            "finds nothing in a good net": _broken_finds_nothing_in_a_good_net,
            "finds what a plain list breaks": _broken_finds_what_a_list_breaks,
            "finds what half a list breaks": _broken_finds_what_half_a_list_breaks,
        },
    ),
    Exercise(
        "blocks.parallel",
        "a class: `Parallel(first, second)(X)` is `first(X)` and `second(X)` side by side",
        {
            "gives the outputs of both nets side by side": _parallel_joins_outputs,
            "registers both nets": _parallel_registers_both,
        },
    ),
    Exercise(
        "blocks.factory",
        "a function: `repeat(make, times)` is a net of `times` blocks in a row, from `make()`",
        {
            "runs all blocks in a row": _repeat_runs_in_a_row,
            "gives each block parameters of its own": _repeat_has_parameters_of_its_own,
        },
    ),
    Exercise(
        "blocks.super",
        "a function: `allowed(value)` is whether `self.x = value` works in the `__init__` of a "
        "module before `super().__init__()`",
        {"tells what may come before super().__init__()": _allowed_tells_what_may_come_early},
    ),
    Exercise(
        "blocks.item",
        "a function: `halve(X)` is X (n, d) with each row halved until its absolute sum is at "
        "most 1",
        {
            "treats each row on its own": _halve_treats_each_row_alone,
            "reads few numbers out of tensors": _halve_reads_few_numbers,
        },
    ),
)
