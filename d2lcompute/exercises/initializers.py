"""Exercises of section 3, initializers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..blocks import mlp
from ..initializers import Initializer
from ..initializers.initialize import initialize
from ..words.language import _, mark
from .exercise import Exercise, NotYetError, expect
from .expectations import returned, shown


def _initializer(value: Any) -> Initializer:
    fact = _("An initializer is wanted, your code gave {value}.", value=shown(returned(value)))
    if not isinstance(value, Initializer):
        is_class = isinstance(value, type) and issubclass(value, Initializer)
        raise NotYetError("a class" if is_class else "no initializer", fact)
    return value


def _deep_net(choose: Any, draw: random.Random) -> tuple[nn.Sequential, int, int]:
    depth, width = draw.randint(70, 80), draw.choice([40, 80])
    net = mlp(*[width] * depth, 1, activation="tanh", in_units=width)
    initialize(net, _initializer(choose(depth)))
    return net, depth, width


def _signals(net: nn.Sequential, width: int) -> list[float]:
    """Return the deviation of what each `Tanh` of `net` gives for a random batch."""
    signals = []
    with torch.no_grad():
        X = torch.randn(64, width)
        for layer in net:
            X = layer(X)
            if isinstance(layer, nn.Tanh):
                signals.append(X.std().item())
    return signals


def _builtin_keeps_the_signal(choose: Any, draw: random.Random) -> None:
    net, depth, width = _deep_net(choose, draw)
    signals = _signals(net, width)
    fact = _(
        "In a net of {depth} layers of width {width} the deviation of the signal falls to "
        "{weakest:.2g}.",
        depth=depth,
        width=width,
        weakest=min(signals),
    )
    expect(signals[4] > 0.1, "vanishes at once", fact)
    expect(min(signals) > 0.1, "fades away", fact)


def _builtin_does_not_saturate(choose: Any, draw: random.Random) -> None:
    net, depth, width = _deep_net(choose, draw)
    net(torch.randn(32, width)).sum().backward()
    weights: list[Any] = [layer.weight for layer in net if isinstance(layer, nn.Linear)]
    first, last = (weight.grad.norm().item() for weight in (weights[0], weights[-2]))
    fact = _(
        "With {depth} layers of width {width} the gradient of the first one is {ratio:.1g} times "
        "that of the last.",
        depth=depth,
        width=width,
        ratio=first / last if last else float("inf"),
    )
    expect(last and 1e-5 < first / last < 1e5, "saturates", fact)


def _drawn(answer: Any, layer: nn.Linear | nn.Conv1d) -> Tensor:
    """Return the weights of a layer that were all 7 before the answer's initializer filled them."""
    nn.init.constant_(layer.weight, 7.0)
    initialize(layer, _initializer(answer()), force_reinit=True)
    return layer.weight.detach()


def _custom_takes_three_values(answer: Any, draw: random.Random) -> None:
    layers: list[nn.Linear | nn.Conv1d] = [nn.Linear(100, 50), nn.Conv1d(50, 20, 5)]
    data = _drawn(answer, draw.choice(layers))
    expect((data != 7).any(), "nothing written", _("The weights have the values they had before."))
    values = data.unique().tolist()
    listed = ", ".join(f"{value:.3g}" for value in values[:5])
    fact = _("Of the values -1, 0 and 1 these came: {values}.", values=listed)
    expect(set(values) <= {-1.0, 0.0, 1.0}, "other values", fact)
    expect(len(values) == 3, "not all values", fact)


def _custom_has_the_right_shares(answer: Any, draw: random.Random) -> None:
    data = _drawn(answer, nn.Linear(100, 200))
    shares = [(data == value).float().mean().item() for value in (-1, 0, 1)]
    fact = _(
        "The shares of -1, 0 and 1 are {shares}.",
        shares=", ".join(f"{share:.2f}" for share in shares),
    )
    right = all(abs(a - b) < 0.03 for a, b in zip(shares, (0.25, 0.5, 0.25), strict=True))
    expect(right, "other shares", fact)


def _custom_draws_anew(answer: Any, draw: random.Random) -> None:
    first, second = (_drawn(answer, nn.Linear(30, 40)).clone() for _layer in range(2))
    fact = _("Two layers of the same shape got exactly the same values.")
    expect(not torch.equal(first, second), "the same again", fact)


@contextmanager
def _others_kept(net: nn.Module, changing: set[str]) -> Iterator[None]:
    """Expect all parameters to stay the same objects, and those not in `changing` their values."""
    before = {name: (p, p.detach().clone()) for name, p in net.named_parameters()}
    yield
    after = dict(net.named_parameters())
    replaced = ", ".join(name for name in before if after.get(name) is not before[name][0])
    fact = _("There is another parameter object now: {names}.", names=replaced)
    expect(not replaced, "replaced", fact)
    changed = [n for n, (p, old) in before.items() if n not in changing and not torch.equal(p, old)]
    fact = _("This has changed too: {names}.", names=", ".join(changed[:3]))
    expect(not changed, "others changed", fact)


