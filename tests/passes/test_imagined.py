import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import CHAPTER, READ_VALUES, WELL_KNOWN
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import d2lcompute as d2c
from d2lcompute.lazy import meta_twin
from d2lcompute.passes import imagined
from d2lcompute.passes.hooks import Operators
from d2lcompute.passes.imagined import remembered

NETS = {name: build for name, build in (CHAPTER | WELL_KNOWN).items() if name not in READ_VALUES}


class Kinds(TorchDispatchMode):
    """What each operator gives."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in torch.utils._pytree.tree_leaves(result) if torch.is_tensor(t)]
        self.seen.append((func, [(t.shape, t.stride(), t.dtype, t.device) for t in tensors]))
        return result


def kinds_of(run, meta):
    with meta, Kinds() as kinds:
        run()
    return kinds.seen


@contextlib.contextmanager
def on_meta():
    with torch.device("meta"), Operators(remembered):
        yield


@pytest.mark.parametrize("name", NETS)
def test_every_operator_gives_what_it_gives_on_the_plain_meta_device(name):
    net, inputs = NETS[name]()
    twin, given = meta_twin(net), [X.to("meta") for X in inputs]
    plain, remembered = (
        kinds_of(lambda: twin(*given), meta) for meta in (torch.device("meta"), on_meta())
    )
    assert remembered == plain


@given(st.lists(st.sampled_from([2, 2.0, True, 3]), min_size=2, max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_arguments_that_are_equal_and_of_different_types_are_told_apart(numbers, data):
    dtypes = [torch.int64, torch.float32, torch.bool]
    X = torch.empty(2, 3, device="meta", dtype=data.draw(st.sampled_from(dtypes)))

    def run():
        return [(X * number).dtype for number in numbers]

    with on_meta():
        remembered = run()
    assert remembered == run()


def test_strides_are_told_apart():
    X = torch.empty(2, 3, device="meta")
    with on_meta():
        for Y in (X, X.T.contiguous().T, X.expand(2, 3)):
            assert F.relu(Y).stride() == torch.relu(Y).stride() == Y.stride()


def test_results_are_tensors_of_their_own():
    X = torch.empty(2, device="meta")
    with on_meta():
        first, second = X + 1, X + 1
    assert first is not second
    assert first.untyped_storage()._cdata != second.untyped_storage()._cdata


def test_no_more_than_so_many_results_are_remembered(monkeypatch):
    monkeypatch.setattr(imagined, "_MOST", 3)
    monkeypatch.setattr(imagined, "_MAKERS", {})
    X = torch.empty(2, device="meta")
    with on_meta():
        for number in range(10):
            assert (X + number).shape == X.shape
            assert len(imagined._MAKERS) <= 3


@pytest.mark.parametrize("name", ["cholesky", "eigvalsh", "inv", "matrix_exp", "pinv", "svdvals"])
def test_operators_that_only_look_give_nothing(name):
    X = torch.empty(3, 3, device="meta")
    with on_meta():
        assert getattr(torch.linalg, name)(X).shape[-1] == 3


def test_an_operator_that_fails_fails_again():
    X = torch.empty(2, 3, device="meta")
    with on_meta():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="same reduction dim"):
                X @ X


def test_values_are_computed_where_there_are_some():
    with on_meta():
        X = torch.ones(2, device="cpu")
        assert ((X + 1).tolist(), (2 * X + 1).tolist()) == ([2, 2], [3, 3])


def test_gradients_flow():
    with on_meta():
        W = torch.empty(3, 3, requires_grad=True)
        for _ in range(3):
            (gradient,) = torch.autograd.grad((W @ W).sum(), W)
            assert gradient.shape == W.shape


def test_what_fills_a_tensor_gives_that_tensor():
    X = torch.empty(2, 3, device="meta")
    with Operators(remembered):
        for _ in range(2):
            version = X._version
            assert X.normal_() is X
            assert X._version == version + 1


# ------------------------------------------------------------------------------------------- types

LAYERS = {
    "linear": (lambda: nn.Linear(4, 2), (3, 4)),
    "linear without a bias": (lambda: nn.Linear(4, 2, bias=False), (3, 4)),
    "bilinear": (lambda: Twice(nn.Bilinear(4, 4, 3)), (3, 4)),
    "convolution": (lambda: nn.Conv1d(4, 2, 1), (2, 4, 5)),
    "grouped convolution": (lambda: nn.Conv2d(4, 4, 3, 2, 1, groups=2), (2, 4, 5, 5)),
    "transposed convolution": (lambda: nn.ConvTranspose2d(4, 2, 3, 2), (2, 4, 5, 5)),
    "layer norm": (lambda: nn.LayerNorm(4), (3, 4)),
    "batch norm": (lambda: nn.BatchNorm1d(4), (3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (3, 4, 5)),
    "rms norm": (lambda: nn.RMSNorm(4), (3, 4)),
    "LSTM": (lambda: nn.LSTM(4, 4), (5, 2, 4)),
    "GRU cell": (lambda: nn.GRUCell(4, 4), (3, 4)),
    "attention": (lambda: nn.TransformerEncoderLayer(4, 2, 8), (5, 2, 4)),
    "embedding": (lambda: nn.Embedding(5, 4), (2, 3)),
    "bag": (lambda: nn.EmbeddingBag(5, 4), (2, 3)),
    "softmax": (lambda: nn.Softmax(-1), (3, 4)),
    "GELU": (nn.GELU, (3, 4)),
    "GLU": (nn.GLU, (3, 4)),
    "ReLU": (nn.ReLU, (3, 4)),
    "sigmoid": (nn.Sigmoid, (3, 4)),
    "dropout": (nn.Dropout, (3, 4)),
    "max pool": (lambda: nn.MaxPool2d(2), (1, 2, 6, 6)),
    "average pool": (lambda: nn.AvgPool2d(2), (1, 2, 6, 6)),
    "upsample": (lambda: nn.Upsample(scale_factor=2), (1, 2, 6, 6)),
    "unfold": (lambda: nn.Unfold(2), (1, 2, 6, 6)),
    "reflection": (lambda: nn.ReflectionPad2d(1), (1, 2, 6, 6)),
    "similarity": (lambda: Twice(nn.CosineSimilarity()), (3, 4)),
}  # fmt: skip
TYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32,
    torch.uint8, torch.bool,
]  # fmt: skip


class Twice(nn.Module):
    """A layer of two inputs that are the same."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, X):
        return self.layer(X, X)


