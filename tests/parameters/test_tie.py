import copy
import io
import pickle

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given
from hypothesis import strategies as st
from strategies import plans
from torch import nn
from torch.nn.parameter import is_lazy
from torch.testing import assert_close

import d2lcompute as d2c


def pair(make, between=nn.ReLU):
    return nn.Sequential(make(), between(), make())


def linears(**kwargs):
    return pair(lambda: nn.Linear(4, 4, **kwargs))


def lazy_linears(**kwargs):
    return pair(lambda: nn.LazyLinear(4, **kwargs))


def train(net, X, steps=3):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        net(X).square().sum().backward()
        optimizer.step()


def is_tied(net, leaf="weight"):
    first, second = (getattr(net[index], leaf) for index in (0, 2))
    return first is second


# tie


def test_tying_parameters_makes_them_one():
    net = linears()
    source = net[0].weight
    d2c.tie(net, "0.weight", "2.weight")
    assert net[2].weight is net[0].weight is source
    assert net[2].bias is not net[0].bias


def test_tying_modules_makes_all_their_parameters_one_but_no_buffer():
    net = pair(lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    d2c.tie(net, "0", "2")
    assert d2c.tied_groups(net) == [
        ("0.0.weight", "2.0.weight"),
        ("0.0.bias", "2.0.bias"),
        ("0.1.weight", "2.1.weight"),
        ("0.1.bias", "2.1.bias"),
    ]


def test_several_targets_are_tied_at_once():
    net = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(4)])
    d2c.tie(net, "1", "0", "3")
    assert d2c.tied_groups(net) == [("0.weight", "1.weight", "3.weight")]


def test_tying_again_changes_nothing():
    net = linears()
    d2c.tie(net, "0", "2")
    with unchanged(net):
        d2c.tie(net, "0", "2")
        d2c.tie(net, "2", "0")


def test_what_was_tied_to_a_target_stays_tied_to_it():
    net = nn.Sequential(*[nn.Linear(2, 2, bias=False) for _ in range(3)])
    d2c.tie(net, "1", "2")
    d2c.tie(net, "0", "1")
    assert d2c.tied_groups(net) == [("0.weight", "1.weight", "2.weight")]


@given(plans(lazy=False), st.data())
def test_tie_makes_one_group_of_two_and_touches_no_other_parameter(plan, data):
    net = plan.build()
    square = [n for n, p in net.named_parameters() if p.shape == (plan.width, plan.width)]
    if len(square) < 2:
        return
    source, target = data.draw(st.permutations(square))[:2]
    wanted = net.get_parameter(source)
    before = dict(net.named_parameters(remove_duplicate=False))
    gone = net.get_parameter(target)
    d2c.tie(net, source, target)
    after = dict(net.named_parameters(remove_duplicate=False))
    assert list(after) == list(before)
    assert all(after[n] is (wanted if p is gone else p) for n, p in before.items())


def test_an_lstm_computes_with_the_tied_parameter():
    net = nn.ModuleList([nn.LSTM(3, 4), nn.LSTM(3, 4)])
    d2c.tie(net, "0", "1")
    X = torch.rand(5, 1, 3)
    assert_close(net[1](X)[0], net[0](X)[0])
    with torch.no_grad():
        net[0].weight_hh_l0.zero_()
    assert_close(net[1](X)[0], net[0](X)[0])


