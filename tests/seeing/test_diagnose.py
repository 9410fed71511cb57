import ast
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from fingerprint import unchanged
from hypothesis import given, settings
from nets import CHAPTER, WELL_KNOWN, Function
from nets_clean import CLEAN as ODD
from strategies import plans
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c
import d2lcompute.seeing.diagnose
from d2lcompute import initializers as init
from d2lcompute.tables import display_width

CLEAN = {**CHAPTER, **WELL_KNOWN, **ODD}


class Net(nn.Module):
    """A layer, what else `hold` makes, and a `forward` that subclasses replace."""

    def __init__(self, hold=lambda self: None):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        hold(self)

    def forward(self, X):
        return self.layer(X)


def net(hold=lambda self: None, forward=Net.forward):
    return type("Net", (Net,), {"forward": forward})(hold)


def holding(**attributes):
    def hold(self):
        for key, value in attributes.items():
            setattr(self, key, value)

    return hold


def linear(*sizes):
    return nn.Linear(*(sizes or (4, 4)))


def weight():
    return nn.Parameter(torch.randn(4, 4))


def kinds(report):
    return [finding.kind for finding in report.findings]


def where(report, kind):
    return [finding.where for finding in report.findings if finding.kind == kind]


def X(rows=4):
    return torch.randn(rows, 4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_net_has_no_findings(name, training):
    net, inputs = CLEAN[name]()
    if not training:
        net.eval()
    assert d2c.diagnose(net).findings == ()
    assert d2c.diagnose(net, *inputs).findings == ()


@pytest.mark.parametrize("name", CLEAN)
def test_diagnosing_leaves_no_trace(name):
    net, inputs = CLEAN[name]()
    with unchanged(net):
        d2c.diagnose(net)
        d2c.diagnose(net, *inputs)


@pytest.mark.parametrize("forward", [lambda s, x: 1 / 0, lambda s, x: F.dropout(s.layer(x)) / 0])
def test_diagnosing_a_failing_net_leaves_no_trace(forward):
    failing, inputs = nn.Sequential(nn.BatchNorm1d(4), net(forward=forward)), X()
    with unchanged(failing):
        assert d2c.diagnose(failing, inputs).findings


@pytest.mark.parametrize("name", ["FixedHiddenMLP", "MLP", "NestMLP"])
def test_a_lazy_net_of_the_chapter_is_only_lazy_and_stays_so(name):
    lazy = nn.Sequential(nn.LazyLinear(20), getattr(d2c, name)())
    with unchanged(lazy):
        assert kinds(d2c.diagnose(lazy)) == ["lazy parameters"]
        assert d2c.diagnose(lazy, (2, 20)).findings == ()


@settings(max_examples=40)
@given(plans())
def test_any_sound_net_has_no_findings(plan):
    assert d2c.diagnose(plan.build(), plan.inputs()).findings == ()


@settings(max_examples=40)
@given(plans(aliases=True))
def test_any_net_is_left_as_it_was(plan):
    net, inputs = plan.build(), plan.inputs()
    with unchanged(net):
        d2c.diagnose(net)
        assert "failed forward pass" not in kinds(d2c.diagnose(net, inputs))


# --- what the net holds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers",
    [[linear()], (linear(),), {linear()}, {"a": linear()}, [[linear()]], {"a": [(linear(),)]},
     [nn.BatchNorm1d(4)], [nn.Dropout()], [None, "x", linear()]],
)  # fmt: skip
def test_modules_in_plain_containers_are_found(layers):
    assert where(d2c.diagnose(net(holding(layers=layers))), "unregistered modules") == [("layers",)]


def test_modules_deep_in_the_net_are_found_where_they_hang():
    outer = nn.Sequential(nn.Identity(), net(holding(layers=[linear()])))
    assert where(d2c.diagnose(outer), "unregistered modules") == [("1.layers",)]


