"""Hundreds of random nets: whoever looks at one fails nowhere, changes nothing, and agrees."""

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import plans
from torch import nn

import d2lcompute as d2c
from benchmarks.findings import sound


class Several(nn.Module):
    """A net of two inputs and of outputs by name."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, X, Y):
        H = self.first(X)
        return {"both": self.second(H - Y), "first": H}


@settings(max_examples=150)
@given(plans(aliases=True, wired=True), st.booleans())
def test_whoever_looks_at_a_net_agrees_and_leaves_it_as_it_was(plan, several):
    net, inputs = plan.build(), [plan.inputs()]
    if several:
        net, inputs = Several(net, plan.build()), [plan.inputs(), -plan.inputs()]
    with unchanged(net, inputs):
        report = d2c.trace(net, *inputs)
        description = d2c.describe(net)
        picture = d2c.draw(net, *inputs)
        kinds = [finding.kind for finding in d2c.diagnose(net, *inputs).findings]
        d2c.tied_groups(net)
        if "deciding" not in str(plan):  # values decide there, which shapes have none of
            assert d2c.infer_shapes(net, *inputs).output == report.calls[0].outputs
    assert report.error is None
    assert not {"failed forward pass", "failed backward pass", "no output"} & {*kinds}
    for shape in report.calls[0].outputs:
        assert str(shape) in picture.alt
    net(*inputs)  # which gives lazy layers their shapes
    held = sum({p.data_ptr(): p.numel() for p in net.parameters()}.values())  # memory, once
    assert d2c.describe(net).total == held
    assert description.total <= held
    assert report.calls[0].parameter_count <= sum(p.numel() for p in net.parameters())


@settings(max_examples=50)
@given(plans(ties=False, lazy=False))
def test_what_every_layer_reads_adds_up_to_what_the_net_holds(plan):
    net, inputs = plan.build(), plan.inputs()
    called = {name for name, _module in net.named_modules() if name}
    report = d2c.trace(net, inputs)
    names = {name for call in report.calls for name in call.parameters}
    assert report.calls[0].parameter_count == sum(
        p.numel() for name, p in net.named_parameters() if name in names
    )
    assert {call.name for call in report.calls if call.is_block} <= called | {""}


@pytest.mark.parametrize("seed", range(12))
def test_a_sound_net_has_no_finding(seed):
    net, X = sound(seed)
    with torch.random.fork_rng(devices=[]):
        assert d2c.diagnose(net, X).findings == ()