@pytest.mark.filterwarnings("ignore:Mismatch dtype")
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_by_shape_the_types_that_it_takes_for_real(name):
    make, shape = LAYERS[name]
    net = make()
    for dtype in TYPES:
        X = torch.zeros(shape, dtype=dtype)
        try:
            expected = None
            with torch.no_grad():
                net(X)
        except Exception as error:
            expected = error
        look = d2c.trace(net, X.to("meta"))
        assert bool(look.error) == bool(expected), dtype
        if expected:
            with pytest.raises(RuntimeError, match="do "):
                d2c.infer_shapes(net, X)


def test_a_wrong_type_is_said_in_the_words_of_a_real_pass():
    net = nn.Sequential(nn.LazyLinear(2))
    X = torch.zeros(3, 4, dtype=torch.long)
    said = "Linear.* fails on .*must have the same dtype, but got Long and Float.*do .*X.to"
    for look in (d2c.infer_shapes, d2c.materialize):
        with pytest.raises(RuntimeError, match=said):
            look(net, X)
    assert "got Long and Float" in str(d2c.trace(net, X.to("meta")).error)
    assert "got Long and Float" in d2c.draw(net, X.to("meta")).alt


def test_types_that_autocast_converts_are_not_refused():
    net, X = nn.Linear(4, 2), torch.zeros(3, 4, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert d2c.infer_shapes(net, X).output == (tuple(net(X).shape),)
    with pytest.raises(RuntimeError, match="got BFloat16 and Float"):
        d2c.infer_shapes(net, X)


def test_each_operator_is_tried_once_for_its_types(monkeypatch):
    tried = []
    refusal = imagined._refusal
    for memory in ("_MAKERS", "_REFUSALS"):
        monkeypatch.setattr(imagined, memory, {})
    monkeypatch.setattr(imagined, "_refusal", lambda f, *a: tried.append(f) or refusal(f, *a))
    net = nn.Sequential(nn.Embedding(5, 4), *[nn.Linear(4, 4) for _ in range(5)])
    for _ in range(2):
        d2c.infer_shapes(net, torch.zeros(2, 3, dtype=torch.long))
    aten = torch.ops.aten
    assert tried == [aten.embedding.default, aten.addmm.default]


WHOLE = {
    "embedding": lambda W, X: F.embedding(X, W),
    "index_select": lambda W, X: W.index_select(0, X[0]),
    "index_add": lambda W, X: W.index_add(0, X[0], W[:3]),
    "gather": lambda W, X: W.gather(1, X),
    "scatter": lambda W, X: W.scatter(1, X, W),
    "index": lambda W, X: W[X],
    "gcd": lambda W, X: torch.gcd(X, X),
    "bits": lambda W, X: X & X,
    "shift": lambda W, X: X << 1,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_takes_whole_numbers_refuses_others_by_shape_too(name):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.W = nn.Parameter(torch.rand(5, 5))

        def forward(self, X):
            return WHOLE[name](self.W, X)

    net, X = Net(), torch.ones(3, 3)
    with pytest.raises((RuntimeError, IndexError)):
        net(X)
    with pytest.raises(RuntimeError, match="`inputs` must fit the net"):
        d2c.infer_shapes(net, X)


def test_a_parameter_that_is_filled_is_not_taken_apart_into_rows():
    weight, fill = nn.Parameter(torch.empty(4, 3, device="meta")), torch.ops.aten.uniform_.default
    with torch.no_grad(), Kinds() as kinds:
        remembered(fill, (weight,), {})
    assert [func for func, _ in kinds.seen] == [fill]