def test_a_dict_and_a_nest_have_a_mend_of_their_own():
    (plain,) = d2c.diagnose(net(holding(layers={"a": linear()}))).findings
    assert plain.mend == "Keep them in an nn.ModuleDict: `self.layers = nn.ModuleDict(layers)`."
    (nest,) = d2c.diagnose(net(holding(layers=[[linear()]]))).findings
    assert nest.mend.endswith("nn.ModuleList(layers)`, and likewise the lists and dicts inside.")


def a_second_list(self):
    self.layers = [self.layer]


def a_way_up(self):
    self.layer.parents = [self]


@pytest.mark.parametrize(
    "hold",
    [a_second_list, a_way_up, holding(layers=nn.ModuleList([linear()])),
     holding(activations=[nn.ReLU(), nn.MSELoss()]),
     holding(teacher=[linear().requires_grad_(False).eval()])],
)  # fmt: skip
def test_registered_stateless_and_hidden_frozen_modules_are_fine_in_a_list(hold):
    assert "unregistered modules" not in kinds(d2c.diagnose(net(hold).layer))
    assert "unregistered modules" not in kinds(d2c.diagnose(net(hold)))


def test_parameters_in_plain_containers_are_found():
    report = d2c.diagnose(net(holding(weights=[weight()])))
    assert where(report, "unregistered parameters") == [("weights",)]
    assert d2c.diagnose(net(holding(weights=nn.ParameterList([weight()])))).findings == ()


def test_a_tensor_that_should_be_a_buffer_is_found():
    def forward(self, X):
        return self.layer(X) @ self.constant

    bad = net(holding(constant=torch.rand(4, 4)), forward)
    for inputs in ((), (X(),)):
        report = d2c.diagnose(bad, *inputs)
        assert where(report, "tensor that should be a buffer") == [("constant",)]
    good = net(lambda self: self.register_buffer("constant", torch.rand(4, 4)), forward)
    assert d2c.diagnose(good).findings == ()


def test_a_tensor_that_should_be_a_parameter_is_found():
    bad = net(holding(scale=torch.ones(4, requires_grad=True)))
    assert where(d2c.diagnose(bad), "tensor that should be a parameter") == [("scale",)]


class Remembers(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
        self.last = torch.zeros(4, 4)

    def forward(self, X):
        self.note(super().forward(X))
        return self.last

    def note(self, value):
        self.last = value.detach() * 0 + value


def test_what_forward_makes_anew_needs_no_buffer():
    assert d2c.diagnose(Remembers(), X()).findings == ()


def test_what_a_probe_leaves_on_a_layer_of_torch_needs_no_buffer():
    layer = linear()
    layer.activation = torch.rand(4)
    assert d2c.diagnose(layer).findings == ()


def test_a_second_name_of_a_buffer_needs_no_buffer():
    def hold(self):
        self.register_buffer("mask", torch.ones(4))
        self.original = self.mask

    assert d2c.diagnose(net(hold)).findings == ()


@pytest.mark.parametrize("value", [[1], linear(), "text"])
def test_a_name_that_shadows_a_method_is_found(value):
    report = d2c.diagnose(net(holding(children=value)))
    assert where(report, "shadowed method") == [("children",)]


def test_a_class_attribute_that_shadows_a_method_is_found():
    class Typed(Net):
        type = "mlp"

    (finding,) = d2c.diagnose(Typed()).findings
    assert finding.what == "`self.type` is a str, but `type` is a method of nn.Module"


def test_overriding_a_method_is_no_shadow():
    class Frozen(Net):
        def train(self, mode=True):
            return super().train(False)

    frozen = Frozen(holding(modules_=[1], name="x"))
    frozen.state_dict = dict
    assert d2c.diagnose(frozen).findings == ()


def test_a_missing_super_is_found_at_any_place():
    class Forgets(nn.Module):
        def __init__(self):
            pass

    assert where(d2c.diagnose(Forgets(), X()), "super().__init__() missing") == [("",)]
    inside = nn.Sequential(linear(), Forgets())
    assert where(d2c.diagnose(inside), "super().__init__() missing") == [("1",)]


# --- values, ties, places ---------------------------------------------------------------------


def test_a_parameter_that_no_pass_reaches_stays_lazy():
    lazy = net(holding(other=nn.LazyLinear(4)))
    report = d2c.diagnose(lazy, X())
    assert where(report, "lazy parameters") == [("other.weight", "other.bias")]
    assert "did not reach them" in report.findings[0].what


def test_an_initializer_that_waits_is_found_until_it_has_run():
    lazy = nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(1))
    d2c.initialize(lazy[:1], init.Normal(0.1))
    report = d2c.diagnose(lazy)
    assert where(report, "initializer waiting") == [("0.weight", "0.bias")]
    assert where(report, "lazy parameters") == [("2.weight", "2.bias")]
    lazy(X())
    assert d2c.diagnose(lazy).findings == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_parameter_that_is_not_finite_is_found(value):
    bad = nn.Sequential(linear(), linear())
    d2c.set_data(bad[1].weight[0, 0], value)
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(bad, *inputs), "values not finite") == [("1.weight",)]