def test_parameters_in_containers_and_of_parametrized_layers_are_tied():
    net = nn.ModuleDict({"list": nn.ParameterList([torch.ones(2), torch.zeros(2)])})
    net["normed"] = pair(lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    d2c.tie(net, "list.0", "list.1")
    d2c.tie(net, "normed.0", "normed.2")
    assert net["list"][1] is net["list"][0]
    assert_close(net["normed"][0].weight, net["normed"][2].weight)


@pytest.mark.parametrize("make", [linears, lazy_linears], ids=["sized", "lazy"])
@pytest.mark.parametrize("names", [("0", "2"), ("0.weight", "2.weight")])
@pytest.mark.parametrize(
    "change",
    [
        lambda net: train(net.double(), torch.rand(3, 4, dtype=torch.float64)),
        copy.deepcopy,
        lambda net: copy.deepcopy(net).half().float(),
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: net.to(torch.bfloat16).to("cpu", torch.float32),
        lambda net: net.load_state_dict(copy.deepcopy(net.state_dict())) and None,
        lambda net: net.load_state_dict(linears().state_dict()) and None,
        lambda net: net.eval().requires_grad_(False).share_memory() if not_lazy(net) else None,
    ],
    ids=["train", "deepcopy", "half", "pickle", "to", "state_dict", "eager_state_dict", "share"],
)
def test_a_tie_holds(make, names, change):
    net = make()
    d2c.tie(net, *names)
    net = change(net) or net
    dtype = net[0].weight.dtype
    net(torch.rand(3, 4, dtype=dtype))
    assert is_tied(net)
    assert type(net[2]) is nn.Linear
    assert is_tied(net, "bias") == (names == ("0", "2"))


def not_lazy(net):
    return not any(is_lazy(p) for p in net.parameters())


def test_a_tied_net_trains_as_one_with_a_shared_layer():
    shared = nn.Linear(4, 4)
    twin = nn.Sequential(shared, nn.ReLU(), shared)
    net = linears()
    net[0].load_state_dict(shared.state_dict())
    d2c.tie(net, "0", "2")
    X = torch.rand(5, 4)
    train(net, X)
    train(twin, X)
    assert_close(net(X), twin(X))


UNFIT = {
    "unknown": (
        ("0.wieght", "2.weight"),
        r"`source` must be the name .*got '0\.wieght'.*'0\.weight'",
    ),
    "unknown target": (("0", "33"), r"`targets` must be the name .* got '33'"),
    "unknown second target": (("0", "3", "33"), r"`targets` must be the name .* got '33'"),
    "no target": (("0",), r"`targets` must name what to tie to `source`, got none"),
    "kinds": (("0", "2.weight"), r"`targets` must be a module as '0' is, got '2\.weight', a param"),
    "no parameters": (("0", "1"), r"`targets` must name.*got '1', a module without parameters"),
    "shape": (("0.weight", "2.weight"), r"like '0\.weight', \(4, 4\) float32 on cpu, got .*\(5, 4"),
    "names": (("0", "4"), r"parameters of '0', weight, bias, got '4' with weight; do tie weight"),
    "type": (
        ("0", "5"),
        r"'0\.weight', .*float32 on cpu, got '5\.weight', \(4, 4\) float64 on cpu",
    ),
    "buffer": (("0", "6.running_mean"), r"got '6\.running_mean', a buffer"),
    "device": (("0", "7"), r"got '7\.weight', \(4, 4\) float32 on meta"),
    "lazy": (("8", "0"), r"`source` must have a shape.*lazy '8\.weight' for '0\.weight'"),
    "known part": (("2.weight", "8.weight"), r"\(5, 4\) .*got '8\.weight', \(4, \?\)"),
}


@pytest.mark.parametrize(("names", "expected"), UNFIT.values(), ids=UNFIT)
def test_what_does_not_fit_is_an_error_before_anything_changes(names, expected):
    net = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5), nn.Linear(4, 4), nn.Linear(4, 4, bias=False),
        nn.Linear(4, 4).double(), nn.BatchNorm1d(4), nn.Linear(4, 4, device="meta"),
        nn.LazyLinear(4),
    )  # fmt: skip
    with unchanged(net), pytest.raises(ValueError, match=expected):
        d2c.tie(net, *names)


def test_a_module_in_place_of_its_name_is_an_error_that_says_so():
    net = linears()
    with pytest.raises(TypeError, match=r"`source` must be the name of .*, got Linear; do"):
        d2c.tie(net, net[0], net[2])
    with pytest.raises(TypeError, match=r"`name` must be the name of .*, got a tensor; do"):
        d2c.untie(net, net[0].weight)


