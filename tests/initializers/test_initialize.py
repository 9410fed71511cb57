import copy
import gc
import pickle
import weakref

import pytest
import torch
from fingerprint import fingerprint, unchanged
from hypothesis import given
from hypothesis import strategies as st
from nets import CHAPTER, WELL_KNOWN
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.nn.utils import parametrizations

import d2lcompute as d2c
from d2lcompute import initializers as init

ORACLES = {
    init.Normal(0.3): lambda w, g: nn.init.normal_(w, 0, 0.3, g),
    init.Uniform(0.3): lambda w, g: nn.init.uniform_(w, -0.3, 0.3, g),
    init.Constant(7): lambda w, g: nn.init.constant_(w, 7),
    init.Zero(): lambda w, g: nn.init.zeros_(w),
    init.One(): lambda w, g: nn.init.ones_(w),
    init.Xavier(): lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    init.Xavier("normal", 2): lambda w, g: nn.init.xavier_normal_(w, 2, g),
    init.Kaiming(): lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g),
    init.Kaiming("leaky_relu", "fan_out", "uniform", 0.2): lambda w, g: nn.init.kaiming_uniform_(
        w, 0.2, "fan_out", generator=g
    ),
    init.Orthogonal(2): lambda w, g: nn.init.orthogonal_(w, 2, g),
}
everyone = pytest.mark.parametrize("initializer", ORACLES, ids=repr)


class MyInit(init.Initializer):
    """As in the book, with one line printed for each call."""

    def _init_weight(self, name, data):
        print("Init", name, tuple(data.shape))
        data.uniform_(-10, 10)
        data *= data.abs() >= 5