def test_a_mask_of_minus_infinity_is_fine():
    def hold(self):
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    masked = net(hold, lambda self, X: self.layer(X) + self.mask)
    assert d2c.diagnose(masked, X()).findings == ()
    masked.mask[0, 0] = float("nan")
    assert where(d2c.diagnose(masked), "values not finite") == [("mask",)]


def test_units_that_are_all_alike_are_found():
    bad = nn.Sequential(linear(4, 8), nn.ReLU(), linear(8, 2)).apply(init.init_constant)
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(bad, *inputs), "units all alike") == [("0.weight", "2.weight")]


def test_units_of_a_layer_of_ones_own_are_found_by_their_gradients():
    bad = nn.Sequential(d2c.MyLinear(4, 8), d2c.MyLinear(8, 2))
    for parameter in bad.parameters():
        nn.init.ones_(parameter)
    assert where(d2c.diagnose(bad, torch.rand(3, 4)), "units all alike")[0][0] == "0.weight"


def test_constants_that_break_no_symmetry_are_fine():
    single = linear(4, 1)
    nn.init.constant_(single.weight, 42)
    blur = nn.Conv2d(4, 4, 3, groups=4)
    nn.init.constant_(blur.weight, 1 / 9)
    fixed = linear().requires_grad_(False)
    nn.init.ones_(fixed.weight)
    for layer in (single, blur, fixed, nn.LayerNorm([4, 4]), nn.Embedding(4, 4, _weight=weight())):
        assert d2c.diagnose(layer).findings == ()


def test_zeros_that_let_nothing_through_are_found():
    def bad():
        return nn.Sequential(linear(4, 8), nn.ReLU(), linear(8, 2))

    hidden, everything = bad(), bad()
    nn.init.zeros_(hidden[0].weight)
    d2c.initialize(everything, init.Zero())
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(hidden, *inputs), "weights all zero") == [("0.weight",)]
        found = where(d2c.diagnose(everything, *inputs), "weights all zero")
        assert found == [("0.weight", "2.weight")]


def test_zeros_at_the_end_are_fine():
    head = nn.Sequential(linear(4, 8), nn.ReLU(), linear(8, 2))
    nn.init.zeros_(head[2].weight)
    alone = linear(4, 2)
    nn.init.zeros_(alone.weight)
    for good in (head, alone):
        assert d2c.diagnose(good, X()).findings == ()


class Language(nn.Module):
    def __init__(self, tie):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 50, bias=False)
        tie(self)

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def test_a_tie_on_the_same_memory_alone_is_half_broken():
    def half(self):
        self.head.weight = nn.Parameter(self.embedding.weight.data)

    report = d2c.diagnose(Language(half))
    assert where(report, "tie half broken") == [("embedding.weight", "head.weight")]
    assert kinds(report) == ["tie half broken"]


@pytest.mark.parametrize("in_line", [False, True])
def test_a_transposed_half_tie_is_told_in_code_that_runs(in_line):
    net = nn.Sequential(nn.Linear(3, 8, bias=False), nn.Linear(8, 3, bias=False))
    if not in_line:
        net = nn.Sequential(OrderedDict(encoder=net[0], decoder=net[1]))
    net[1].weight = nn.Parameter(net[0].weight.data.t())
    (finding,) = d2c.diagnose(net).findings
    assert finding.kind == "tie half broken"
    code = re.search(r"`(F\.linear\(.*\))`", finding.mend)[1]
    X = torch.rand(2, 8)
    assert eval(code, {"F": F, "X": X, "self": net}).equal(F.linear(X, net[0].weight.t()))