def _net_with_similar_names() -> nn.Module:
    """A net where a pattern that is not exact matches more than one name."""
    net = mlp(30, 90, 30, in_units=100)  # so uneven that one side alone gives another deviation
    for name in ("0_weight", "2_weight", "4_weight"):
        net.register_parameter(name, nn.Parameter(torch.rand(20, 20)))
    for layer in (net[0], net[2], net[4]):
        layer.register_parameter("weight2", nn.Parameter(torch.rand(20, 20)))
    return net


def _one_reaches_the_parameter(xavier_one: Any, draw: random.Random) -> None:
    net, name = _net_with_similar_names(), draw.choice(["0.weight", "2.weight", "4.weight"])
    weight = net.get_parameter(name)
    before = weight.detach().clone()
    xavier_one(net, name)
    now = net.get_parameter(name)
    fact = _("{name} is another parameter object now.", name=name)
    expect(now is weight, "replaced", fact)
    expect(not torch.equal(now, before), "untouched", _("{name} has its old values.", name=name))
    ratio = weight.std().item() / (2 / sum(weight.shape)) ** 0.5
    fact = _("The deviation of {name} is {ratio:.2f} times that of Xavier.", name=name, ratio=ratio)
    expect(0.9 < ratio < 1.1, "other deviation", fact)
    fact = _("The mean of {name} is {mean:.2g}.", name=name, mean=weight.mean().item())
    expect(abs(weight.mean()) < 0.2 * weight.std(), "other deviation", fact)


def _one_leaves_the_rest(xavier_one: Any, draw: random.Random) -> None:
    net, name = _net_with_similar_names(), draw.choice(["0.weight", "2.weight", "4.weight"])
    with _others_kept(net, {name}):
        xavier_one(net, name)


class _Wide(nn.Linear):
    """A linear layer by inheritance."""


def _visited_net() -> nn.Module:
    first = nn.Sequential(_Wide(40, 50), nn.LayerNorm(50), nn.ReLU())
    return nn.Sequential(
        first,
        nn.Linear(50, 60, bias=False),
        nn.BatchNorm1d(60),
        nn.Conv1d(1, 2, 3),
        nn.Linear(60, 40),
    )


_LINEAR = ("0.0", "1", "4")


def _visitor_fills_linear_layers(visitor: Any, draw: random.Random) -> None:
    net = _visited_net()
    before = dict(net.named_parameters())
    old = {name: parameter.detach().clone() for name, parameter in before.items()}
    net.apply(visitor)
    for name in _LINEAR:
        layer = net.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        fact = _("The weight of layer {name} is another object now.", name=name)
        expect(layer.weight is before[f"{name}.weight"], "replaced", fact)
        mean, deviation = layer.weight.mean().item(), layer.weight.std().item()
        fact = _(
            "The weight of layer {name}, a {kind}, has the mean {mean:.2g} and the deviation "
            "{deviation:.2g}.",
            name=name,
            kind=type(layer).__name__,
            mean=mean,
            deviation=deviation,
        )
        untouched = torch.equal(layer.weight, old[f"{name}.weight"])
        cause = "not every layer" if untouched else "other deviation"
        expect(0.008 < deviation < 0.012 and abs(mean) < 0.003, cause, fact)
        spread = ((layer.weight - mean) ** 4).mean().item() / deviation**4
        expect(2.4 < spread < 3.8, "other distribution", fact)
        if layer.bias is not None:
            fact = _("The bias of layer {name} is not zero.", name=name)
            expect(not layer.bias.any(), "bias not zero", fact)


def _visitor_leaves_the_rest(visitor: Any, draw: random.Random) -> None:
    net = _visited_net()
    linear = {f"{name}.{leaf}" for name in _LINEAR for leaf in ("weight", "bias")}
    with _others_kept(net, linear):
        net.apply(visitor)


def _visitor_does_not_skip_lazy_layers(visitor: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU())
    try:
        net.apply(visitor)
    except Exception:
        return
    net(torch.rand(2, 30))
    deviation = net.get_parameter("0.weight").std().item()
    fact = _(
        "A lazy layer was skipped in silence: after its first pass the deviation is {found:.2g}.",
        found=deviation,
    )
    expect(deviation < 0.02, "lazy skipped", fact)


EXERCISES = (
    Exercise(
        "initializers.builtin",
        {
            mark("keeps the signal above 0.1 in every layer"): _builtin_keeps_the_signal,
            mark("keeps the gradient alive"): _builtin_does_not_saturate,
        },
        cases=3,
    ),
    Exercise(
        "initializers.custom",
        {
            mark("takes the values -1, 0 and 1"): _custom_takes_three_values,
            mark("takes them with the right shares"): _custom_has_the_right_shares,
            mark("draws anew each time"): _custom_draws_anew,
        },
    ),
    Exercise(
        "initializers.one-parameter",
        {
            mark("reaches the parameter"): _one_reaches_the_parameter,
            mark("leaves all others as they are"): _one_leaves_the_rest,
        },
    ),
    Exercise(
        "initializers.visitor",
        {
            mark("fills every linear layer"): _visitor_fills_linear_layers,
            mark("leaves all other layers as they are"): _visitor_leaves_the_rest,
            mark("skips no lazy layer in silence"): _visitor_does_not_skip_lazy_layers,
        },
        cases=5,
    ),
)