class Tied(nn.Module):
    """A language model's head: one matrix, two layers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 4, padding_idx=3)
        self.head = nn.Linear(4, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, X):
        return self.head(self.embedding(X))


def state(net):
    return {name: p if is_lazy(p) else p.detach().clone() for name, p in net.named_parameters()}


# Each initializer


@everyone
@pytest.mark.parametrize("shape", [(5, 7), (40, 30), (3, 4, 2, 2)])
def test_an_initializer_writes_what_torch_does(initializer, shape):
    ours, theirs = torch.zeros(shape), torch.zeros(shape)
    torch.manual_seed(1)
    initializer("0.weight", ours)
    torch.manual_seed(1)
    ORACLES[initializer](theirs, None)
    assert torch.equal(ours, theirs)


@everyone
def test_an_initializer_takes_a_generator(initializer):
    ours, theirs = torch.zeros(5, 7), torch.zeros(5, 7)
    before = torch.get_rng_state()
    initializer("0.weight", ours, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.get_rng_state(), before)
    ORACLES[initializer](theirs, torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours, theirs)


@everyone
def test_what_an_initializer_expects_is_what_comes(initializer):
    wanted_mean, wanted_deviation = initializer.expected("weight", (300, 200))
    data = torch.empty(300, 200)
    initializer("weight", data)
    assert data.mean().item() == pytest.approx(wanted_mean, abs=0.01)
    assert data.std().item() == pytest.approx(wanted_deviation, rel=0.01, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_orthogonal_also_works_where_torch_cannot_factorize(dtype):
    layer = nn.Linear(6, 4, dtype=dtype)
    d2c.initialize(layer, init.Orthogonal())
    torch.testing.assert_close(
        (layer.weight @ layer.weight.T).float(), torch.eye(4), atol=0.02, rtol=0
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: init.Normal(-1), "`sigma` must be a number, 0 or more, got -1"),
        (lambda: init.Uniform(float("nan")), "`scale` must be a number, 0 or more, got nan"),
        (lambda: init.Xavier("gauss"), "`distribution` must be 'uniform' or 'normal', got 'gauss'"),
        (lambda: init.Kaiming(mode="in"), "`mode` must be 'fan_in' or 'fan_out', got 'in'"),
        (lambda: init.Kaiming("nothing"), "`nonlinearity` must be one .*, got 'nothing'"),
        (lambda: init.Mixed({"*": init.One()}), "must be a regular expression, got"),
    ],
)
def test_a_wrong_argument_is_an_error_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("initializer", [init.Xavier(), init.Kaiming(), init.Orthogonal()])
def test_a_vector_has_no_fans_and_nothing_has_changed(initializer):
    net = nn.Sequential(nn.Linear(2, 2), nn.ParameterDict({"alpha": nn.Parameter(torch.ones(3))}))
    with unchanged(net), pytest.raises(ValueError, match=r"2 dimensions or more, for '1.alpha'"):
        d2c.initialize(net, initializer)


# Initializers of one's own


def test_an_initializer_written_as_in_gluon_works_and_autograd_notices(capsys):
    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
    loss = net(torch.rand(2, 20)).sum()
    d2c.initialize(net, MyInit())
    assert capsys.readouterr().out == "Init 0.weight (256, 20)\nInit 2.weight (10, 256)\n"
    zeros = (net[0].weight == 0).float().mean().item()
    assert zeros == pytest.approx(0.5, abs=0.05)
    assert (net[0].weight.abs() >= 5).sum() == (net[0].weight != 0).sum()
    assert not net[0].bias.any()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_an_initializer_of_ones_own_is_seeded_and_leaves_the_random_state(capsys):
    nets = [nn.Linear(3, 4), nn.Linear(3, 4)]
    for net in nets:
        before = torch.get_rng_state()
        d2c.initialize(net, MyInit(), seed=5)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)
    assert torch.equal(nets[0].weight, nets[1].weight)


def test_a_method_for_biases_of_ones_own_is_used():
    class Both(init.Constant):
        def _init_bias(self, name, data):
            data.fill_(3)

    report = d2c.initialize(nn.Linear(2, 1), Both(5))
    assert [row.measured for row in report.rows] == [(5.0, 0.0), (3.0, 0.0)]
    assert [row.expected for row in report.rows] == [(5.0, 0.0), None]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (init.Normal, "got the class Normal; do create one"),
        (nn.init.xavier_uniform_, "got <function xavier_uniform_"),
        ("normal", "got 'normal'"),
        (init.Initializer(), "must define `_init_weight`, got Initializer()"),
        (init.Mixed({".*": init.Initializer()}), "must define `_init_weight`, got Initializer()"),
    ],
)
def test_what_is_no_initializer_is_an_error(given, message):
    net = nn.Linear(2, 2)
    with unchanged(net), pytest.raises(TypeError, match=message.replace("()", r"\(\)")):
        d2c.initialize(net, given)


# Roles


class ForeignRMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))


class NormedLinear(nn.Linear):
    pass


class NormalizingHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4))


class BookBatchNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.kernel = nn.Parameter(torch.zeros(3, 3))


class LayerScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((3,), 1e-6))


class ConvNextBlock(LayerScale):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(3)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(3, 3))


@pytest.mark.parametrize(
    ("layer", "constants"),
    [
        (nn.Linear(2, 3), {"weight": 5, "bias": 0}),
        (nn.LSTM(2, 3), {"weight_ih_l0": 5, "weight_hh_l0": 5, "bias_ih_l0": 0, "bias_hh_l0": 0}),
        (
            nn.MultiheadAttention(4, 2, add_bias_kv=True),
            {"in_proj_weight": 5, "in_proj_bias": 0, "bias_k": 0, "out_proj.weight": 5},
        ),
        (nn.Embedding(4, 2, padding_idx=1), {"weight": [[5, 5], [0, 0], [5, 5], [5, 5]]}),
        (nn.EmbeddingBag(2, 2, padding_idx=0), {"weight": [[0, 0], [5, 5]]}),
        (nn.Bilinear(2, 3, 4), {"weight": 5, "bias": 0}),
        (NormedLinear(2, 1), {"weight": 5, "bias": 0}),
        (NormalizingHead(), {"weight": 5}),
        (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), {"1.weight": 1, "1.bias": 0}),
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm((3, 4))), {"1.weight": 1, "1.bias": 0}),
        (nn.Sequential(nn.Linear(2, 2), nn.PReLU(init=0.9)), {"1.weight": 0.25}),
        (nn.Sequential(nn.Linear(2, 2), ForeignRMSNorm(3)), {"1.weight": 1}),
        (BookBatchNorm(), {"gamma": 1, "beta": 0, "kernel": 5}),
        (ConvNextBlock(), {"gamma": 5, "norm.weight": 1, "relative_position_bias_table": 5}),
        (LayerScale(), {"gamma": 5}),
    ],
    ids=lambda item: type(item).__name__ if isinstance(item, nn.Module) else "",
)
def test_a_parameter_is_filled_by_what_it_is_to_its_layer(layer, constants):
    d2c.initialize(layer, init.Constant(5))
    for name, value in constants.items():
        parameter = layer.get_parameter(name)
        assert torch.equal(parameter, torch.tensor(value).expand_as(parameter).to(parameter))


def test_running_statistics_are_never_touched():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net(torch.rand(4, 2))
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    d2c.initialize(net, init.One())
    torch.testing.assert_close(dict(net.named_buffers()), before, rtol=0, atol=0)


def test_a_rule_is_for_the_most_weight_like_of_what_it_matches():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    rules = {nn.BatchNorm1d: init.Constant(7), "0.bias": init.Constant(8), ".*": init.Constant(9)}
    d2c.initialize(net, init.Mixed(rules))
    first = {name: parameter.flatten()[0].item() for name, parameter in net.named_parameters()}
    assert first == {
        "0.weight": 9, "0.bias": 8, "1.weight": 7, "1.bias": 0, "2.weight": 9, "2.bias": 0
    }  # fmt: skip


def test_a_scale_is_no_weight_unless_a_rule_is_for_it():
    layer = nn.BatchNorm1d(2)
    d2c.initialize(layer, init.Xavier())
    assert layer.weight.tolist() == [1, 1]
    d2c.initialize(layer, init.Constant(3), pattern="weight", force_reinit=True)
    assert layer.weight.tolist() == [3, 3]


def test_what_a_last_rule_is_left_with_does_not_change_what_it_means():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    d2c.initialize(net, init.Mixed({".*weight": init.One(), ".*": init.Constant(9)}))
    assert not net[0].bias.any()
    assert not net[1].bias.any()
    d2c.initialize(net, init.Mixed({nn.Linear: init.One(), ".*": init.Zero()}), force_reinit=True)
    assert net[1].weight.tolist() == [1, 1]


# Selection and Mixed


@given(plans(lazy=False, ties=True, aliases=True), st.sampled_from([".*weight", "0", ".*bias"]))
def test_initialize_touches_exactly_the_selected_parameters(plan, pattern):
    net = plan.build()
    chosen = d2c.collect_params(net, pattern)
    if not chosen:
        with unchanged(net), pytest.raises(ValueError, match="matches none"):
            d2c.initialize(net, init.Constant(5), pattern=pattern)
        return
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(-1)
    pointers = {parameter.data_ptr() for parameter in chosen.values()}
    report = d2c.initialize(net, init.Constant(5), pattern=pattern)
    for parameter in net.parameters():
        assert parameter.eq(-1).all() == (parameter.data_ptr() not in pointers)
    names = [row.name for row in report.rows]
    assert [name for name in chosen if name in names] == names


@pytest.mark.parametrize("name", [*CHAPTER, *WELL_KNOWN])
@pytest.mark.parametrize("initializer", [init.Normal(0.01), init.Orthogonal()], ids=repr)
def test_every_well_known_net_can_be_initialized(name, initializer):
    net, inputs = {**CHAPTER, **WELL_KNOWN}[name]()
    matrices = "^(?!.*(token|position|query|class)).*"
    report = d2c.initialize(net, initializer, seed=0, pattern=matrices)
    torch.manual_seed(0)
    output = net(*inputs)
    assert len(report.rows) > 0
    first = output[0] if isinstance(output, tuple) else output
    assert first.isfinite().all()


def test_the_first_rule_that_matches_wins():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    rules = {"0.weight": init.One(), nn.Linear: init.Constant(2), ".*": init.Constant(3)}
    report = d2c.initialize(net, init.Mixed(rules))
    assert [row.rule for row in report.rows] == [
        "'0.weight': One()", *["Linear: Constant(value=2)"] * 3,
    ]  # fmt: skip


def test_a_parameter_without_a_rule_is_an_error_and_nothing_has_changed():
    net = nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1))
    with unchanged(net), pytest.raises(ValueError, match=r"got none for '1\.weight' of a Conv2d"):
        d2c.initialize(net, init.Mixed({nn.Linear: init.One()}))


def test_mixed_fills_a_lone_tensor_by_its_name():
    data = torch.zeros(2)
    init.Mixed({".*bias": init.One(), ".*": init.Zero()})("out.bias", data)
    assert data.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({nn.Linear: init.One}, "got the class One for Linear"),
        ({".*": init.Mixed({})}, "got Mixed"),
        ({3: init.One()}, "must map from patterns or layer types, got 3"),
        ({int: init.One()}, "must map from patterns or layer types, got the class int"),
    ],
)
def test_mixed_takes_only_rules(rules, message):
    with pytest.raises(TypeError, match=message):
        init.Mixed(rules)


# Ties


def test_a_tied_parameter_is_initialized_once(capsys):
    d2c.initialize(Tied(), MyInit())
    assert capsys.readouterr().out == "Init embedding.weight (10, 4)\n"


def test_a_tie_keeps_its_row_of_padding():
    net = Tied()
    d2c.initialize(net, init.One(), pattern="head")
    assert not net.embedding.weight[3].any()


def test_rules_that_agree_on_a_tied_parameter_are_fine():
    rules = {nn.Embedding: init.Normal(0.02), nn.Linear: init.Normal(0.02)}
    assert len(d2c.initialize(Tied(), init.Mixed(rules)).rows) == 1


def test_rules_that_disagree_on_a_tied_parameter_are_an_error_and_nothing_has_changed():
    net = Tied()
    rules = {nn.Embedding: init.Normal(0.02), nn.Linear: init.Xavier()}
    message = "got Embedding for 'embedding.weight' and Linear for 'head.weight'"
    with unchanged(net), pytest.raises(ValueError, match=message):
        d2c.initialize(net, init.Mixed(rules))


def test_parameters_that_share_memory_are_initialized_once(capsys):
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = nn.Parameter(net[0].weight.detach())
    report = d2c.initialize(net, MyInit())
    assert capsys.readouterr().out == "Init 0.weight (3, 3)\n"
    assert len(report.rows) == 1


# Deferred initialization


class Bare(nn.Module):
    """A lazy module of one's own, which sizes what it holds as it runs."""

    def __init__(self):
        super().__init__()
        self.weight = UninitializedParameter()
        self.offsets = nn.ParameterList([UninitializedParameter()])

    def forward(self, X):
        if is_lazy(self.weight):
            self.weight.materialize((2, X.shape[-1]))
            self.offsets[0].materialize((2,))
        return F.linear(X, self.weight, self.offsets[0])


