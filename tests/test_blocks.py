import copy
import math
import pickle
from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute.blocks import ACTIVATIONS

BLOCKS = {
    "mlp": lambda: d2c.mlp(256, 10, in_units=20),
    "MLP": lambda: d2c.MLP(in_units=20),
    "MySequential": lambda: d2c.MySequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
    "FixedHiddenMLP": d2c.FixedHiddenMLP,
    "FancyMLP": d2c.FancyMLP,
    "NestMLP": lambda: d2c.NestMLP(in_units=20),
}
every_block = pytest.mark.parametrize("make", BLOCKS.values(), ids=BLOCKS)


@given(
    units=st.integers(1, 8),
    in_units=st.integers(1, 8),
    batch=st.lists(st.integers(1, 3), max_size=3),
    lazy=st.booleans(),
)
def test_dense_maps_the_last_axis_and_flattens_nothing(units, in_units, batch, lazy):
    layer = d2c.dense(units, in_units=None if lazy else in_units)
    assert layer(torch.rand(*batch, in_units)).shape == (*batch, units)


def test_dense_without_activation_is_torchs_own_layer():
    assert type(d2c.dense(3)) is nn.LazyLinear
    assert type(d2c.dense(3, in_units=4)) is nn.Linear


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dense_finds_every_activation_by_name(name):
    X = torch.randn(5, 4)
    layer = d2c.dense(3, name, in_units=4)
    assert_close(layer(X), getattr(nn.functional, name, getattr(torch, name, None))(layer[0](X)))


def test_dense_takes_a_module_as_activation():
    activation = nn.Softmax(dim=-1)
    assert d2c.dense(3, activation)[1] is activation


@pytest.mark.parametrize("size", [0, -3, 2.5, True, "4", None])
def test_dense_refuses_a_size_that_is_not_a_positive_integer(size):
    error = ValueError if type(size) is int else TypeError
    with pytest.raises(error, match=r"`units` must be a positive integer, got .*; do units="):
        d2c.dense(size)


def test_dense_names_in_units_when_that_is_the_bad_size():
    with pytest.raises(ValueError, match=r"`in_units` must be a positive integer, got 0"):
        d2c.dense(3, in_units=0)


@pytest.mark.parametrize("activation", ["rleu", 3, nn.ReLU, []])
def test_dense_refuses_an_unknown_activation_and_lists_the_known(activation):
    error = ValueError if isinstance(activation, str) else TypeError
    with pytest.raises(error, match=r"`activation` must be .*relu.*, got .*; do activation="):
        d2c.dense(3, activation)


