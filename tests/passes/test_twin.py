import contextlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import CHAPTER, WELL_KNOWN
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import d2lcompute as d2c
from d2lcompute.lazy import meta_twin
from d2lcompute.passes import twin
from d2lcompute.passes.hooks import Operators
from d2lcompute.passes.twin import remembered

READ_VALUES = {"FixedHiddenMLP", "FancyMLP", "chimera"}
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
    monkeypatch.setattr(twin, "_MOST", 3)
    monkeypatch.setattr(twin, "_MAKERS", {})
    X = torch.empty(2, device="meta")
    with on_meta():
        for number in range(10):
            assert (X + number).shape == X.shape
            assert len(twin._MAKERS) <= 3


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


def test_a_net_on_the_meta_device_is_traced_itself():
    net = torch.nn.Linear(2, 3, device="meta")
    seen = []
    net.register_forward_hook(lambda module, *_: seen.append(module is net))
    d2c.trace(net, (4, 2))
    assert seen == [True]


def test_what_fills_a_tensor_gives_that_tensor():
    X = torch.empty(2, 3, device="meta")
    with Operators(remembered):
        for _ in range(2):
            version = X._version
            assert X.normal_() is X
            assert X._version == version + 1


@pytest.mark.parametrize("copied", [meta_twin, twin.copy_if_lazy])
def test_a_copy_of_a_lazy_layer_has_hooks_and_handles_of_its_own(copied):
    layer = torch.nn.LazyLinear(4)
    layer.beside = {"layer": layer}
    copy = copied(layer)
    copy._initialize_hook.remove()
    assert copy._forward_pre_hooks == {}
    assert [*layer._forward_pre_hooks] == [layer._initialize_hook.id]
    assert copy.beside["layer"] is copy


def test_a_pass_on_meta_gives_its_copy_no_first_values(monkeypatch):
    filled = []
    monkeypatch.setattr(torch.nn.LazyLinear, "reset_parameters", lambda _: filled.append(1))
    net = torch.nn.Sequential(torch.nn.LazyLinear(4))
    filled.clear()
    d2c.infer_shapes(net, (2, 3))
    assert filled == []
    d2c.materialize(net, torch.ones(2, 3))
    assert filled == [1]
