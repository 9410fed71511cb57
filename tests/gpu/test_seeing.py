"""Looking at a net on an accelerator: the same reports as on the CPU, and nothing left behind."""

import copy
import gc

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def net(device):
    return d2c.mlp(64, 32, 10, in_units=20).to(device)


@pytest.fixture
def X(device):
    return torch.randn(16, 20, device=device)


def loss_fn(net, X):
    return net(X).square().mean()


LOOKS = {
    "describe": lambda net, X: d2c.describe(net),
    "trace": d2c.trace,
    "trace with time": lambda net, X: d2c.trace(net, X, time=True),
    "infer_shapes": d2c.infer_shapes,
    "draw": d2c.draw,
    "diagnose": d2c.diagnose,
    "gradients_by_use": lambda net, X: d2c.gradients_by_use(net, lambda net: loss_fn(net, X)),
    "plot_parameters": lambda net, X: d2c.plot_parameters(net),
    "device_of": lambda net, X: d2c.device_of(net),
}


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_leaves_the_net_and_the_device_as_they_were(device, net, X, look):
    loss_fn(net, X).backward()
    look(net, X)  # what a device loads at the first use stays loaded
    gc.collect()
    values = copy.deepcopy(net.state_dict())
    gradients = [p.grad.clone() for p in net.parameters()]
    memory = torch.accelerator.memory_allocated(device)
    state = torch.get_device_module(device).get_rng_state()
    look(net, X)
    gc.collect()
    assert torch.accelerator.memory_allocated(device) == memory
    assert torch.equal(torch.get_device_module(device).get_rng_state(), state)
    assert_close(net.state_dict(), values, rtol=0, atol=0)
    for parameter, gradient in zip(net.parameters(), gradients, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_a_trace_there_is_the_trace_of_the_cpu(device, net, X):
    here, there = d2c.trace(copy.deepcopy(net).cpu(), X.cpu()), d2c.trace(net, X)
    assert there.error is None
    assert [(c.name, c.inputs, c.outputs, c.flops) for c in there.calls] == [
        (c.name, c.inputs, c.outputs, c.flops) for c in here.calls
    ]
    assert d2c.infer_shapes(net, X).output == there.calls[0].outputs == ((16, 10),)


def test_time_is_told_for_every_call(net, X):
    assert all(call.seconds > 0 for call in d2c.trace(net, X, time=True).calls)


def test_a_sound_net_has_no_findings_there_and_a_broken_one_has(device, net, X):
    assert d2c.diagnose(net, X).findings == ()
    net[2].to("cpu")
    assert d2c.diagnose(net, X).findings != ()
    with pytest.raises(RuntimeError, match="on the same device"):
        net(X)


def test_the_gradient_of_each_use_adds_up_there(device, X):
    shared = nn.Linear(20, 20).to(device)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    report = d2c.gradients_by_use(net, lambda net: loss_fn(net, X))
    loss_fn(net, X).backward()
    assert "0.weight" in repr(report)
    assert shared.weight.grad.device == device


def test_pictures_are_drawn_of_what_lies_there(net, X):
    loss_fn(net, X).backward()
    for axes in (d2c.draw(net, X), d2c.plot_parameters(net), d2c.plot_gradients(net)):
        axes.figure.canvas.draw()