def test_a_lazy_net_is_initialized_at_the_first_pass_in_order_and_computes_with_it(capsys):
    net = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    d2c.initialize(net, init.Constant(1), verbose=True)
    assert capsys.readouterr().out == ""
    assert torch.equal(net(torch.ones(1, 3)), torch.tensor([[12.0, 12.0]]))
    assert capsys.readouterr().out.splitlines() == [
        "0.weight (4, 3): Constant(value=1) as weight",
        "0.bias (4,): Constant(value=1) as bias",
        "2.weight (2, 4): Constant(value=1) as weight",
        "2.bias (2,): Constant(value=1) as bias",
    ]
    net(torch.ones(1, 3))
    assert capsys.readouterr().out == ""
    d2c.initialize(net, init.Constant(2), verbose=True, force_reinit=True)
    assert capsys.readouterr().out.startswith("0.weight (4, 3): Constant(value=2) as weight")
    assert net[0].weight[0, 0] == 2


def test_a_sized_layer_among_lazy_ones_is_initialized_at_once(capsys):
    net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    d2c.initialize(net, MyInit())
    assert capsys.readouterr().out == "Init 1.weight (2, 4)\n"
    net(torch.ones(1, 3))
    assert capsys.readouterr().out == "Init 0.weight (4, 3)\n"