def test_the_names_of_a_parametrized_layer_are_told():
    net = nn.Sequential(torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    expected = r"got '0\.weight'; do choose one such as '0\.parametrizations\.weight\.original0'"
    with pytest.raises(ValueError, match=expected):
        d2c.tie(net, "0.weight", "0.bias")


def test_modules_that_are_tied_within_differently_are_not_tied():
    net = pair(lambda: nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)))
    d2c.tie(net, "2.0", "2.1")
    expected = r"must not hold one parameter at two places that would part.*do untie\(net, '2\.1"
    with unchanged(net), pytest.raises(ValueError, match=expected):
        d2c.tie(net, "0", "2")
    d2c.untie(net, "2.1")
    d2c.tie(net, "0", "2")
    assert len(d2c.tied_groups(net)) == 2


def test_modules_whose_parameters_are_tied_crosswise_are_not_tied():
    net = pair(lambda: nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)))
    d2c.tie(net, "0.1", "2.0")
    with unchanged(net), pytest.raises(ValueError, match=r"would part, got '0\.1\.weight'"):
        d2c.tie(net, "0", "2")


def test_lazy_parameters_of_foreign_layers_are_tied_although_nothing_is_known():
    net = nn.ModuleList([nn.Module(), nn.Module()])
    for module in net:
        module.gain = nn.UninitializedParameter()
    d2c.tie(net, "0.gain", "1.gain")
    assert net[1].gain is net[0].gain


# lazy layers


LAZY = {
    "linear": (lambda: nn.LazyLinear(4), (2, 4)),
    "convolution": (lambda: nn.LazyConv2d(4, 3, padding=1), (2, 4, 5, 5)),
    "transposed": (lambda: nn.LazyConvTranspose1d(4, 1), (2, 4, 5)),
    "norm": (nn.LazyBatchNorm1d, (2, 4)),
    "instance norm": (lambda: nn.LazyInstanceNorm1d(affine=True), (2, 4, 5)),
}


@pytest.mark.parametrize(("make", "shape"), LAZY.values(), ids=LAZY)
@pytest.mark.parametrize("names", [("0", "2"), ("2", "0"), ("0.weight", "2.weight")])
def test_lazy_layers_share_one_parameter_after_the_first_forward_pass(make, shape, names):
    net = pair(make)
    d2c.tie(net, *names)
    X = torch.rand(shape)
    first = net(X)
    assert is_tied(net)
    assert type(net[0].weight) is nn.Parameter
    assert type(net[0]) is type(net[2])
    assert repr(net[0]) == repr(net[2])
    assert not net[0]._forward_pre_hooks
    assert net(X).shape == first.shape


@pytest.mark.parametrize("names", [("0", "2"), ("0.weight", "2.weight"), ("0.bias", "2.bias")])
def test_a_lazy_layer_takes_over_the_values_of_a_sized_one(names):
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.LazyLinear(4))
    before = copy.deepcopy(net[0].state_dict())
    d2c.tie(net, *names)
    net(torch.rand(2, 4))
    assert_close(dict(net[0].state_dict()), dict(before))
    assert d2c.tied_groups(net)[0] == (
        f"0.{names[0][2:] or 'weight'}",
        f"2.{names[1][2:] or 'weight'}",
    )
    assert (net[2].in_features, type(net[2])) == (4, nn.Linear)


def test_the_shared_values_are_those_of_the_first_layer_that_runs():
    net = lazy_linears()
    d2c.tie(net, "0.weight", "2.weight")
    seen = []
    net[0].register_forward_hook(lambda *_: seen.append(net[0].weight.detach().clone()))
    net(torch.rand(2, 4))
    assert_close(net[2].weight.detach(), seen[0])


def test_loading_into_tied_lazy_layers_keeps_the_values_and_draws_nothing():
    net, source = lazy_linears(), linears()
    d2c.tie(net, "0.weight", "2.weight")
    source[2].weight = source[0].weight
    net.load_state_dict(source.state_dict())
    state = torch.get_rng_state()
    X = torch.rand(2, 4)
    torch.set_rng_state(state)
    assert_close(net(X), source(X))
    assert torch.equal(torch.get_rng_state(), state)
    assert net[2].in_features == 4


