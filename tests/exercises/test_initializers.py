"""What students really answer to the exercises of section 3, and the hint that they get."""

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute import initializers as init


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda depth: init.Normal, "An initializer is wanted, got type"),
        (lambda depth: init.Normal(0.01), "With 59 layers of width 100 the signal shrinks to 0"),
        (lambda depth: init.Normal(1.0), "The gradient of the first layer is"),
        (lambda depth: nn.init.xavier_uniform_, "An initializer is wanted, got function"),
    ],
)
def test_builtin_hints_at_what_is_wrong(said, answer, hint):
    assert said("initializers.builtin", answer)[-1].startswith(f"hint  {hint}")


def filling(fill):
    return type("Mine", (init.Initializer,), {"_init_weight": lambda self, name, data: fill(data)})


def rebound(data):
    data = torch.randint(-1, 2, data.shape)


def seeded(data):
    torch.manual_seed(0)
    coins = torch.randint(0, 2, (2, *data.shape))
    data.copy_(coins[0] - coins[1])


@pytest.mark.parametrize(
    ("fill", "hint"),
    [
        (lambda data: data.uniform_(-1, 1), "The values must be -1, 0 and 1"),
        (rebound, "The values must be -1, 0 and 1"),
        (lambda data: data.zero_(), "All of -1, 0 and 1 must occur"),
        (lambda data: data.copy_(torch.randint(-1, 2, data.shape)), "The shares of -1, 0 and 1"),
        (seeded, "Two layers got exactly the same values"),
    ],
)
def test_custom_hints_at_what_is_wrong(said, fill, hint):
    assert said("initializers.custom", filling(fill))[-1].startswith(f"hint  {hint}")


def whole_net(net, name):
    d2c.initialize(net, init.Xavier())


def nothing(net, name):
    return init.Xavier()


def replaced(net, name):
    layer, leaf = name.split(".")
    weight = nn.Parameter(torch.empty_like(net[int(layer)].weight))
    nn.init.xavier_uniform_(weight)
    setattr(net[int(layer)], leaf, weight)


def normal(net, name):
    nn.init.normal_(net.get_parameter(name))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (nothing, "{} still has its old values"),
        (replaced, "{} was replaced by another parameter"),
        (normal, "The deviation is"),
    ],
)
def test_one_parameter_hints_at_what_is_wrong(said, answer, hint):
    shown = said("initializers.one-parameter", answer)[-1]
    names = ("0.weight", "2.weight", "4.weight")
    assert any(shown.startswith(f"hint  {hint.format(name)}") for name in names)


def test_one_parameter_notices_that_others_changed(said):
    assert said("initializers.one-parameter", whole_net)[-1].endswith("changed too.")
