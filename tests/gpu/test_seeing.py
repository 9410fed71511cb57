"""Looking at a net on an accelerator: the same reports as on the CPU, and nothing left behind."""

import copy
import dataclasses
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


def test_a_trace_waits_for_values_alone(net, X):
    with d2c.watch_transfers() as transfers:
        d2c.trace(net, X, backward=True)
        d2c.infer_shapes(net, X)
        d2c.draw(net, X)
    assert transfers.count == 0
    with d2c.watch_transfers() as transfers:
        calls = d2c.trace(net, X, values=True).calls
    assert 0 < transfers.bytes < 200 * len(calls)  # a few numbers each, and no tensor


def test_values_and_gradients_are_those_of_the_cpu(net, X):
    both = [(copy.deepcopy(net).cpu(), X.cpu()), (net, X)]
    here, there = (d2c.trace(*one, values=True, backward=True).calls for one in both)
    for a, b in zip(here, there, strict=True):
        for found, wanted in ((b.values, a.values), (b.gradients, a.gradients)):
            assert len(found) == len(wanted)
            for one, other in zip(found, wanted, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    told = [dataclasses.astuple(each) for each in (one, other)]
                    assert_close(*told, rtol=1e-3, atol=1e-5)
    assert [c.backward_flops for c in here] == [c.backward_flops for c in there]


def test_memory_is_told_as_the_device_gives_it(device):
    allocated = torch.accelerator.memory_allocated
    before = allocated(device)
    net = d2c.mlp(512, 256, 10, in_units=128).to(device)
    real = device.type != "practice"
    blocks = 2**23 if real else 2**10  # a device gives memory in blocks, of up to 1 MiB more
    assert 0 <= allocated(device) - before - d2c.describe(net).bytes <= blocks
    X = torch.randn(8192, 128, device=device)
    report = d2c.trace(net, X)
    net(X)  # what a device keeps for its products is there now
    gc.collect()
    before = allocated(device)
    torch.accelerator.reset_peak_memory_stats(device)
    Y = net(X)
    torch.accelerator.synchronize()
    peak = torch.accelerator.max_memory_allocated(device) - before
    workspace = 2**26 if real else 0
    assert report.peak <= peak <= report.peak + blocks + workspace
    assert 0 <= allocated(device) - before - Y.nbytes - report.kept <= blocks


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