@pytest.mark.parametrize("in_units", [None, 4])
def test_dense_with_an_activation_has_weight_and_bias_as_in_Gluon(in_units):
    net = nn.Sequential(d2c.dense(3, "relu", in_units), d2c.dense(2))
    d2c.initialize(net, d2c.initializers.Normal(0.01), seed=0)
    net(torch.rand(2, 4))
    assert net[0].weight is net[0][0].weight
    assert net[0].bias is net[0][0].bias
    assert list(net.state_dict()) == ["0.0.weight", "0.0.bias", "1.weight", "1.bias"]
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict())
    plain = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), nn.Linear(3, 2))
    d2c.initialize(plain, d2c.initializers.Normal(0.01), seed=0)
    assert_close(net.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_dense_with_an_activation_passes_on_what_is_assigned_to_weight():
    layer = d2c.dense(3, "relu", in_units=4)
    layer.weight = weight = nn.Parameter(torch.zeros(3, 4))
    layer.bias = None
    assert layer[0].weight is weight
    assert list(layer.state_dict()) == ["0.weight"]
    assert layer.bias is None


@pytest.mark.parametrize("change", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_dense_with_an_activation_is_copied_with_a_weight_of_its_own(change):
    layer = d2c.dense(3, "relu", in_units=4)
    assert change(layer).weight is not layer.weight
    assert_close(change(layer).weight, layer.weight)


def test_a_part_of_a_dense_has_the_weight_only_with_the_layer():
    layer = d2c.dense(3, "relu", in_units=4)
    assert layer[:1].weight is layer.weight
    with pytest.raises(AttributeError, match="'Dense' object has no attribute 'weight'"):
        _ = layer[1:].weight


def test_dense_with_an_activation_can_be_scripted():
    layer, X = d2c.dense(3, "relu", in_units=4), torch.rand(2, 4)
    assert_close(torch.jit.script(layer)(X), layer(X))


def test_mlp_puts_the_activation_between_layers_only():
    kinds = [type(layer) for layer in d2c.mlp(5, 4, 3, in_units=2)]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_mlp_is_lazy_throughout_without_in_units():
    assert [type(layer) for layer in d2c.mlp(5, 3)] == [nn.LazyLinear, nn.ReLU, nn.LazyLinear]


def test_mlp_gives_every_place_an_activation_of_its_own():
    net = d2c.mlp(5, 4, 3, activation=nn.PReLU(), in_units=2)
    assert net[1] is not net[3]
    assert net[1].weight is not net[3].weight


def test_mlp_needs_a_width():
    with pytest.raises(ValueError, match=r"`units` must name at least one width"):
        d2c.mlp()


def test_mlp_checks_the_activation_that_a_single_layer_does_not_use():
    with pytest.raises(ValueError, match="`activation` must be"):
        d2c.mlp(3, activation="rleu")


def test_MLP_computes_what_the_two_line_net_computes():
    block, net = d2c.MLP(7, 3, in_units=5), d2c.mlp(7, 3, in_units=5)
    net.load_state_dict(dict(zip(net.state_dict(), block.state_dict().values(), strict=True)))
    X = torch.rand(2, 5)
    assert_close(block(X), net(X))


def test_MySequential_computes_and_names_as_nn_Sequential_does():
    layers = nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)
    ours, torchs = d2c.MySequential(*layers), nn.Sequential(*layers)
    X = torch.rand(2, 4)
    assert_close(ours(X), torchs(X), rtol=0, atol=0)
    assert list(ours.state_dict()) == list(torchs.state_dict())


def test_MySequential_add_appends_and_returns_the_net():
    net = d2c.MySequential()
    assert net.add(nn.Linear(4, 3)).add(nn.ReLU(), nn.Linear(3, 2)) is net
    assert net(torch.rand(2, 4)).shape == (2, 2)


def test_MySequential_can_be_indexed_counted_and_iterated():
    first, last = nn.Linear(4, 3), nn.ReLU()
    net = d2c.MySequential(first, last, first)
    assert (net[0], net[-2], len(net), list(net)) == (first, last, 3, [first, last, first])


@pytest.mark.parametrize("cut", [slice(2), slice(1, None), slice(None, None, 2), slice(9, 12)])
def test_a_slice_of_MySequential_is_a_net_of_the_same_modules_and_names(cut):
    layers = nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)
    ours, torchs = d2c.MySequential(*layers)[cut], nn.Sequential(*layers)[cut]
    assert type(ours) is d2c.MySequential
    assert dict(ours.named_children()) == dict(torchs.named_children())


def test_MySequential_keeps_the_names_of_a_mapping():
    named = OrderedDict(hidden=nn.Linear(4, 3), act=nn.ReLU(), out=nn.Linear(3, 2))
    ours, torchs, X = d2c.MySequential(named), nn.Sequential(named), torch.rand(2, 4)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    assert_close(ours(X), torchs(X), rtol=0, atol=0)
    assert ours[1:].out is named["out"]
    assert list(d2c.MySequential(dict(named)).state_dict()) == list(torchs.state_dict())


def test_what_is_added_to_a_slice_replaces_nothing():
    net = d2c.MySequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))[1:]
    assert [name for name, _ in net.add(nn.Tanh()).named_children()] == ["1", "2", "3"]


@pytest.mark.parametrize("name", ["", "a.b", 3, None, "forward"])
def test_MySequential_refuses_a_name_that_torch_would_not_take_and_adds_nothing(name):
    with pytest.raises(ValueError, match=r"`modules` must have names that are free.*; do"):
        d2c.MySequential({"fine": nn.ReLU(), name: nn.Tanh()})


@pytest.mark.parametrize("wrong", ["x", nn.ReLU, None, torch.relu])
def test_MySequential_refuses_what_is_no_module_and_adds_nothing(wrong):
    net = d2c.MySequential()
    with pytest.raises(TypeError, match=r"`modules` must be modules, got .*; do"):
        net.add(nn.ReLU(), wrong)
    assert len(net) == 0


def by_hand(net, X, layer, activation, order):
    H = activation(layer(X))
    H = activation(layer(torch.relu(H @ net.rand_weight + 1)))
    while torch.linalg.vector_norm(H, order) > 1:
        H = H / 2
    return H


