import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.testing import assert_close

import d2lcompute as d2c

LAYERS = {
    "CenteredLayer": d2c.CenteredLayer,
    "MyLinear": lambda: d2c.MyLinear(5, 3),
    "MyDense": lambda: d2c.MyDense(3, 5),
}
every_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
with_parameters = pytest.mark.parametrize("make", [LAYERS["MyLinear"], LAYERS["MyDense"]])


@given(shape=st.lists(st.integers(1, 4), max_size=4))
def test_centered_layer_subtracts_one_mean_and_keeps_the_shape(shape):
    X = torch.randn(shape, dtype=torch.float64)
    Y = d2c.CenteredLayer()(X)
    assert_close(Y, X - X.sum() / X.numel())
    assert_close(Y.mean(), torch.zeros((), dtype=torch.float64))


def test_centered_layer_has_nothing_to_save():
    assert d2c.CenteredLayer().state_dict() == {}


@given(batch=st.lists(st.integers(0, 3), max_size=3), units=st.integers(1, 4))
def test_the_last_axis_is_mapped_as_torchs_linear_followed_by_relu_maps_it(batch, units):
    layer, X = d2c.MyLinear(5, units), torch.randn(*batch, 5)
    assert_close(layer(X), F.relu(F.linear(X, layer.weight.T, layer.bias)))
    assert layer(X).shape == (*batch, units)


def test_my_linear_starts_with_the_books_values():
    torch.manual_seed(1)
    layer = d2c.MyLinear(5, 3)
    torch.manual_seed(1)
    assert torch.equal(layer.weight, torch.randn(5, 3))
    assert torch.equal(layer.bias, torch.randn(3))


@with_parameters
def test_the_parameters_train(make):
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    (layer(torch.randn(16, 5)) - 1).pow(2).sum().backward()
    optimizer.step()
    assert not torch.equal(before["weight"], layer.weight)
    assert not torch.equal(before["bias"], layer.bias)


@every_layer
def test_the_gradient_is_the_derivative(make):
    layer = make().double()
    X = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)

    def output(X, *parameters):
        names = [name for name, _ in layer.named_parameters()]
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (X,))

    assert torch.autograd.gradcheck(output, (X, *layer.parameters()))


@every_layer
def test_copies_and_files_give_the_same_output(make):
    layer, X = make(), torch.rand(2, 5)
    fresh = make()
    fresh.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), fresh):
        assert torch.equal(twin(X), layer(X))


@every_layer
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_of_the_numbers_changes_with_the_layer(make, dtype):
    assert make().to(dtype)(torch.rand(2, 5, dtype=dtype)).dtype == dtype


@every_layer
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_layer_compiles_into_one_graph(make, backend):
    layer, X = make(), torch.rand(2, 5)
    torch.compiler.reset()
    compiled = torch.compile(layer, backend=backend, fullgraph=True)
    assert_close(compiled(X), layer(X))


@with_parameters
def test_a_generator_decides_the_starting_values_and_leaves_torchs_alone(make):
    kind = type(make())
    before = torch.get_rng_state()
    draws = [kind(4, 6, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(draws[0].weight, draws[1].weight)
    assert torch.equal(before, torch.get_rng_state())


@with_parameters
def test_a_layer_born_without_memory_gets_values_by_reset_parameters(make):
    with torch.device("meta"):
        layer = make()
    layer.to_empty(device="cpu").reset_parameters()
    assert layer(torch.rand(2, 5)).isfinite().all()


def test_my_dense_starts_as_gluons_layer_does():
    layer = d2c.MyDense(units=200, in_units=300)
    assert layer.weight.shape == (300, 200)
    assert 0.069 < layer.weight.abs().max() <= 0.07
    assert not layer.bias.any()


def test_the_two_layers_take_their_sizes_in_opposite_order():
    assert repr(d2c.MyLinear(5, 3)) == "MyLinear(in_units=5, units=3)"
    assert repr(d2c.MyDense(3, 5)) == "MyDense(in_units=5, units=3)"


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None, "3"])
def test_a_bad_size_is_named(size):
    error = ValueError if type(size) is int else TypeError
    with pytest.raises(error, match=r"`units` must be a positive integer, got .*; do units="):
        d2c.MyLinear(5, size)
    with pytest.raises(error, match=r"`in_units` must be a positive integer, got .*; do in_u"):
        d2c.MyDense(5, size)
