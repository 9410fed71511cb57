"""What surrounds a look, and tensors that are not plain: the answer is that of a real pass."""

import contextlib

import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.nn import functional as F
from torch.overrides import BaseTorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import d2lcompute as d2c


class Inside(nn.Module):
    """Turn autocast on in `forward`."""

    def __init__(self):
        super().__init__()
        layers = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
        self.layers = nn.Sequential(*layers)
        self.register_buffer("shift", torch.ones(5))

    def forward(self, X):
        with torch.autocast("cpu", torch.bfloat16):
            Y = self.layers(X) + self.shift
            return F.cross_entropy(Y, torch.zeros(len(X), dtype=torch.long))


def tied():
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Softmax(-1))


def attention():
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)


CONVERTED = {
    "linear": (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (2, 3)),
    "tied": (tied, (2, 4)),
    "autocast in forward": (Inside, (2, 3, 6, 6)),
    "attention": (attention, (2, 3, 8)),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(4), nn.GELU(), nn.Linear(4, 2)), (2, 3)),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_by_shapes_autocast_gives_the_types_of_a_real_pass(name):
    make, shape = CONVERTED[name]
    net = make()
    with torch.autocast("cpu", torch.bfloat16):
        real = d2c.trace(net, torch.rand(shape), backward=True)
        imagined = d2c.trace(net, shape, backward=True)
    assert real.error is None
    assert imagined.is_about
    assert (imagined.kept, imagined.peak) == (real.kept, real.peak)
    for one, other in zip(imagined.calls, real.calls, strict=True):
        assert (one.bytes, one.kept, one.parameters) == (other.bytes, other.kept, other.parameters)
        assert (one.held, one.backward_flops) == (other.held, other.backward_flops)


def test_a_net_without_data_is_traced_under_autocast_as_it_would_be_with_data():
    with torch.device("meta"):
        net = nn.Linear(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert d2c.trace(net, (2, 3)).calls[0].bytes == 2 * 4 * 2
    assert net.weight.is_meta
    assert type(net.weight) is nn.Parameter


def test_a_net_that_reads_values_is_told_so_under_autocast_too():
    class Reads(nn.Linear):
        def forward(self, X):
            return X if super().forward(X).sum() > 0 else -X

    message = "`inputs` must be tensors for this net"
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match=message):
        d2c.trace(Reads(3, 3), (2, 3))


LOOKS = {
    "trace": lambda net, X: d2c.trace(net, X, values=True),
    "trace by shape": lambda net, X: d2c.trace(net, tuple(X.shape), backward=True),
    "infer_shapes": lambda net, X: d2c.infer_shapes(net, tuple(X.shape)),
    "diagnose": d2c.diagnose,
    "describe": lambda net, X: d2c.describe(net),
    "gradients_by_use": lambda net, X: d2c.gradients_by_use(net, lambda net: net(X).sum()),
    "compare": lambda net, X: d2c.compare(d2c.trace(net, X), d2c.trace(net, X)),
    "materialize": lambda net, X: d2c.materialize(nn.LazyLinear(3, device="cpu"), X),
}


@contextlib.contextmanager
def everything_on(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


SURROUNDINGS = {
    "a default device": lambda: everything_on("meta"),
    "a device": lambda: torch.device("meta"),
    "autocast that is off": lambda: torch.autocast("cpu", enabled=False),
    "anomalies detected": lambda: torch.autograd.set_detect_anomaly(True),
    "mutation allowed": torch.autograd.graph.allow_mutation_on_saved_tensors,
    "a function mode": BaseTorchFunctionMode,
    "operators counted": lambda: FlopCounterMode(display=False),
}


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("around", SURROUNDINGS)
@pytest.mark.parametrize("look", LOOKS)
def test_what_surrounds_a_look_does_not_change_what_it_tells(look, around):
    torch.manual_seed(0)
    net, X = nn.Sequential(tied(), nn.BatchNorm1d(4), nn.Dropout(0.0)), torch.randn(8, 4)
    alone = LOOKS[look](net, X)
    with unchanged(net, [X]), SURROUNDINGS[around]():
        assert repr(LOOKS[look](net, X)) == repr(alone)


def test_where_autograd_may_not_be_watched_all_else_is_told():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        report = d2c.trace(net, torch.rand(2, 4))
        assert not d2c.diagnose(net, torch.rand(2, 4)).findings
    assert report.error is None
    assert report.kept is None
    assert report.calls[0].flops == 64


def test_a_lazy_net_is_diagnosed_in_inference_mode():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.LazyLinear(5))
    with torch.inference_mode():
        assert not d2c.diagnose(net, torch.randn(8, 4)).findings
    assert d2c.pending(net)


PIECES = torch.rand(2, 3), torch.rand(4, 3)
NESTED = {
    "jagged": lambda: torch.nested.nested_tensor(list(PIECES), layout=torch.jagged),
    "strided": lambda: torch.nested.nested_tensor(list(PIECES)),
}


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", NESTED)
def test_a_nested_tensor_goes_through_like_its_pieces(kind):
    net, X = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), NESTED[kind]()
    report = d2c.trace(net, X, values=True, backward=True)
    assert report.error is None
    whole = d2c.trace(net, torch.cat(PIECES), values=True, backward=True)
    assert report.calls[0].flops == whole.calls[0].flops
    assert report.kept == whole.kept
    assert report.calls[0].values[0].mean == pytest.approx(whole.calls[0].values[0].mean)
    assert not d2c.diagnose(net, X).findings


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_of_nested_tensors_only_jagged_ones_have_shapes_without_data():
    net = nn.Linear(3, 4)
    assert len(d2c.infer_shapes(net, NESTED["jagged"]()).output[0]) == 3
    with torch.inference_mode():
        assert d2c.trace(net, NESTED["jagged"]()).error is None
    with pytest.raises(ValueError, match=r"got a nested one; do trace\(net, X\)"):
        d2c.infer_shapes(net, NESTED["strided"]())


def test_a_shape_stands_for_complex_numbers_where_the_net_has_no_others():
    net = nn.Linear(3, 4, dtype=torch.complex64)
    assert d2c.trace(net, (2, 3)).calls[0].bytes == 2 * 4 * 8
    assert d2c.infer_shapes(net, (2, 3)).output == ((2, 4),)
    assert not d2c.diagnose(net, (2, 3)).findings
    net.register_buffer("scale", torch.ones(1))
    assert d2c.trace(net, (2, 3)).error is None
    net.bias = nn.Parameter(torch.ones(4))
    assert "same dtype" in str(d2c.trace(net, (2, 3)).error)