@pytest.mark.parametrize(
    "follow",
    [
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: net.double().float(),
        lambda net: net.to("cpu"),
        lambda net: copy.deepcopy(copy.deepcopy(net)),
    ],
)
def test_what_is_deferred_follows_the_net(follow, capsys):
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyConv1d(2, 1), Bare())
    d2c.initialize(net, init.Constant(5), verbose=True)
    moved = follow(net)
    for each in {id(net): net, id(moved): moved}.values():
        each(torch.ones(1, 3, 3))
        assert {parameter.flatten()[0].item() for parameter in each.parameters()} == {0, 5}
        assert len(capsys.readouterr().out.splitlines()) == 6
        assert all(not module._forward_pre_hooks for module in each.modules())


def test_a_lazy_module_that_knows_no_mixin_is_deferred_too():
    net = nn.Sequential(Bare(), nn.LazyLinear(2))
    d2c.initialize(net, init.Constant(5))
    assert torch.equal(net(torch.ones(1, 3)), torch.full((1, 2), 200.0))
    assert "materialize" not in vars(net[0].weight)


def test_tied_lazy_layers_are_initialized_once_whichever_runs_first(capsys):
    for order in ([0, 1, 2], [2, 1, 0]):
        layers = [nn.LazyLinear(3), nn.LazyLinear(3), nn.LazyLinear(3)]
        net = nn.ModuleList(layers)
        d2c.tie(net, "0.weight", "2.weight")
        d2c.initialize(net, MyInit(), pattern=".*weight", seed=0)
        X = torch.ones(1, 3)
        for index in order:
            X = net[index](X)
        lines = capsys.readouterr().out.splitlines()
        assert sorted(lines) == ["Init 0.weight (3, 3)", "Init 1.weight (3, 3)"]
        assert net[0].weight is net[2].weight
        twin = nn.Linear(3, 3, bias=False)
        d2c.initialize(nn.ModuleList([twin]), MyInit(), seed=0)
        assert torch.equal(net[0].weight, twin.weight)
        capsys.readouterr()