def test_layers_whose_inputs_differ_in_size_cannot_be_tied_and_the_layer_stays_lazy():
    net = lazy_linears()
    d2c.tie(net, "0", "2")
    expected = (
        r"LazyLinear must fit its tied `weight` of shape \(4, 7\), got one that makes it \(4, 4"
    )
    for _ in range(2):
        with pytest.raises(RuntimeError, match=expected):
            net(torch.rand(2, 7))
    assert (type(net[2]), net[2].in_features) == (nn.LazyLinear, 0)
    assert is_tied(net)
    assert net[2](torch.rand(2, 7)).shape == (2, 4)


def test_a_chain_of_ties_on_lazy_layers_is_one_parameter():
    net = nn.Sequential(*[nn.LazyLinear(4) for _ in range(4)])
    d2c.tie(net, "0.weight", "1.weight")
    d2c.tie(net, "0.bias", "1.bias")
    d2c.tie(net, "2", "3")
    d2c.tie(net, "1", "2")
    net(torch.rand(2, 4))
    assert d2c.tied_groups(net) == [
        tuple(f"{i}.weight" for i in range(4)),
        tuple(f"{i}.bias" for i in range(4)),
    ]


def test_a_tied_lazy_layer_may_run_before_its_source():
    class Backwards(nn.Sequential):
        def forward(self, X):
            for module in reversed(list(self)):
                X = module(X)
            return X

    net = Backwards(nn.LazyLinear(4), nn.LazyLinear(4))
    d2c.tie(net, "0.weight", "1.weight")
    net(torch.rand(2, 4))
    assert net[0].weight is net[1].weight


# untie


def test_untie_gives_a_parameter_of_its_own_with_the_same_value_and_no_gradient():
    net = linears()
    d2c.tie(net, "0", "2")
    net(torch.rand(2, 4)).sum().backward()
    gradient = net[0].weight.grad.clone()
    d2c.untie(net, "2.weight")
    assert not is_tied(net)
    assert is_tied(net, "bias")
    assert_close(net[2].weight, net[0].weight)
    assert net[2].weight.grad is None
    assert_close(net[0].weight.grad, gradient)


def test_untie_copies_a_layer_that_hangs_at_two_places_for_one_of_them():
    shared = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    net = nn.Sequential(shared, nn.ReLU(), shared)
    d2c.untie(net, "2.0.weight")
    assert net[0] is shared
    assert net[2] is not shared
    assert d2c.tied_groups(net) == [
        ("0.0.bias", "2.0.bias"),
        *[(f"0.1.{n}", f"2.1.{n}") for n in shared[1].state_dict()],
    ]
    d2c.untie(net, "2")
    assert d2c.tied_groups(net) == []
    X = torch.rand(4, 3)
    assert_close(net[2](X), net[0](X))


def test_untie_a_module_keeps_the_ties_inside_it():
    block = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    d2c.tie(block, "0", "1")
    net = nn.Sequential(block, block)
    d2c.untie(net, "1")
    assert d2c.tied_groups(net) == [("0.0.weight", "0.1.weight"), ("1.0.weight", "1.1.weight")]


def test_untie_keeps_what_is_not_tied_as_it_is():
    net = linears()
    d2c.tie(net, "0.weight", "2.weight")
    layer, bias = net[2], net[2].bias
    d2c.untie(net, "2")
    assert net[2] is layer
    assert net[2].bias is bias
    with unchanged(net):
        d2c.untie(net, "2")
        d2c.untie(net, "0.weight")


def test_untie_parts_what_only_shares_memory():
    net = linears(bias=False)
    net[2].weight = nn.Parameter(net[0].weight.detach())
    d2c.untie(net, "2.weight")
    d2c.set_data(net[0].weight, 0)
    assert net[2].weight.abs().sum() > 0


def test_an_untied_lazy_parameter_gets_a_shape_of_its_own():
    shared = nn.LazyLinear(4)
    net = nn.Sequential(shared, shared)
    d2c.untie(net, "1")
    net(torch.rand(2, 6))
    assert (net[0].weight.shape, net[1].weight.shape) == ((4, 6), (4, 4))


