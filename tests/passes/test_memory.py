"""The bytes that a trace tells, held against what autograd really saves."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import CHAPTER, READ_VALUES, WELL_KNOWN
from nets_saving import NETS as SAVING
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import d2lcompute as d2c

NETS = CHAPTER | WELL_KNOWN


def saved(net, inputs):
    """The bytes that autograd saves, each storage once, parameters and inputs apart."""
    own = [*net.parameters(), *inputs]
    apart = {t.untyped_storage().data_ptr() for t in own if isinstance(t, torch.Tensor)}
    found = {}

    def pack(tensor):
        for part in parts(tensor):
            storage = part.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes(), part  # alive, or its place is used again
        return tensor

    with d2c.lazy.dry_run(net), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        net(*inputs)
    return sum(size for place, (size, _tensor) in found.items() if place not in apart)


def parts(tensor):
    """The tensors that a sparse one consists of."""
    if tensor.layout is torch.sparse_coo:
        return tensor._indices(), tensor._values()
    if tensor.layout is torch.sparse_csr:
        return tensor.crow_indices(), tensor.col_indices(), tensor.values()
    return (tensor,)


@pytest.mark.parametrize("name", NETS)
def test_what_is_kept_is_what_autograd_saves_to_the_byte(name):
    net, inputs = NETS[name]()
    if not d2c.pending(net):
        assert d2c.trace(net, *inputs).kept == saved(net, inputs)


class Attention(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.mix, self.out, self.attend = nn.Linear(16, 48), nn.Linear(16, 16), attend

    def forward(self, X):
        return self.out(self.attend(*self.mix(X).chunk(3, -1)))


def by_hand(Q, K, V):
    return F.dropout((Q @ K.mT / 4).softmax(-1), 0.1) @ V


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.linear = nn.Embedding(50, 16), nn.Linear(16, 16)

    def forward(self, tokens):
        return F.linear(self.linear(self.embedding(tokens)).tanh(), self.embedding.weight)


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.first, self.reentrant = nn.Linear(8, 8), reentrant
        self.inner = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, X):
        return checkpoint(self.inner, self.first(X), use_reentrant=self.reentrant).sigmoid()


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))

    def forward(self, X):
        Y = self.layers(X) + 1
        Y *= 2
        return F.hardtanh_(Y).sigmoid_()


class Views(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, X):
        first, second = self.linear(X).split(4, 1)
        return (first * second).T.reshape(-1) * first.expand(3, -1, -1).exp()[0, 0, 0]


class FunctionalNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8))

    def forward(self, X):
        return F.batch_norm(X, X.detach().mean(0), X.detach().var(0), self.weight)


def frozen():
    return nn.Sequential(nn.Linear(8, 8).requires_grad_(False), nn.ReLU(), nn.Linear(8, 8))


def convolutional():
    first = nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, 8, 3, groups=4), nn.MaxPool2d(2)
    return nn.Sequential(*first, nn.Dropout2d(0.2), nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 4, 2))


IMAGES, SEQUENCES, ROWS = torch.rand(2, 3, 16, 16), torch.rand(2, 5, 16), torch.rand(4, 8)
TOKENS = torch.randint(50, (3, 4))
ODD = {
    "convolutions": (convolutional, IMAGES),
    "attention by hand": (lambda: Attention(by_hand), SEQUENCES),
    "fused attention": (lambda: Attention(F.scaled_dot_product_attention), SEQUENCES),
    "encoder in evaluation mode": (
        lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval(),
        SEQUENCES,
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(), nn.AlphaDropout(0.2)), ROWS),
    "tied": (Tied, TOKENS),
    "padded embedding": (lambda: nn.Embedding(50, 16, padding_idx=0), TOKENS),
    "bag of embeddings": (lambda: nn.EmbeddingBag(50, 16, mode="max"), TOKENS),
    "checkpoint": (lambda: Checkpointed(False), ROWS),
    "reentrant checkpoint": (lambda: Checkpointed(True), ROWS),
    "in place": (InPlace, IMAGES),
    "normalization in evaluation mode": (lambda: nn.BatchNorm1d(8).eval(), ROWS),
    "normalization by function": (FunctionalNorm, ROWS),
    "recurrent": (lambda: nn.GRU(16, 8, 2, bidirectional=True, dropout=0.2), SEQUENCES),
    "views": (Views, ROWS),
    "frozen": (frozen, ROWS),
    "parametrized": (lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), ROWS),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:LSTM with projections")
@pytest.mark.parametrize("name", ODD | SAVING)
def test_what_is_kept_in_odd_nets_is_what_autograd_saves_to_the_byte(name):
    make, X = (ODD | SAVING)[name]
    net = make()
    real = d2c.trace(net, X)
    assert real.error is None
    assert real.kept == saved(net, [X])
    if "sparse" not in name:  # torch has no sparse products without data
        imagined = d2c.trace(net, X.to("meta"))
        assert imagined.is_about or (imagined.kept, imagined.peak) == (real.kept, real.peak)


@settings(max_examples=60)
@given(plans(aliases=True, wired=True, lazy=False), st.booleans())
def test_what_is_kept_in_any_net_is_what_autograd_saves_to_the_byte(plan, converts):
    net, X = plan.build(), plan.inputs()
    with torch.autocast("cpu", torch.bfloat16, enabled=converts):
        assert d2c.trace(net, X).kept == saved(net, [X])


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


LAYERS = {
    "layer norm": (nn.LayerNorm(8), (4, 8)),
    "rms norm": (nn.RMSNorm(8), (4, 8)),
    "batch norm": (nn.BatchNorm1d(8), (4, 8)),
    "batch norm of images": (nn.BatchNorm2d(4), (2, 4, 5, 5)),
    "batch norm that is trained": (nn.BatchNorm1d(8).eval(), (4, 8)),
    "instance norm": (nn.InstanceNorm2d(4), (2, 4, 5, 5)),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 5, 5)),
    "convolution": (nn.Conv2d(4, 4, 3), (2, 4, 5, 5)),
    "pooling": (nn.MaxPool2d(2), (2, 4, 6, 6)),
    "activation": (nn.GELU(), (4, 8)),
    "softmax": (nn.Softmax(-1), (4, 8)),
    "recurrent": (nn.GRU(8, 8), (4, 2, 8)),
    "attention": (nn.TransformerEncoderLayer(8, 2, 16), (4, 2, 8)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_bytes_by_shape_are_those_of_tensors_or_said_to_be_about_right(name, dtype):
    layer, shape = LAYERS[name]
    net = nn.Sequential(nn.Identity(), layer).to(dtype)
    real = d2c.trace(net, torch.rand(shape, dtype=dtype).requires_grad_())
    imagined = d2c.trace(net, torch.empty(shape, dtype=dtype, device="meta").requires_grad_())
    assert imagined.is_about or (imagined.peak, imagined.kept) == (real.peak, real.kept)


LOSSES = {
    nn.BCELoss, nn.BCEWithLogitsLoss, nn.CrossEntropyLoss, nn.HuberLoss, nn.L1Loss, nn.MSELoss,
    nn.PoissonNLLLoss, nn.SmoothL1Loss, nn.SoftMarginLoss, nn.MultiLabelSoftMarginLoss,
}  # fmt: skip


@pytest.mark.parametrize("loss", sorted(LOSSES, key=str))
def test_bytes_of_a_loss_by_shape_are_right_or_said_to_be_about_right(loss):
    class Step(nn.Module):
        def forward(self, X, Y):
            return loss().forward(X * 1, Y)

    X, Y = torch.rand(4, 8), torch.rand(4, 8)
    for net in (loss(), Step()):
        real, imagined = d2c.trace(net, X, Y), d2c.trace(net, (4, 8), (4, 8))
        assert imagined.is_about or imagined.peak == real.peak


class Crossing(nn.Module):
    """Products of what lies in another order in memory, so that it is copied first."""

    def forward(self, X):
        X = X.transpose(1, 2)
        return (X @ X.mT).flatten(2) @ torch.einsum("bhqk,bhlk->bhql", X, X).flatten(2).mT


def test_bytes_by_shape_are_the_same_each_time():
    nets = {name: make() for name, make in NETS.items() if name not in READ_VALUES}
    for net, inputs in [(Crossing(), [torch.rand(3, 5, 2, 4).requires_grad_()]), *nets.values()]:
        given = [X.to("meta") for X in inputs]
        first, again = d2c.trace(net, *given), d2c.trace(net, *given)
        assert repr(first) == repr(again)
        assert [call.bytes for call in first] == [call.bytes for call in again]
        real = d2c.trace(net, *inputs)
        assert first.is_about or (first.peak, first.kept) == (real.peak, real.kept)


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