def test_a_tied_lazy_parameter_chosen_by_its_second_name_is_initialized_when_the_first_runs():
    net = nn.Sequential(nn.LazyLinear(3, bias=False), nn.LazyLinear(3, bias=False))
    d2c.tie(net, "0.weight", "1.weight")
    d2c.initialize(net, init.One(), pattern="1")
    assert torch.equal(net(torch.ones(1, 3)), torch.full((1, 3), 9.0))


def test_one_lazy_module_at_two_places_is_initialized_once(capsys):
    shared = nn.LazyLinear(3)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    d2c.initialize(net, MyInit())
    net(torch.ones(1, 3))
    assert capsys.readouterr().out == "Init 0.weight (3, 3)\n"


def test_an_initializer_can_be_replaced_before_the_first_pass():
    net = nn.Sequential(nn.LazyLinear(3))
    d2c.initialize(net, init.One(), seed=1)
    d2c.initialize(net, init.Constant(7), force_reinit=True)
    net(torch.ones(1, 2))
    assert torch.equal(net[0].weight, torch.full((3, 2), 7.0))


def test_values_that_were_loaded_meanwhile_are_kept():
    net = nn.Sequential(nn.LazyLinear(3))
    d2c.initialize(net, init.One())
    values = nn.Sequential(nn.Linear(2, 3)).state_dict()
    net.load_state_dict(values)
    net(torch.ones(1, 2))
    torch.testing.assert_close(net.state_dict(), values)
    assert not net[0]._forward_pre_hooks


