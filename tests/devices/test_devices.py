import re

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute.devices.devices import Placement

X = torch.ones(2, 3)


@pytest.fixture
def machine(monkeypatch):
    """Pretend that torch found `count` accelerators of a kind."""

    def pretend(kind, count):
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))

    return pretend


@pytest.fixture
def bare(monkeypatch):
    """Pretend that torch found no accelerator, which torch 2.6 says by raising."""

    def no_accelerator():
        raise RuntimeError("Cannot access accelerator device when none is available.")

    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", no_accelerator)


def test_a_machine_without_accelerator_answers_with_the_cpu(bare):
    assert d2c.num_gpus() == 0
    assert d2c.try_gpu() == d2c.try_gpu(7) == d2c.cpu() == torch.device("cpu")
    assert d2c.try_all_gpus() == [torch.device("cpu")]


def test_the_books_names_exist_without_accelerator(bare):
    assert [d2c.gpu(), d2c.gpu(1)] == [torch.device("cuda:0"), torch.device("cuda:1")]


@pytest.mark.parametrize("kind", ["cuda", "mps", "xpu"])
def test_every_accelerator_of_the_machine_is_found(machine, kind):
    machine(kind, 2)
    both = [torch.device(kind, 0), torch.device(kind, 1)]
    assert d2c.num_gpus() == 2
    assert d2c.try_all_gpus() == [d2c.gpu(), d2c.gpu(1)] == [d2c.try_gpu(), d2c.try_gpu(1)] == both
    assert d2c.try_gpu(2) == d2c.cpu()
    assert d2c.gpu(2) == torch.device(kind, 2)


def test_the_device_of_a_tensor_is_its_own():
    assert d2c.device_of(torch.ones(2)) == torch.device("cpu")
    assert d2c.device_of(torch.ones(2, device="meta")) == torch.device("meta")


@pytest.mark.parametrize(
    "net",
    [nn.Linear(2, 3), nn.LazyLinear(3), nn.BatchNorm1d(2, affine=False), d2c.FixedHiddenMLP()],
    ids=["sized", "lazy", "buffers only", "buffers too"],
)
def test_a_net_in_one_place_has_that_device(net):
    assert d2c.device_of(net) == torch.device("cpu")
    assert d2c.device_of(net.to("meta")) == torch.device("meta")


def test_a_net_in_several_places_is_a_report(golden):
    net = nn.Sequential(d2c.mlp(8, 4, 2, in_units=3), nn.BatchNorm1d(2, device="meta"))
    placement = d2c.device_of(net)
    assert isinstance(placement, Placement)
    assert list(placement) == list(placement.names) == [torch.device("cpu"), torch.device("meta")]
    assert sorted(sum(placement.values(), ())) == sorted(net.state_dict())
    assert "<td" in placement._repr_html_()
    golden(repr(placement))


def test_a_buffer_left_behind_is_found():
    net = d2c.FixedHiddenMLP()
    net.linear.to("meta")
    assert d2c.device_of(net).names[torch.device("cpu")] == ("rand_weight",)


def test_a_tied_parameter_is_named_once():
    shared = nn.Linear(2, 2)
    net = nn.Sequential(shared, shared, nn.Linear(2, 2, device="meta"))
    assert d2c.device_of(net).names[torch.device("cpu")] == ("0.weight", "0.bias")


def test_copyto_always_copies_and_as_in_context_only_if_needed():
    X = torch.rand(2, 3)
    copy = d2c.copyto(X, d2c.cpu())
    assert_close(copy, X)
    assert copy.data_ptr() != X.data_ptr()
    assert d2c.as_in_context(X, "cpu") is X
    assert d2c.as_in_context(X, "meta").device.type == "meta"


@pytest.mark.parametrize("move", [d2c.copyto, d2c.as_in_context])
def test_a_gradient_flows_back_through_a_copy(move):
    X = torch.rand(2, 3, requires_grad=True)
    move(X, "cpu").sum().backward()
    assert_close(X.grad, torch.ones(2, 3))


def test_practice_accelerators_are_found_as_real_ones_are(practice):
    assert d2c.num_gpus() == torch.accelerator.device_count() == 2
    assert d2c.try_all_gpus() == practice == [d2c.gpu(), d2c.gpu(1)]
    assert [d2c.try_gpu(1), d2c.try_gpu(2)] == [practice[1], d2c.cpu()]
    d2c.practice_gpus(0)
    assert d2c.try_all_gpus() == [d2c.cpu()]


def test_tensors_move_between_practice_accelerators(practice):
    X = torch.rand(2, 3)
    Z = d2c.copyto(X, practice[1])
    assert d2c.device_of(Z) == practice[1]
    assert d2c.as_in_context(Z, practice[1]) is Z
    assert d2c.copyto(Z, practice[1]).data_ptr() != Z.data_ptr()
    assert_close(d2c.as_in_context(d2c.copyto(Z, practice[0]), "cpu"), X)


def test_a_net_between_practice_accelerators_is_a_report(practice):
    net = nn.Sequential(nn.LazyLinear(4).to(practice[0]), nn.Linear(4, 2).to(practice[1]))
    assert d2c.device_of(net).names == {
        practice[0]: ("0.weight", "0.bias"),
        practice[1]: ("1.weight", "1.bias"),
    }
    assert d2c.device_of(net.to(practice[1])) == practice[1]


@pytest.mark.parametrize("move", [d2c.copyto, d2c.as_in_context])
def test_a_tensor_in_the_place_of_a_device_is_told_how_to_be_written_into(move):
    y = torch.zeros(2, 3)
    with pytest.raises(TypeError, match=re.escape("got a tensor; do y.copy_(x) to write into y")):
        move(X, y)
    assert y.sum() == 0


@pytest.mark.parametrize("act", [lambda d: d2c.copyto(X, d), lambda d: d2c.MetricLog(3, d)])
def test_a_device_that_is_not_there_is_told_so(act, practice):
    with pytest.raises(
        ValueError, match=r"must be a device of this machine, got 'practice:7' \(.*"
    ):
        act("practice:7")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"of this machine, got 'cuda:0' \(.*\); do try_gpu"):
            act("cuda:0")


@pytest.mark.parametrize("name", ["xla", "hpu", "vulkan:0"])
def test_a_kind_of_device_that_no_package_here_brings_is_told_in_one_line(name):
    with pytest.raises(ValueError, match=rf"^`device` .* got '{name}' \([^\n]*\); do [^\n]*$"):
        d2c.copyto(X, name)