def test_FixedHiddenMLP_halves_until_the_absolute_sum_is_at_most_one():
    net, X = d2c.FixedHiddenMLP(), torch.rand(2, 20) * 100
    H = by_hand(net, X, net.linear, lambda H: H, order=1)
    assert_close(net(X), H.sum())
    assert 0.5 < H.abs().sum() <= 1


def test_FancyMLP_multiplies_small_results_by_ten():
    net, X = d2c.FancyMLP(), torch.rand(2, 20)
    scaled = {True: 0, False: 0}
    for power in range(12):
        with torch.no_grad():
            net.dense.weight.copy_(torch.eye(20) * 1.3**power)
        H = by_hand(net, X, net.dense, torch.relu, order=2)
        small = bool(H.norm() < 0.8)
        assert_close(net(X), (H * 10 if small else H).sum())
        scaled[small] += 1
    assert all(scaled.values())  # both branches were taken


def test_the_reused_layer_gets_the_gradient_of_both_uses():
    net = d2c.FixedHiddenMLP()
    net(torch.rand(2, 20)).backward()
    assert net.linear.weight.grad.abs().sum() > 0
    assert not net.rand_weight.requires_grad


@pytest.mark.parametrize("block", [d2c.FixedHiddenMLP, d2c.FancyMLP])
def test_a_generator_makes_the_constant_reproducible(block):
    weights = [block(generator=torch.Generator().manual_seed(1)).rand_weight for _ in range(2)]
    assert_close(*weights, rtol=0, atol=0)


@pytest.mark.parametrize("block", [d2c.FixedHiddenMLP, d2c.FancyMLP])
def test_the_width_of_the_looping_blocks_is_free(block):
    assert block(7)(torch.rand(2, 7)).shape == ()
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        block(0)


def test_a_finite_input_whose_sum_overflows_is_halved_all_the_same():
    net = d2c.FixedHiddenMLP()
    with torch.no_grad():
        net.linear.weight.copy_(torch.eye(20))
        net.rand_weight.copy_(torch.eye(20))
    X = torch.full((2, 20), 3e38)
    assert X.sum().isinf()
    assert net(X).item() == pytest.approx(0.797, abs=0.3)


def test_NestMLP_nests_and_the_chimera_runs():
    chimera = nn.Sequential(d2c.NestMLP(), nn.LazyLinear(20), d2c.FixedHiddenMLP())
    assert chimera(torch.rand(2, 20)).shape == ()
    assert list(chimera.state_dict())[:2] == ["0.net.0.weight", "0.net.0.bias"]


@every_block
def test_blocks_survive_a_state_dict_round_trip(make):
    net, other, X = make(), make(), torch.rand(2, 20)
    other.load_state_dict(net.state_dict())
    assert_close(other(X), net(X), rtol=0, atol=0)


@every_block
def test_blocks_survive_deepcopy_and_pickle(make):
    net, X = make(), torch.rand(2, 20)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_close(twin(X), net(X), rtol=0, atol=0)


@every_block
def test_blocks_follow_double_and_to(make):
    net = make().double()
    assert net(torch.rand(2, 20, dtype=torch.float64)).dtype == torch.float64
    assert all(t.device.type == "meta" for t in make().to("meta").state_dict().values())


@every_block
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # the compiler's own look
def test_blocks_give_the_same_under_torch_compile(make):
    net, X = make(), torch.rand(2, 20)
    assert_close(torch.compile(net, backend="eager")(X), net(X))


@pytest.mark.parametrize("name", ["mlp", "MLP", "MySequential", "NestMLP"])
def test_blocks_without_control_flow_can_be_exported(name):
    net, X = BLOCKS[name](), torch.rand(2, 20)
    assert_close(torch.export.export(net, (X,)).module()(X), net(X))


@every_block
def test_blocks_train(make):
    net, X = make(), torch.rand(2, 20)
    before = [p.detach().clone() for p in net.parameters()]
    net(X).sum().backward()
    torch.optim.SGD(net.parameters(), lr=1.0).step()
    assert any(not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize("block", [d2c.MLP, d2c.NestMLP])
def test_lazy_blocks_learn_their_width_from_the_first_batch(block):
    net = block()
    net(torch.rand(2, 13))
    assert next(net.parameters()).shape[1] == 13


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("block", [d2c.FixedHiddenMLP, d2c.FancyMLP])
def test_looping_blocks_refuse_values_that_no_halving_makes_small(block, value):
    X = torch.rand(2, 20)
    X[0, 0] = value
    with pytest.raises(ValueError, match=r"`X` must lead to finite values .* got infinity or NaN"):
        block()(X)