def test_a_first_pass_whose_initializer_fails_can_be_made_again():
    class Fails(init.One):
        fails = True

        def _init_weight(self, name, data, generator=None):
            if Fails.fails:
                raise ZeroDivisionError("not yet")
            super()._init_weight(name, data)

    net = nn.Sequential(nn.LazyLinear(3))
    d2c.initialize(net, Fails())
    with pytest.raises(ZeroDivisionError, match="not yet"):
        net(torch.ones(1, 2))
    Fails.fails = False
    net(torch.ones(1, 2))
    assert net[0].weight.eq(1).all()


def test_a_parameter_that_is_gone_at_the_first_pass_is_no_error():
    net = nn.Sequential(nn.LazyLinear(3))
    d2c.initialize(net, init.One())
    net[0].bias = None
    assert torch.equal(net(torch.ones(1, 2)), torch.full((1, 3), 2.0))


@pytest.mark.parametrize("force", [False, True])
def test_a_second_call_warns_once_and_changes_nothing_unless_forced(force):
    for net in (nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.LazyLinear(3))):
        d2c.initialize(net, init.One())
        if force:
            d2c.initialize(net, init.Zero(), force_reinit=True)
        else:
            with unchanged(net), pytest.warns(UserWarning, match="`force_reinit` must") as caught:
                report = d2c.initialize(net, init.Zero())
            assert len(caught) == 1
            assert caught[0].filename == __file__
            assert report.kept == ("0.weight", "0.bias")
            assert report.rows == ()
        net(torch.ones(1, 2))
        assert net[0].weight[0, 0] == (0 if force else 1)


def test_only_what_is_new_is_initialized_by_a_second_call():
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    d2c.initialize(net, init.One())
    net[1] = nn.Linear(3, 5)
    with pytest.warns(UserWarning, match=r"'0\.weight', '0\.bias' were initialized before"):
        d2c.initialize(net, init.Zero())
    assert net[0].weight.all()
    assert not net[1].weight.any()


@pytest.mark.parametrize("follow", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_remembers_that_it_was_initialized(follow):
    net = nn.Sequential(nn.Linear(2, 3))
    d2c.initialize(net, init.One())
    with pytest.warns(UserWarning, match="`force_reinit` must be True"):
        d2c.initialize(follow(net), init.Zero())


def test_what_initialize_remembers_keeps_nothing_alive_and_is_not_in_the_state():
    net = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(2))
    keys = list(net.state_dict())
    report = d2c.initialize(net, init.One(), seed=0)
    assert list(net.state_dict()) == keys
    watched = [weakref.ref(net), weakref.ref(net[0].weight), weakref.ref(net[1].weight)]
    del net
    gc.collect()
    assert [ref() for ref in watched] == [None] * 3
    assert len(report.rows) == 4


# One parameter alone


def test_one_parameter_alone_is_filled_as_a_weight():
    net = nn.Linear(3, 2)
    before = state(net)
    torch.manual_seed(1)
    d2c.initialize(net.weight, init.Xavier())
    torch.manual_seed(1)
    assert torch.equal(net.weight, nn.init.xavier_uniform_(torch.empty(2, 3)))
    assert torch.equal(net.bias, before["bias"])
    d2c.initialize(net.bias, init.One())
    assert net.bias.tolist() == [1, 1]
    with pytest.warns(UserWarning, match="'parameter' were initialized before"):
        d2c.initialize(net.bias, init.Zero())
    assert net.bias.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: nn.LazyLinear(2).weight, {}, "must be the net while a parameter is lazy"),
        (lambda: nn.Linear(2, 2).weight, {"pattern": ".*"}, "`pattern` must be None for a single"),
        (lambda: nn.Linear(2, 2, device="meta"), {}, "got 'weight' on the meta device; do net.to_"),
        (lambda: nn.Linear(2, 2, device="meta").weight, {}, "got 'parameter' on the meta device"),
    ],
)
def test_what_cannot_be_initialized_is_a_clear_error(make, options, message):
    with pytest.raises(ValueError, match=message):
        d2c.initialize(make(), init.One(), **options)