def test_equal_values_in_unlike_layers_are_a_cut_tie():
    def cut(self):
        self.head.weight = nn.Parameter(self.embedding.weight.detach().clone())

    report = d2c.diagnose(Language(cut))
    assert where(report, "tie cut") == [("embedding.weight", "head.weight")]
    mended = Language(cut)
    d2c.tie(mended, "embedding.weight", "head.weight")
    assert d2c.diagnose(mended).findings == ()


def test_equal_values_that_nothing_tied_are_fine():
    def identity(self):
        for layer in (self.embedding, self.head):
            nn.init.eye_(layer.weight)

    def constant(self):
        for layer in (self.embedding, self.head):
            nn.init.ones_(layer.weight)

    for good in (identity, constant):
        assert "tie cut" not in kinds(d2c.diagnose(Language(good)))


def test_a_net_on_several_devices_is_found():
    bad = nn.Sequential(linear(), linear(), nn.Linear(4, 4, device="meta"))
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(bad, *inputs), "several devices") == [("2.weight", "2.bias")]


def test_a_net_that_moves_what_it_computes_is_fine(practice):
    def forward(self, X):
        return self.far(self.layer(X).to(practice[1])).cpu()

    spread = net(lambda self: setattr(self, "far", linear().to(practice[1])), forward)
    assert kinds(d2c.diagnose(spread)) == ["several devices"]
    assert d2c.diagnose(spread, X()).findings == ()
    pipeline = nn.Sequential(linear().to(practice[0]), linear().to(practice[1]))
    assert d2c.diagnose(pipeline).findings == ()
    assert kinds(d2c.diagnose(pipeline, X().to(practice[0]))) == ["failed forward pass"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_layers_of_several_types_are_found(dtype):
    bad = nn.Sequential(linear(), linear(), linear().to(dtype))
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(bad, *inputs), "several dtypes") == [("2.weight", "2.bias")]


def test_double_precision_that_spreads_is_found():
    scale = nn.Parameter(torch.from_numpy(np.linspace(1, 2, 4)))
    bad = net(holding(scale=scale), lambda self, X: self.layer(X) * self.scale)
    for inputs in ((), (X(),)):
        assert where(d2c.diagnose(bad, *inputs), "several dtypes") == [("scale",)]


def test_a_norm_in_higher_precision_is_fine():
    good = nn.Sequential(linear().bfloat16(), nn.LayerNorm(4))
    assert d2c.diagnose(good).findings == ()


# --- modes ------------------------------------------------------------------------------------


def test_one_value_per_channel_in_training_mode_is_found():
    norm = nn.Sequential(linear(), nn.BatchNorm1d(4))
    assert where(d2c.diagnose(norm, X(1)), "wrong mode for the input") == [("1",)]
    assert d2c.diagnose(norm, X(2)).findings == ()
    assert d2c.diagnose(norm.eval(), X(1)).findings == ()


def test_layers_left_in_training_mode_are_found():
    late = nn.Sequential(linear(), nn.Dropout()).eval().append(nn.BatchNorm1d(4))
    late.append(nn.Dropout())
    assert where(d2c.diagnose(late), "wrong mode") == [("2", "3")]
    assert d2c.diagnose(late.eval()).findings == ()


def test_frozen_norms_and_sampled_dropout_are_fine():
    frozen = nn.Sequential(linear(), nn.BatchNorm1d(4).eval())
    sampled = nn.Sequential(nn.Dropout(), linear(), nn.Dropout()).eval()
    for drop in (sampled[0], sampled[2]):
        drop.train()
    assert d2c.diagnose(frozen, X()).findings == d2c.diagnose(sampled, X()).findings == ()