@given(plans(lazy=False, aliases=True))
def test_an_untied_net_computes_the_same_and_has_no_tie(plan):
    net = plan.build().eval()
    twin = copy.deepcopy(net)
    for group in d2c.tied_groups(net):
        for name in group[1:]:
            d2c.untie(twin, name)
    assert d2c.tied_groups(twin) == []
    assert twin.state_dict().keys() == net.state_dict().keys()
    assert_close(twin(plan.inputs()), net(plan.inputs()))


def test_untie_refuses_an_unknown_name():
    with pytest.raises(ValueError, match=r"`name` must be the name .* got '2\.wight'.*'2\.weight'"):
        d2c.untie(linears(), "2.wight")


# tied_groups


@given(plans())
def test_groups_are_the_names_of_one_object(plan):
    net = plan.build()
    objects = {}
    for name, tensor in [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]:
        objects.setdefault(id(tensor), set()).add(name)
    assert {frozenset(group) for group in d2c.tied_groups(net)} == {
        frozenset(names) for names in objects.values() if len(names) > 1
    }


@given(plans(lazy=False, aliases=True))
def test_groups_are_found_by_memory_too(plan):
    net = plan.build()
    places = {}
    for name, tensor in net.state_dict(keep_vars=True).items():
        places.setdefault(tensor.data_ptr(), set()).add(name)
    kept = [group & net.state_dict().keys() for group in map(set, d2c.tied_groups(net))]
    assert {frozenset(group) for group in kept if len(group) > 1} == {
        frozenset(names) for names in places.values() if len(names) > 1
    }


def test_lazy_meta_and_empty_tensors_are_not_grouped_falsely():
    net = nn.Sequential(
        nn.LazyLinear(2), nn.LazyLinear(2), nn.Linear(2, 2, device="meta"),
        nn.Linear(2, 2, device="meta"),
    )  # fmt: skip
    net.empties = nn.ParameterList([torch.empty(0), torch.empty(0)])
    assert d2c.tied_groups(net) == []


def test_disjoint_slices_of_a_flat_buffer_are_not_tied():
    flat = torch.zeros(8)
    net = nn.ParameterList([nn.Parameter(part) for part in flat.split(4)])
    assert d2c.tied_groups(net) == []
    net.register_buffer("flat", flat)
    assert d2c.tied_groups(net) == [("0", "1", "flat")]


# keep_ties


def reassign(net):
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.load_state_dict(state, assign=True)


CUTS = {
    "meta": lambda net: net.to("meta"),
    "to_empty": lambda net: net.to_empty(device="cpu"),
    "meta and back": lambda net: net.to("meta").to_empty(device="cpu"),
    "assign": reassign,
    "replaced": lambda net: net.__setitem__(2, copy.deepcopy(net[2])),
}
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)


@every_cut
@pytest.mark.parametrize("aliased", [False, True], ids=["object", "memory"])
def test_a_cut_tie_is_restored(cut, aliased):
    def make():
        net = linears(bias=False)
        if aliased:
            net[2].weight = nn.Parameter(net[0].weight.detach())
        else:
            d2c.tie(net, "0", "2")
        return net

    bare = make()
    cut(bare)
    net = make()
    with d2c.keep_ties(net):
        cut(net)
    assert d2c.tied_groups(net) == [("0.weight", "2.weight")]
    assert is_tied(net) != aliased
    assert net[0].weight.device == bare[0].weight.device


@pytest.mark.parametrize("cut", ["meta", "assign", "replaced"])
def test_the_block_really_cuts(cut):
    net = linears(bias=False)
    d2c.tie(net, "0", "2")
    CUTS[cut](net)
    assert d2c.tied_groups(net) == []


@given(plans(lazy=False, aliases=True))
def test_keep_ties_restores_every_group_of_any_net(plan):
    net = plan.build()
    groups = d2c.tied_groups(net)
    with d2c.keep_ties(net):
        net.to("meta")
    assert d2c.tied_groups(net) == groups
    with d2c.keep_ties(net):
        net.to_empty(device="cpu").double()
    assert d2c.tied_groups(net) == groups