def test_numbers_that_torch_cannot_draw_are_an_error_before_anything_changes():
    whole = nn.Parameter(torch.zeros(2, 2, dtype=torch.int8), requires_grad=False)
    net = nn.Sequential(nn.Linear(2, 2), nn.ParameterList([whole]))
    with unchanged(net), pytest.raises(ValueError, match=r"Normal.* for '1\.0' of type torch.int8"):
        d2c.initialize(net, init.Normal(0.01))


def test_what_is_no_net_is_an_error():
    with pytest.raises(TypeError, match="got the class Linear"):
        d2c.initialize(nn.Linear, init.One())


# Streams


def from_meta(plan):
    with torch.device("meta"):
        net = plan.build(lazy=False)
    with d2c.keep_ties(net):
        return net.to_empty(device="cpu")


@given(plans(ties=True), st.sampled_from([init.Normal(0.1), init.Uniform(), MyInit()]))
def test_a_seed_gives_the_same_values_however_the_net_came_about(plan, initializer):
    eager, lazy, born = plan.build(lazy=False), plan.build(lazy=True), from_meta(plan)
    torch.rand(3)
    for net in (lazy, born, eager):
        d2c.initialize(net, initializer, seed=3)
    lazy(plan.inputs())
    for other in (lazy, born):
        torch.testing.assert_close(state(eager), state(other), rtol=0, atol=0)


@everyone
def test_a_seed_gives_the_same_values_on_one_thread_and_two(initializer):
    nets = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            net = nn.Sequential(nn.Linear(700, 800), nn.Linear(800, 700), nn.Conv2d(3, 4, 5))
            d2c.initialize(net, initializer, seed=0)
            assert torch.get_num_threads() == count
            nets.append(net)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(*[net.state_dict() for net in nets], rtol=0, atol=0)


def test_many_streams_are_drawn_at_once_and_reported_in_order(capsys):
    torch.set_num_threads(2)
    try:
        net = nn.Sequential(*[nn.Linear(600, 600) for _ in range(6)])
        rules = init.Mixed({"2": MyInit(), "3": init.Orthogonal(), ".*": init.Uniform()})
        report = d2c.initialize(net, rules, seed=0, verbose=True)
    finally:
        torch.set_num_threads(1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != "I"] == [
        row.name for row in report.rows
    ]
    alone = nn.Sequential(*[nn.Linear(600, 600) for _ in range(6)])
    d2c.initialize(alone, rules, seed=0)
    torch.testing.assert_close(net.state_dict(), alone.state_dict(), rtol=0, atol=0)


def test_overlapping_parameters_are_filled_one_after_the_other():
    torch.set_num_threads(2)
    values = []
    try:
        for _ in range(2):
            flat = torch.zeros(3, 2**20)
            net = nn.ParameterList([nn.Parameter(flat[:2]), nn.Parameter(flat[1:])])
            d2c.initialize(net, init.Normal(), seed=0)
            values.append(flat)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(*values)


def test_streams_of_different_names_and_seeds_differ():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    d2c.initialize(net, init.Normal(), seed=0)
    again = copy.deepcopy(net)
    d2c.initialize(again, init.Normal(), seed=1, force_reinit=True)
    assert not torch.equal(net[0].weight, net[1].weight)
    assert not torch.equal(net[0].weight, again[0].weight)