def test_statistics_that_were_never_collected_are_found():
    averaged = nn.Sequential(linear(), nn.BatchNorm1d(4)).eval()
    assert d2c.diagnose(averaged).findings == ()  # new, and known to be so
    for parameter in averaged[1].parameters():
        nn.init.normal_(parameter)
    assert where(d2c.diagnose(averaged), "statistics never collected") == [("1",)]
    averaged.train()(X())
    assert d2c.diagnose(averaged.eval()).findings == ()


def attention(self, X, rate):
    H = self.layer(X).unsqueeze(0)
    return F.scaled_dot_product_attention(H, H, H, dropout_p=rate)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_that_ignores_the_mode_is_found(training):
    bad = net(forward=lambda self, X: F.dropout(self.layer(X)))
    also = net(forward=lambda self, X: attention(self, X, 0.1))
    good = net(forward=lambda self, X: F.dropout(self.layer(X), training=self.training))
    fine = net(forward=lambda self, X: attention(self, X, 0.1 if self.training else 0.0))
    for one in (bad, also):
        outer = nn.Sequential(one).train(training)
        assert where(d2c.diagnose(outer, X()), "dropout in eval mode") == [("0",)]
    for one in (good, fine):
        assert d2c.diagnose(one.train(training), X()).findings == ()


# --- the pass ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "inputs", "place", "mend"),
    [
        (nn.Sequential(linear(), linear(5, 3)), (X(),), "1", "Make the number of inputs"),
        (nn.ModuleList([linear()]), (X(),), "", "Write `forward`"),
        (nn.Bilinear(4, 4, 2), (X(),), "", "Pass to `diagnose` what"),
        (linear(), (X().double(),), "", "Bring net and inputs to one type"),
        (nn.Embedding(4, 4), (X(),), "", "Bring net and inputs to one type"),
        (nn.Embedding(4, 4), (torch.tensor([4]),), "", "Make the embedding larger"),
        (nn.Sequential(nn.Identity(), net(forward=lambda s, x: 1 / 0)), (X(),), "1", "Change that"),
    ],
)
def test_a_pass_that_fails_is_a_finding(bad, inputs, place, mend):
    (finding,) = d2c.diagnose(bad, *inputs).findings
    assert (finding.kind, finding.where) == ("failed forward pass", (place,))
    assert finding.mend.startswith(mend)


def test_a_compiled_net_is_examined_as_it_is_written():
    layers = nn.Sequential(linear(), nn.ReLU(), linear())
    compiled = torch.compile(layers, backend="eager")
    assert d2c.diagnose(compiled, X()).findings == ()
    nn.init.constant_(layers[0].bias, -100)
    assert where(d2c.diagnose(compiled, X()), "dead ReLU") == [("_orig_mod.1",)]


def test_an_error_that_the_net_handles_is_none():
    def forward(self, X):
        try:
            return self.other(X)
        except RuntimeError:
            return self.layer(X)

    handled = net(holding(other=linear(5, 4).requires_grad_(False)), forward)
    assert d2c.diagnose(handled, X()).findings == ()


def test_a_backward_pass_that_fails_is_a_finding():
    def forward(self, X):
        H = torch.sigmoid(self.layer(X))
        H += 1
        return H

    assert kinds(d2c.diagnose(net(forward=forward), X())) == ["failed backward pass"]


@pytest.mark.parametrize(
    "loss_fn", [lambda Y: Y.sum().item(), lambda Y: Y, lambda Y: F.mse_loss(Y, 1)]
)
def test_a_loss_that_fails_is_a_finding(loss_fn):
    report = d2c.diagnose(linear(), X(), loss_fn=loss_fn)
    assert where(report, "failed backward pass") == [("loss_fn",)]


def test_a_loss_decides_which_parameters_get_a_gradient():
    two = net(holding(other=linear()), lambda self, X: (self.layer(X), self.other(X)))
    assert d2c.diagnose(two, X()).findings == ()
    report = d2c.diagnose(two, X(), loss_fn=lambda outputs: outputs[0].square().mean())
    assert where(report, "no gradient") == [("other.weight", "other.bias")]


