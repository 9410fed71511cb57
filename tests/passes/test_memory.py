"""The bytes that a trace tells, held against what autograd really saves."""

import pytest
import torch
from nets import CHAPTER, WELL_KNOWN
from torch import nn

import d2lcompute as d2c

NETS = CHAPTER | WELL_KNOWN


def saved(net, inputs):
    """The bytes that autograd saves, each storage once, parameters and inputs apart."""
    own = [*net.parameters(), *inputs]
    apart = {t.untyped_storage().data_ptr() for t in own if isinstance(t, torch.Tensor)}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes(), tensor  # alive, or its place is used again
        return tensor

    with d2c.lazy.dry_run(net), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        net(*inputs)
    return sum(size for place, (size, _tensor) in found.items() if place not in apart)


@pytest.mark.parametrize("name", NETS)
def test_what_is_kept_is_what_autograd_saves_to_the_byte(name):
    net, inputs = NETS[name]()
    if not d2c.pending(net):
        assert d2c.trace(net, *inputs).kept == saved(net, inputs)


def test_shapes_tell_the_bytes_that_tensors_tell():
    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.LayerNorm(256), nn.Linear(256, 10))
    real, imagined = d2c.trace(net, torch.rand(64, 20)), d2c.trace(net, (64, 20))
    assert (imagined.peak, imagined.kept) == (real.peak, real.kept)
    assert [call.bytes for call in imagined.calls] == [call.bytes for call in real.calls]


def test_a_call_tells_the_bytes_of_what_it_made_itself():
    net = nn.Sequential(nn.Linear(4, 8), nn.Identity(), nn.Flatten(), nn.ReLU(inplace=True))
    calls = d2c.trace(net, torch.rand(2, 4)).calls
    assert [call.bytes for call in calls] == [64, 64, 0, 0, 0]


def test_without_gradients_nothing_is_kept_and_memory_is_given_back():
    net = nn.Sequential(*(nn.Linear(64, 64) for _ in range(10)))
    X = torch.rand(32, 64)
    with torch.no_grad():
        plain = d2c.trace(net, X)
    assert plain.kept == 0
    assert plain.peak == 2 * X.nbytes
    assert d2c.trace(net, X).kept == 9 * X.nbytes


def test_a_net_of_seven_billion_needs_no_memory_to_tell_its_own():
    with torch.device("meta"):
        net = nn.Sequential(*(nn.Linear(8192, 8192, bias=False) for _ in range(104)))
    assert d2c.describe(net).total > 6.9e9
    report = d2c.trace(net, (1024, 8192))
    assert report.kept == 103 * 1024 * 8192 * 4


def test_where_kernels_differ_bytes_by_shape_are_about_right():
    assert d2c.trace(nn.LSTM(4, 8), (5, 2, 4)).is_about
    assert not d2c.trace(nn.LSTM(4, 8), torch.rand(5, 2, 4)).is_about
    assert "about" in repr(d2c.trace(nn.MultiheadAttention(8, 2), *[(3, 2, 8)] * 3))


def test_a_net_that_transforms_functions_is_traced_without_what_is_kept():
    class Slopes(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, X):
            return torch.func.vmap(torch.func.grad(lambda x: self.layer(x).sum()))(X)

    report = d2c.trace(Slopes(), torch.rand(4, 3))
    assert report.error is None
    assert report.kept is None
    assert report.calls[0].outputs == ((4, 3),)


def test_what_was_kept_and_written_to_is_refused_as_ever():
    class Overwrites(nn.Module):
        def forward(self, X):
            Y = X.sigmoid()
            Y += 1
            return Y

    X = torch.rand(3, 4, requires_grad=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        Overwrites()(X).sum().backward()
    error = d2c.trace(Overwrites(), X, backward=True).error
    assert "modified by an inplace operation" in str(error)