def test_a_seed_leaves_the_global_random_state_and_is_a_whole_number():
    net = nn.Linear(2, 2)
    before = torch.get_rng_state()
    d2c.initialize(net, init.Normal(), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    with unchanged(net), pytest.raises(TypeError, match="`seed` must be an integer, got"):
        d2c.initialize(net, init.Normal(), seed="0", force_reinit=True)


def test_without_a_seed_the_global_random_numbers_are_used():
    net = nn.Linear(3, 4)
    torch.manual_seed(4)
    d2c.initialize(net)
    torch.manual_seed(4)
    assert torch.equal(net.weight, torch.empty(4, 3).uniform_(-0.07, 0.07))
    assert not net.bias.any()


# Computed weights


def test_a_weight_in_parts_gets_the_values_through_them():
    net = nn.Sequential(parametrizations.weight_norm(nn.Linear(30, 40)))
    parts = [id(parameter) for parameter in net.parameters()]
    report = d2c.initialize(net, init.Normal(0.5), seed=0)
    assert [id(parameter) for parameter in net.parameters()] == parts
    assert [row.name for row in report.rows] == ["0.bias", "0.parametrizations.weight"]
    assert net[0].weight.std().item() == pytest.approx(0.5, rel=0.1)
    with pytest.warns(UserWarning, match="were initialized before"):
        d2c.initialize(net, init.Zero())
    with pytest.raises(ValueError, match="must select all parts of a parametrized weight"):
        d2c.initialize(net, init.Zero(), pattern=".*original0")


def test_a_parametrized_weight_is_taken_for_what_it_computes():
    layer = parametrizations.spectral_norm(nn.Linear(3, 4))
    rules = {nn.Linear: init.Constant(2)}
    d2c.initialize(layer, init.Mixed(rules))
    assert layer.parametrizations.weight.original.eq(2).all()
    assert not layer.bias.any()


# The report


def test_the_report_as_text(golden):
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LazyLinear(2))
    rules = {".*bias": init.One(), nn.Linear: init.Constant(0.5), ".*": init.Zero()}
    d2c.initialize(net[1], init.One())
    with pytest.warns(UserWarning, match="'1.weight', '1.bias' were"):
        golden(repr(d2c.initialize(net, init.Mixed(rules))))


def test_the_report_measures_what_it_expects():
    report = d2c.initialize(nn.Linear(500, 400), init.Xavier(), seed=0)
    [weight, bias] = report.rows
    assert weight.measured == pytest.approx(weight.expected, abs=0.003)
    assert bias.measured == bias.expected == (0.0, 0.0)
    assert "<td" in report._repr_html_()


def test_the_report_has_no_numbers_where_there_are_none():
    net = nn.ParameterList([torch.zeros(0, 3), torch.zeros(2, 2, dtype=torch.complex64)])
    report = d2c.initialize(net, init.Normal())
    assert [row.measured for row in report.rows] == [None, None]


# The book's visitors


class Doubled(nn.Linear):
    pass


def test_the_visitors_write_what_the_book_writes(capsys):
    layer = nn.Linear(4, 8)
    before = layer.bias.detach().clone()
    torch.manual_seed(0)
    assert layer.apply(init.init_xavier).weight.equal(
        nn.init.xavier_uniform_(torch.empty(8, 4), generator=torch.Generator().manual_seed(0))
    )
    assert layer.apply(init.init_42).weight.eq(42).all()
    layer.apply(init.my_init)
    assert capsys.readouterr().out == "Init weight torch.Size([8, 4])\n"
    assert ((layer.weight == 0) | (layer.weight.abs() >= 5)).all()
    assert torch.equal(layer.bias, before)
    assert layer.apply(init.init_constant).weight.eq(1).all()
    assert not layer.bias.any()
    torch.manual_seed(0)
    layer.apply(init.init_normal)
    torch.manual_seed(0)
    assert torch.equal(layer.weight, torch.empty(8, 4).normal_(0, 0.01))


VISITORS = [init.init_normal, init.init_constant, init.init_xavier, init.init_42, init.my_init]


@pytest.mark.parametrize("visitor", VISITORS)
def test_the_visitors_reach_subclasses_and_layers_without_bias_and_nothing_else(visitor):
    net = nn.Sequential(Doubled(3, 2, bias=False), nn.Conv2d(1, 1, 1))
    before, conv = net[0].weight.detach().clone(), state(net[1])
    net.apply(visitor)
    assert not torch.equal(net[0].weight, before)
    torch.testing.assert_close(state(net[1]), conv, rtol=0, atol=0)


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LazyLinear(2), "must have a shape, got LazyLinear"),
        (lambda: parametrizations.weight_norm(nn.Linear(2, 2)), "must hold its weight itself"),
    ],
)
def test_the_visitors_skip_nothing_silently(visitor, make, message):
    net = nn.Sequential(make())
    before = fingerprint(net)
    with pytest.raises(ValueError, match=message):
        net.apply(visitor)
    assert fingerprint(net) == before