def test_values_that_are_none_are_found_where_they_come_up():
    root = net(forward=lambda self, X: self.layer(X).abs().neg().sqrt())
    bad = nn.Sequential(linear(), root, linear())
    assert where(d2c.diagnose(bad, X()), "output not finite") == [("1",)]
    report = d2c.diagnose(linear(), X() / 0)
    assert [finding.what for finding in report.findings if "inputs" in finding.what]


def test_minus_infinity_in_scores_is_fine():
    def forward(self, X):
        return self.layer(X).masked_fill(torch.eye(4, dtype=torch.bool), float("-inf"))

    masked = net(forward=forward)
    report = d2c.diagnose(masked, X(), loss_fn=lambda Y: Y.softmax(-1).square().sum())
    assert report.findings == ()


def test_the_books_layer_that_never_trains_is_found():
    class BookLinear(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = weight(), nn.Parameter(torch.randn(4))

        def forward(self, X):
            return F.relu(X @ self.weight.data + self.bias.data)

    book = nn.Sequential(linear(), BookLinear())
    assert where(d2c.diagnose(book[1], X()), "no gradient") == [("weight", "bias")]
    mixed = d2c.diagnose(nn.Sequential(BookLinear(), linear()), X())
    assert where(mixed, "no gradient") == [("0.weight", "0.bias")]
    assert d2c.diagnose(d2c.MyLinear(4, 4), X()).findings == ()


@pytest.mark.parametrize(
    "forward",
    [
        lambda self, X: self.layer(X).detach(),
        torch.no_grad()(lambda self, X: self.layer(X)),
        lambda self, X: self.layer(X).argmax(-1),
        lambda self, X: torch.tensor(self.layer(X).tolist()),
    ],
)
def test_what_is_detached_gets_no_gradient(forward):
    assert where(d2c.diagnose(net(forward=forward), X()), "no gradient") == [
        ("layer.weight", "layer.bias")
    ]
    frozen = net(forward=forward).requires_grad_(False)
    assert d2c.diagnose(frozen, X()).findings == ()


def test_parameters_that_nothing_uses_are_found():
    forgotten = net(holding(other=linear(), scale=nn.Parameter(torch.ones(4))))
    (place,) = where(d2c.diagnose(forgotten, X()), "unused parameters")
    assert set(place) == {"other.weight", "other.bias", "scale"}


def test_what_another_pass_may_use_is_fine():
    def forward(self, X):
        return self.other(X) if self.scale_it else self.layer(X)

    assert d2c.diagnose(net(holding(other=linear(), scale_it=False), forward), X()).findings == ()


def test_gradients_that_vanish_are_found():
    def deep(activation):
        return nn.Sequential(*(m for _ in range(20) for m in (linear(), activation())))

    (place,) = where(d2c.diagnose(deep(nn.Sigmoid), X()), "vanishing gradient")
    assert place[0] == "0.weight"
    assert "38.weight" not in place
    assert d2c.diagnose(deep(nn.Sigmoid)[:6], X()).findings == ()


@pytest.mark.parametrize("step", [torch.round, torch.sign, lambda Y: 0 * Y])
def test_steps_that_let_no_gradient_through_are_found(step):
    report = d2c.diagnose(net(forward=lambda self, X: step(self.layer(X))), X())
    assert where(report, "vanishing gradient") == [("layer.weight", "layer.bias")]


@pytest.mark.parametrize("width", [3, 64])
@pytest.mark.parametrize("behind", [1, 3])
@pytest.mark.parametrize("step", [torch.round, torch.sign, torch.floor, lambda Y: Y.clamp(50, 60)])
def test_a_step_between_layers_that_lets_no_gradient_through_is_found(step, behind, width):
    layers = (nn.Linear(width, width) for _ in range(behind))
    deep = nn.Sequential(nn.Linear(4, width), Function(step), *layers)
    (place,) = where(d2c.diagnose(deep, X()), "vanishing gradient")
    assert "0.weight" in place


def test_a_last_branch_that_is_the_same_for_all_inputs_hides_no_signal():
    both = net(
        holding(layer=nn.Linear(64, 64), kind=nn.Embedding(5, 64)),
        lambda self, X, ids: self.layer(X) + self.kind(ids),
    )
    kinds_of_all = torch.zeros(8, dtype=torch.long)
    assert d2c.diagnose(both, torch.randn(8, 64), kinds_of_all).findings == ()


def test_inputs_of_zeros_are_no_vanished_gradient():
    good = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 1, bias=False))
    assert d2c.diagnose(good, torch.zeros(2, 4)).findings == ()


