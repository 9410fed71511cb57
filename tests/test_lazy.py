import pytest
import torch
from fingerprint import unchanged
from hypothesis import given
from strategies import plans
from torch import nn
from torch.nn.parameter import is_lazy

from d2lcompute.lazy import dry_run, meta_twin


class Scribbler(nn.Module):
    """Write to whatever a forward pass can reach."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
        self.embedding = nn.Embedding(5, 3, max_norm=0.1)
        self.register_buffer("cache", torch.zeros(2, 3))
        self.total = torch.zeros(())
        self.calls = 0
        self.seen = []

    def forward(self, X):
        self.calls += 1
        self.new = X
        self.seen.append(X.shape)
        self.total += 1
        self.cache[:] = X
        self.cache = self.cache + 1
        self.inner[0].requires_grad_(False)
        self.inner[2].eval()
        self.register_forward_hook(print)
        return self.inner(X + self.embedding(torch.tensor([0, 1]))) + torch.rand(())


def test_dry_run_leaves_no_trace():
    net = Scribbler()
    with unchanged(net), dry_run(net):
        torch.set_grad_enabled(False)
        net(torch.rand(2, 3))
    assert net.calls == 0
    assert net.seen == []
    assert net.total == 0


def test_dry_run_leaves_no_trace_when_the_block_raises():
    net = Scribbler()
    with (
        unchanged(net),
        pytest.raises(RuntimeError, match="must match the existing size"),
        dry_run(net),
    ):
        net(torch.rand(4, 7))


def test_dry_run_keeps_the_gradients_that_were_there():
    net = nn.Linear(3, 1)
    net(torch.ones(1, 3)).sum().backward()
    kept = net.weight.grad
    with unchanged(net), dry_run(net):
        assert net.weight.grad is None
        net(torch.rand(2, 3)).sum().backward()
        assert net.weight.grad is not None
    assert net.weight.grad is kept


def test_dry_run_lends_a_tied_buffer_as_one():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    net[1].running_mean = net[0].running_mean
    with dry_run(net):
        assert net[1].running_mean is net[0].running_mean


def test_a_lazy_layer_learns_its_shape_in_a_dry_run_and_nothing_else():
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    with dry_run(net):
        net(torch.rand(2, 3))
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    torch.testing.assert_close(net[1].state_dict(), twin[1].state_dict())
    assert [vars(m).keys() for m in net] == [vars(m).keys() for m in twin]
    assert not net[1]._forward_pre_hooks


@given(plans(lazy=False))
def test_dry_run_leaves_no_trace_on_any_net(plan):
    net = plan.build()
    with unchanged(net), dry_run(net):
        (net(plan.inputs()).sum() + torch.zeros((), requires_grad=True)).backward()


def everything(net):
    names = dict(net.named_parameters(remove_duplicate=False))
    return {**names, **dict(net.named_buffers(remove_duplicate=False))}


@given(plans(aliases=True))
def test_meta_twin_has_the_structure_and_no_data(plan):
    net = plan.build()
    with unchanged(net):
        twin = meta_twin(net)
    ours, theirs = everything(net), everything(twin)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert tensor.device.type == "meta"
        assert type(tensor) is type(ours[name])
        assert (tensor.dtype, tensor.requires_grad) == (ours[name].dtype, ours[name].requires_grad)
        assert is_lazy(tensor) or tensor.shape == ours[name].shape
    ties = [
        [a is b for b in tensors.values()] for tensors in (ours, theirs) for a in tensors.values()
    ]
    assert ties[: len(ours)] == ties[len(ours) :]
    assert [type(m) for m in net.modules()] == [type(m) for m in twin.modules()]


def test_meta_twin_moves_tensors_in_attributes_too():
    net = nn.Linear(2, 2)
    net.constant = torch.ones(3)
    net.nested = {"a": [torch.ones(1), (net.weight, 7)]}
    net.activation = net(torch.ones(2, 2))
    twin = meta_twin(net)
    assert twin.constant.is_meta
    assert twin.nested["a"][0].is_meta
    assert twin.nested["a"][1] == (twin.weight, 7)
    assert twin.activation.is_meta
    assert net.constant.device.type == net.weight.device.type == "cpu"


def test_meta_twin_shares_no_container_with_the_net():
    net = Scribbler()
    meta_twin(net).seen.append(1)
    assert net.seen == []


def test_meta_twin_of_a_net_too_large_for_any_memory():
    with torch.device("meta"):
        net = nn.Sequential(*[nn.Linear(10**6, 10**6) for _ in range(7)])
    assert sum(p.numel() for p in meta_twin(net).parameters()) > 7e12


def test_meta_twin_of_a_deep_net():
    net = nn.Linear(2, 2)
    for _ in range(500):
        net = nn.Sequential(net)
    assert next(meta_twin(net).parameters()).is_meta


def test_meta_twin_of_recurrent_and_parametrized_layers_runs():
    weight_norm = nn.utils.parametrizations.weight_norm
    net = nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.LSTM(4, 5, 2))
    output, _ = meta_twin(net)(torch.empty(2, 7, 3, device="meta"))
    assert output.shape == (2, 7, 5)
