"""Sections 2 to 4 on an accelerator: what is read, written, drawn and sized there."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute import initializers as init
from d2lcompute.parameters.memory import overlapping


class MyInit(init.Initializer):
    def _init_weight(self, name, data):
        data.uniform_(-10, 10)
        data *= data.abs() >= 5


INITIALIZERS = [
    init.Normal(0.01), init.Uniform(0.07), init.Constant(3.0), init.Zero(), init.One(),
    init.Xavier(), init.Kaiming(), init.Orthogonal(),
    init.Mixed({"0": init.Xavier(), "2": MyInit()}),
]  # fmt: skip


@pytest.fixture
def random_state(device):
    module = torch.get_device_module(device)
    return lambda: module.get_rng_state(device) if device.type != "mps" else module.get_rng_state()


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=str)
def test_a_seed_gives_a_sized_and_a_lazy_net_there_the_same_values(
    device, random_state, initializer
):
    sized, again = (d2c.mlp(40, 5, in_units=30).to(device) for _ in range(2))
    lazy = d2c.mlp(40, 5).to(device)
    before = random_state()
    for net in (sized, again, lazy):
        d2c.initialize(net, initializer, seed=0)
    assert torch.equal(random_state(), before)
    lazy(torch.ones(1, 30, device=device))
    for net in (again, lazy):
        assert_close(net.state_dict(), sized.state_dict(), rtol=0, atol=0)
    assert {p.device for p in lazy.parameters()} == {device}


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=str)
def test_a_seed_gives_the_values_of_the_cpu_by_name(device, initializer):
    here, there = d2c.mlp(40, 5, in_units=30), d2c.mlp(40, 5, in_units=30).to(device)
    for net in (here, there):
        d2c.initialize(net, initializer, seed=7)
    for name, parameter in here.named_parameters():
        assert torch.equal(there.get_parameter(name).cpu(), parameter), name


def test_describe_reads_gradients_where_they_are(device):
    net = nn.Linear(3, 1).to(device)
    net(torch.ones(2, 3, device=device)).sum().backward()
    with d2c.watch_transfers() as transfers:
        report = d2c.describe(net)
    weight, bias = report.rows
    assert weight.device == bias.device == device
    assert_close(weight.gradient, math.sqrt(12))
    assert_close(bias.gradient, 2.0)
    assert report.total == 4
    assert sum(event.bytes for event in transfers.events) <= 16  # two norms, and no gradient


def test_values_are_written_there(device):
    net = nn.Linear(3, 2).to(device)
    d2c.set_data(net.weight[0, 0], 42)
    d2c.set_data(net.bias, torch.tensor([1.0, 2.0]))
    assert net.weight[0, 0].item() == 42
    assert net.bias.tolist() == [1, 2]
    assert d2c.device_of(net) == device


def test_ties_hold_while_a_net_moves(device):
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    d2c.tie(net, "0", "2")
    groups = d2c.tied_groups(net)
    net.to(device)
    assert d2c.tied_groups(net) == groups
    net(torch.ones(1, 3, device=device)).sum().backward()
    assert net[0].weight.grad is net[2].weight.grad
    base = torch.zeros(6, device=device)
    assert overlapping([base[:4], base[3:], torch.zeros(6, device=device)]) == [[0, 1]]


def every_lazy_layer():
    return nn.Sequential(
        nn.LazyConv2d(4, 3),
        nn.LazyBatchNorm2d(),
        nn.Dropout2d(),
        nn.LazyConvTranspose2d(3, 2),
        nn.LazyInstanceNorm2d(affine=True),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.Dropout(0.3),
        nn.Linear(5, 6),
        nn.LazyBatchNorm1d(),
        nn.LazyLinear(2, bias=False),
        nn.Dropout(),
    )


def test_a_net_is_sized_there_as_by_its_first_pass_and_its_random_state_kept(device, random_state):
    plain, net = [every_lazy_layer().to(device) for _ in range(2)]
    net[8].load_state_dict(plain[8].state_dict())
    X = torch.randn(8, 3, 16, 16, device=device)
    torch.manual_seed(7)
    plain(X)
    torch.manual_seed(7)
    before = random_state()
    d2c.materialize(net, X)
    assert torch.equal(random_state(), before)
    assert d2c.device_of(net) == device
    for name, parameter in plain.named_parameters():
        assert torch.equal(parameter, net.get_parameter(name))


def test_a_shape_alone_sizes_a_net_there(device):
    net = d2c.mlp(8, 1).to(device)
    d2c.materialize(net, (2, 4))
    assert d2c.pending(net) == []
    assert net(torch.ones(2, 4, device=device)).shape == (2, 1)


def test_shapes_are_inferred_without_memory_of_the_device(device):
    net = d2c.mlp(8, 1).to(device)
    before = torch.accelerator.memory_allocated(device)
    report = d2c.infer_shapes(net, (2_000_000_000, 4))
    assert report.output == ((2_000_000_000, 1),)
    assert torch.accelerator.memory_allocated(device) == before
    assert d2c.pending(net) != []
