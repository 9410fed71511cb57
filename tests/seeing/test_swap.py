import pytest
import torch
from fingerprint import unchanged
from torch import nn

import d2lcompute as d2c


def make():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_a_block_gives_what_the_change_makes_of_its_output():
    net, X = make(), torch.rand(3, 4)
    with d2c.swap(net, "1", lambda Y: Y + 1):
        changed = net(X)
    assert torch.equal(changed, net[2](net[1](net[0](X)) + 1))
    assert not torch.equal(changed, net(X))


def test_gradients_flow_through_the_change():
    net = make()
    with d2c.swap(net, "0", lambda Y: 2 * Y):
        net(torch.rand(3, 4)).sum().backward()
    assert net[0].weight.grad is not None


def test_a_block_that_is_called_twice_is_changed_twice():
    layer = nn.Identity()
    with d2c.swap(nn.Sequential(layer, layer), "1", lambda X: X + 1) as nothing:
        assert nothing is None
        assert nn.Sequential(layer, layer)(torch.zeros(1)) == 2


def test_the_net_is_afterwards_what_it_was_also_after_an_error():
    net, X = make(), torch.rand(3, 4)
    failing = d2c.swap(net, "0", lambda Y: Y / (1 // 0))
    with unchanged(net), pytest.raises(ZeroDivisionError, match="division"), failing:
        net(X)


def test_swaps_nest_and_traces_see_them():
    net = make()
    with d2c.swap(net, "0", torch.zeros_like), d2c.swap(net, "1", lambda Y: Y - 1):
        report = d2c.trace(net, torch.rand(3, 4), values=True)
    assert [call.values[0].mean for call in report.calls[1:3]] == [0, -1]


def test_a_lazy_net_that_is_looked_at_stays_lazy():
    net = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(2))
    with d2c.swap(net, "0", lambda Y: Y + 1), unchanged(net):
        assert d2c.trace(net, (3, 4)).error is None


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("3", torch.zeros_like, ValueError, r"`name` must be the name of .*, got '3'"),
        (0, torch.zeros_like, TypeError, r"`name` must be the name of .*, got 0; do choose"),
        ("0", 5, TypeError, "`change` must be a function of the output, got 5"),
        ("0", lambda Y: None, ValueError, "`change` must return what goes on .*, got None"),
    ],
)
def test_wrong_arguments_are_refused(name, change, error, message):
    net = make()
    with pytest.raises(error, match=message), d2c.swap(net, name, change):
        net(torch.rand(3, 4))
