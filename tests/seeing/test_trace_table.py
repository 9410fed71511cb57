import re

import torch
from fingerprint import unchanged
from nets import WELL_KNOWN
from torch import nn

import d2lcompute as d2c


def settled(net):
    """A net whose loops take the same number of turns on every machine."""
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            tensor.fill_(0.05)
    return net


def test_a_reused_layer_shows_as_one_block_called_twice(golden):
    report = d2c.trace(settled(d2c.FancyMLP()), torch.ones(2, 20))
    golden(repr(report))
    assert [call.nth for call in report.calls if call.name == "dense"] == [1, 2]


def test_a_net_in_a_net_shows_nested(golden):
    golden(repr(d2c.trace(d2c.NestMLP(20), torch.ones(2, 20))))


def test_what_deferred_initialization_decided_shows_beside_each_lazy_layer(golden):
    net = d2c.NestMLP()
    with unchanged(net):
        report = d2c.trace(net, torch.ones(2, 20))
    golden(repr(report))
    assert d2c.pending(net)[:2] == ["net.0.weight", "net.0.bias"]


def test_the_chimera_answers_all_three_questions():
    net = nn.Sequential(d2c.NestMLP(), nn.LazyLinear(20), d2c.FixedHiddenMLP())
    text = repr(d2c.trace(net, torch.rand(2, 20)))
    assert re.search(r"│ │ │ 0: LazyLinear +.* decided weight \(64, 20\), bias \(64,\)", text)
    assert re.search(r"│ 1: LazyLinear +\(2, 16\) +\(2, 20\) .* decided weight \(20, 16\)", text)
    assert re.search(r"│ │ linear: Linear .* 2nd call\n", text)


def test_a_loop_is_folded_and_its_numbers_are_sums(golden):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.RNNCell(4, 5)

        def forward(self, X):
            H = torch.zeros(X.shape[1], 5)
            for step in range(len(X)):
                H = self.cell(X[step], H)
            return H

    report = d2c.trace(Loop(), torch.rand(100, 2, 4))
    golden(repr(report))
    assert sum(call.name == "cell" for call in report.calls) == 100


def test_time_is_that_of_each_call():
    net, inputs = WELL_KNOWN["mlp"]()
    calls = d2c.trace(net, *inputs, time=True).calls
    assert all(call.seconds > 0 for call in calls)
    assert calls[0].seconds >= sum(call.seconds for call in calls if call.parent == 0)
    assert "µs" in repr(d2c.trace(net, *inputs, time=True)).splitlines()[0].split()


def test_html_is_the_same_each_time_and_well_formed(closes_every_element):
    net, inputs = WELL_KNOWN["transformer_encoder"]()
    text = d2c.trace(net, *inputs)._repr_html_()
    assert text == d2c.trace(net, *inputs)._repr_html_()
    assert closes_every_element(text)