@given(plans(aliases=True))
def test_keep_ties_around_nothing_changes_nothing(plan):
    net = plan.build()
    with unchanged(net), d2c.keep_ties(net):
        pass


def test_an_error_in_the_block_goes_on_and_ties_are_restored():
    net = linears()
    d2c.tie(net, "0", "2")

    def fail():
        with d2c.keep_ties(net):
            net.to("meta")
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    assert is_tied(net)


@pytest.mark.parametrize("name", ["0.weight", "2.weight"])
def test_a_value_loaded_for_one_name_goes_to_all(name):
    net = linears(bias=False)
    d2c.tie(net, "0", "2")
    new = torch.rand(4, 4)
    with d2c.keep_ties(net):
        net.load_state_dict({name: new}, strict=False, assign=True)
    assert is_tied(net)
    assert_close(net[0].weight.detach(), new)


def test_views_are_restored_as_views():
    net = nn.Module()
    net.weight = nn.Parameter(torch.rand(4, 6))
    net.flipped = nn.Parameter(net.weight.detach().t())
    net.rows = nn.Parameter(net.weight.detach()[1:3])
    net.register_buffer("average", net.weight.detach())
    with d2c.keep_ties(net):
        net.double()
    assert_close(net.flipped, net.weight.t())
    d2c.set_data(net.weight, 7)
    assert_close(net.rows, torch.full_like(net.rows, 7))
    assert_close(net.average, torch.full_like(net.average, 7))


def test_a_shared_buffer_is_restored_after_a_change_of_type():
    norms = pair(lambda: nn.BatchNorm1d(2, affine=False))
    norms[2].running_mean = norms[0].running_mean
    with d2c.keep_ties(norms):
        norms.double()
    assert norms[2].running_mean is norms[0].running_mean


def test_a_lazy_tie_is_restored():
    net = lazy_linears()
    d2c.tie(net, "0.weight", "2.weight")
    with d2c.keep_ties(net):
        net[2] = copy.deepcopy(net[2])
    net(torch.rand(2, 4))
    assert is_tied(net)


def test_a_tie_that_cannot_be_restored_is_an_error_after_all_others_are():
    net = linears()
    d2c.tie(net, "0", "2")

    def cut():
        with d2c.keep_ties(net):
            net.to("meta").to_empty(device="cpu")
            torch.nn.utils.parametrizations.weight_norm(net[2])

    expected = r"keep its name and shape, got changes to 0\.weight and 2\.weight; do untie"
    with pytest.raises(RuntimeError, match=expected):
        cut()
    assert is_tied(net, "bias")


def test_a_tie_whose_parameters_differ_in_shape_now_is_an_error():
    net = linears(bias=False)
    d2c.tie(net, "0", "2")
    with pytest.raises(RuntimeError, match="what was tied must keep"), d2c.keep_ties(net):
        net[2].weight = nn.Parameter(torch.zeros(2, 2))


def test_memory_that_no_parameter_held_whole_cannot_be_restored():
    flat = torch.zeros(10)
    net = nn.ParameterList([nn.Parameter(flat[:6]), nn.Parameter(flat[4:])])
    with pytest.raises(RuntimeError, match="got changes to 0 and 1; do untie"), d2c.keep_ties(net):
        net.double()


def test_a_view_of_what_was_reshaped_cannot_be_restored():
    net = nn.ParameterList([torch.zeros(4, 4)])
    net.append(nn.Parameter(net[0].detach()[1:]))
    with pytest.raises(RuntimeError, match="got changes to 0 and 1; do untie"), d2c.keep_ties(net):
        net[0] = nn.Parameter(torch.zeros(2, 2))


def test_a_checkpoint_of_a_tied_net_loads_into_a_fresh_one():
    net, fresh = linears(), linears()
    for each in (net, fresh):
        d2c.tie(each, "0", "2")
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    fresh.load_state_dict(torch.load(file))
    assert is_tied(fresh)
    assert_close(fresh[0].weight, net[0].weight)
