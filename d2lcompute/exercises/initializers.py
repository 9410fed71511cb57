"""Exercises of section 3, initializers."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import nn

from ..blocks import mlp
from ..initializers import Initializer
from ..initializers.initialize import initialize
from .exercise import Exercise, expect


def _signals(net: nn.Sequential, width: int) -> list[float]:
    """The deviation of what each `Tanh` of `net` gives for a random batch."""
    signals = []
    with torch.no_grad():
        X = torch.randn(256, width)
        for layer in net:
            X = layer(X)
            if isinstance(layer, nn.Tanh):
                signals.append(X.std().item())
    return signals


def _is_initializer(found: object) -> None:
    expect(
        isinstance(found, Initializer),
        f"An initializer is wanted, got {type(found).__name__}.",
        "It is an object, so call the class: init.Normal(0.01), and not init.Normal.",
    )


def _builtin_keeps_the_signal(choose: Any, draw: random.Random) -> None:
    depth, width = draw.randint(5, 60), draw.choice([50, 100, 200])
    start = choose(depth)
    _is_initializer(start)
    net = mlp(*[width] * depth, 1, activation="tanh", in_units=width)
    initialize(net, start)
    weakest = min(_signals(net, width))
    expect(
        weakest > 0.1,
        f"With {depth} layers of width {width} the signal shrinks to {weakest:.2g}.",
        "The deviation of the weights must grow as the width shrinks: Xavier and Kaiming do that.",
        'tanh shrinks the signal a little in each layer; nn.init.calculate_gain("tanh") tells by '
        "how much the weights must make up for it: init.Xavier(gain=5 / 3).",
    )


def _builtin_does_not_saturate(choose: Any, draw: random.Random) -> None:
    depth, width = draw.randint(5, 60), 100
    net = mlp(*[width] * depth, 1, activation="tanh", in_units=width)
    initialize(net, choose(depth))
    X = torch.randn(64, width)
    net(X).sum().backward()
    weights: list[Any] = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    first, last = (weight.grad.norm().item() for weight in (weights[0], weights[-2]))
    expect(
        1e-4 < first / last < 1e4,
        f"The gradient of the first layer is {first / last:.1g} times that of the last: most of "
        "the units are at the flat ends of tanh.",
        "Smaller weights keep tanh near its middle, where it has a slope.",
    )


def _drawn(answer: Any) -> torch.Tensor:
    start = answer()
    _is_initializer(start)
    layer = nn.Linear(100, 200)
    initialize(layer, start, force_reinit=True)
    return layer.weight.detach()


def _custom_takes_three_values(answer: Any, draw: random.Random) -> None:
    values = set(_drawn(answer).flatten().tolist())
    expect(
        values <= {-1.0, 0.0, 1.0},
        f"The values must be -1, 0 and 1, got {len(values)} different ones.",
        "torch.randint(0, 4, data.shape) draws four equally likely numbers to build on.",
    )
    expect(
        values == {-1.0, 0.0, 1.0},
        f"All of -1, 0 and 1 must occur, got {sorted(values)}.",
        "Write into `data` in place: data.copy_(...), not data = ...",
    )


def _custom_has_the_right_shares(answer: Any, draw: random.Random) -> None:
    data = _drawn(answer)
    shares = [(data == value).float().mean().item() for value in (-1, 0, 1)]
    expect(
        all(
            abs(share - wanted) < 0.03
            for share, wanted in zip(shares, (0.25, 0.5, 0.25), strict=True)
        ),
        "The shares of -1, 0 and 1 must be a quarter, a half and a quarter, got "
        f"{', '.join(f'{share:.2f}' for share in shares)}.",
        "Two fair coins, one minus the other, have this distribution.",
    )


def _custom_draws_anew(answer: Any, draw: random.Random) -> None:
    first, second = _drawn(answer), _drawn(answer)
    expect(
        not torch.equal(first, second),
        "Two layers got exactly the same values.",
        "Do not call torch.manual_seed in an initializer: the random state is the user's.",
    )


def _one_reaches_the_parameter(xavier_one: Any, draw: random.Random) -> None:
    net = mlp(40, 30, 10, in_units=50)
    name = draw.choice(["0.weight", "2.weight", "4.weight"])
    weight = net.get_parameter(name)
    before = weight.detach().clone()
    xavier_one(net, name)
    expect(
        net.get_parameter(name) is weight,
        f"{name} was replaced by another parameter, which an optimizer would not know.",
        "Fill the parameter that is there, in place.",
    )
    expect(
        not torch.equal(weight, before),
        f"{name} still has its old values.",
        "net.get_parameter(name) finds it; d2c.initialize takes a parameter as well as a net, "
        "with force_reinit=True where it was initialized before.",
    )
    bound = (6 / sum(weight.shape)) ** 0.5
    deviation = weight.std().item() * 3**0.5 / bound
    expect(
        0.9 < deviation < 1.1,
        f"The deviation is {deviation:.2f} times that of Xavier.",
        "init.Xavier(), or nn.init.xavier_uniform_(weight), without a gain.",
    )


def _one_leaves_the_rest(xavier_one: Any, draw: random.Random) -> None:
    net = mlp(40, 30, 10, in_units=50)
    name = draw.choice(["0.weight", "2.weight", "4.weight"])
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    xavier_one(net, name)
    changed = [n for n, p in net.named_parameters() if n != name and not torch.equal(p, before[n])]
    expect(
        not changed,
        f"{', '.join(changed)} changed too.",
        'A pattern is matched at the start of a name, and "." stands for any character: '
        "re.escape(name), or hand over the parameter itself.",
    )


EXERCISES = (
    Exercise(
        "initializers.builtin",
        "a function: `choose(depth)` is a built-in initializer for a net of that depth, any width, "
        "with tanh after each layer",
        {
            "keeps the signal above 0.1 in every layer": _builtin_keeps_the_signal,
            "keeps the gradient alive": _builtin_does_not_saturate,
        },
    ),
    Exercise(
        "initializers.custom",
        "a class: `Ternary()` fills weights with -1, 0 and 1, a quarter, a half and a quarter",
        {
            "takes the values -1, 0 and 1": _custom_takes_three_values,
            "takes them with the right shares": _custom_has_the_right_shares,
            "draws anew each time": _custom_draws_anew,
        },
    ),
    Exercise(
        "initializers.one-parameter",
        "a function: `xavier_one(net, name)` gives the parameter of that name values by Xavier",
        {
            "reaches the parameter": _one_reaches_the_parameter,
            "leaves all others as they are": _one_leaves_the_rest,
        },
    ),
)