def test_gradients_that_explode_are_found():
    deep = nn.Sequential(*(m for _ in range(10) for m in (nn.Linear(64, 64), nn.ReLU())))
    inputs = torch.randn(4, 64)
    d2c.initialize(deep, init.Normal(1))
    assert kinds(d2c.diagnose(deep, inputs)) == ["exploding gradient"]
    d2c.initialize(deep, init.Kaiming(), force_reinit=True)
    assert d2c.diagnose(deep, inputs).findings == ()
    assert d2c.diagnose(linear(), 1e6 * X()).findings == ()  # large as the inputs are


def test_dead_relus_are_found_however_they_are_called():
    dead = nn.Sequential(linear(4, 8), nn.ReLU(), linear(8, 1))
    nn.init.constant_(dead[0].bias, -100)
    assert where(d2c.diagnose(dead, X()), "dead ReLU") == [("1",)]
    for relu in (F.relu, torch.relu, torch.Tensor.relu):
        called = net(forward=lambda self, X, relu=relu: relu(self.layer(X)))
        assert d2c.diagnose(called, X()).findings == ()
        nn.init.constant_(called.layer.bias, -100)
        assert kinds(d2c.diagnose(called, X())) == ["dead ReLU"]


def test_a_few_units_that_are_negative_by_chance_are_fine():
    for seed in range(30):
        torch.manual_seed(seed)
        net, inputs = CHAPTER["block_factory"]()
        assert d2c.diagnose(net, *inputs).findings == ()


# --- the report -------------------------------------------------------------------------------


def test_a_clean_net_says_so_in_one_line():
    assert repr(d2c.diagnose(linear(), X())) == "Linear: no findings"
    assert repr(d2c.diagnose(linear())) == (
        "Linear: no findings; pass an input to examine a forward and a backward pass too"
    )


def test_the_report_reads_like_this(golden):
    bad = nn.Sequential(linear(), net(holding(layers=[linear()], half=1, other=linear())))
    golden(repr(d2c.diagnose(bad, X())))


def test_findings_are_said_in_the_language_of_the_reader(chinese):
    report = d2c.diagnose(net(holding(layers=[linear(), linear()])), X())
    (found,) = report.findings
    assert found.kind == "unregistered modules"  # as data it is the same in every language
    assert all(re.search("[\u4e00-\u9fff]", said) for said in (found.what, found.why, found.mend))
    head, *lines = repr(report).splitlines()
    assert head == "Net：发现 1 个问题"
    assert lines[1].split() == ["1.", "没有注册的模块"]
    labels = [line.split()[0] for line in lines[3:] if line[0] != " "]
    assert labels == ["位置", "现象", "原因", "解决"]
    assert max(map(display_width, lines)) <= 94


def test_no_text_of_a_finding_is_in_english_alone():
    rooms = Path(d2lcompute.seeing.diagnose.__file__).parent.glob("*.py")
    calls = [node for room in rooms for node in ast.walk(ast.parse(room.read_text("utf-8")))]
    made = [
        call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "Finding"
    ]
    assert len(made) > 20
    for kind, _where, *said in (call.args for call in made):
        assert ast.unparse(kind).startswith("mark(")
        for text in said:
            code = (
                re.sub(r"`[^`]*`", "", ast.unparse(text)) if isinstance(text, ast.JoinedStr) else ""
            )
            assert not isinstance(text, ast.Constant), ast.unparse(text)
            assert not re.search("[a-z]{2}", code), ast.unparse(text)


def test_many_names_are_shortened():
    deep = nn.Sequential(*(nn.LazyLinear(4) for _ in range(5)))
    report = d2c.diagnose(deep)
    assert len(report.findings[0].where) == 10
    assert "2.weight, 2.bias and 4 more" in repr(report)


def test_html_is_the_same_each_time_and_escaped():
    def forward(self, X):
        raise ValueError("<b>")

    bad = net(forward=forward)
    html = d2c.diagnose(bad, X())._repr_html_()
    assert html == d2c.diagnose(bad, X())._repr_html_()
    assert "Net: 1 finding" in html
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "<details open><summary>1. " in html


def test_a_finding_shows_itself():
    (finding,) = d2c.diagnose(nn.LazyLinear(4)).findings
    head, _, *rows = repr(finding).splitlines()
    assert head.strip() == "lazy parameters"
    assert rows[0] == "where  weight, bias"
    assert ">lazy parameters</th>" in finding._repr_html_()


def test_what_is_no_net_is_refused():
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module, got the class Linear"):
        d2c.diagnose(nn.Linear)


def test_a_loss_without_inputs_is_refused():
    with pytest.raises(ValueError, match="`loss_fn` must come with inputs, got none"):
        d2c.diagnose(linear(), loss_fn=torch.sum)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_mode_around_it_does_not_matter(mode):
    bad, inputs = net(forward=lambda self, X: self.layer(X).detach()), X()
    with mode():
        assert kinds(d2c.diagnose(bad, inputs)) == ["no gradient"]
        made_here = nn.Sequential(linear(), nn.BatchNorm1d(4))
        assert d2c.diagnose(made_here, X()).findings == ()


def test_what_a_net_does_to_its_inputs_is_done_to_copies():
    inputs = X()
    before = inputs.clone()
    d2c.diagnose(nn.Sequential(nn.ReLU(inplace=True), linear()), inputs)
    assert torch.equal(inputs, before)


def test_inputs_may_be_given_by_name():
    class Named(Net):
        def forward(self, *, X, scale=1.0):
            return scale * self.layer(X)

    assert d2c.diagnose(Named(), X=X(), scale=2.0).findings == ()
    assert kinds(d2c.diagnose(Named(), X=torch.rand(2, 3))) == ["failed forward pass"]
    assert d2c.diagnose(Named(), X=(2, 4)).ran


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_a_checkpoint_does_not_hide_what_is_trained_inside(use_reentrant):
    def forward(self, X):
        inner = torch.utils.checkpoint.checkpoint(self.body, X, use_reentrant=use_reentrant)
        return self.layer(inner)

    def hold(self):
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

    checkpointed, inputs = net(hold, forward), X().requires_grad_()
    with unchanged(checkpointed):
        report = d2c.diagnose(checkpointed, inputs)
    assert report.findings == ()


def test_a_checkpoint_that_gets_no_gradient_is_found():
    def forward(self, X):
        return torch.utils.checkpoint.checkpoint(self.layer, X, use_reentrant=True)

    with pytest.warns(UserWarning, match="requires_grad=True"):
        assert "no gradient" in kinds(d2c.diagnose(net(forward=forward), X()))


@pytest.mark.parametrize("loss_fn", [None, lambda Y: Y.sum()])
def test_a_forward_without_return_is_found(loss_fn):
    def forward(self, X):
        self.layer(X)

    report = d2c.diagnose(net(forward=forward), X(), loss_fn=loss_fn)
    assert [(f.kind, f.where) for f in report.findings] == [("no output", ("",))]


def test_a_block_without_return_is_named_as_the_cause():
    class Lost(nn.Module):
        def forward(self, X):
            X + 1

    (finding,) = d2c.diagnose(nn.Sequential(Lost(), nn.Linear(4, 4)), X()).findings
    assert "without `return`" in finding.mend


def test_gradients_through_statistics_that_were_never_collected_do_not_count():
    layers = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(20)]
    for layer in layers:
        nn.init.normal_(layer[0].weight, std=0.02)
    deep = nn.Sequential(*layers)
    assert d2c.diagnose(deep, X()).findings == ()
    assert d2c.diagnose(deep.eval(), X()).findings == ()
