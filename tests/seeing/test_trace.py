import functools
import re
import threading
from dataclasses import replace

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given, settings
from matplotlib.figure import Figure
from nets import CHAPTER, READ_VALUES, WELL_KNOWN
from strategies import plans
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c
from d2lcompute.seeing.trace_table import table_of

NETS = CHAPTER | WELL_KNOWN

ELSEWHERE = torch.tensor([True, False, True])


def build(name):
    return NETS[name]()


# ------------------------------------------------------------------------------------ side effects


@pytest.mark.parametrize("name", NETS)
def test_a_net_stays_as_it_is(name):
    net, inputs = build(name)
    with unchanged(net):
        d2c.trace(net, *inputs, time=True)


@given(plans())
@settings(max_examples=25, deadline=None)
def test_any_net_stays_as_it_is_and_its_parameters_count_once(plan):
    net = plan.build(lazy=False)
    with unchanged(net):
        report = d2c.trace(net, plan.inputs())
    read = set(net.state_dict()) - set(report.unused)
    assert report.error is None
    assert report.calls[0].parameter_count == sum(
        p.numel() for name, p in net.named_parameters() if name in read
    )


def test_a_net_in_training_mode_keeps_its_statistics():
    net, inputs = build("resnet")
    with unchanged(net):
        assert d2c.trace(net.train(), *inputs).error is None


def test_inputs_stay_as_they_are():
    class Overwriting(nn.Module):
        def forward(self, X):
            X += 1
            X[0] = 0.0
            return X

    X = torch.rand(2, 3)
    before = X.clone()
    report = d2c.trace(Overwriting(), X, time=True)
    torch.testing.assert_close(X, before)
    assert [call.label for call in report.calls[1:]] == ["+= 1", "[0] ="]


def test_what_initialize_deferred_is_neither_done_nor_announced(capsys):
    net = d2c.mlp(8, 2)
    d2c.initialize(net, d2c.initializers.Constant(1.0), verbose=True)
    d2c.trace(net, torch.rand(1, 4))
    assert capsys.readouterr().out == ""
    net(torch.rand(1, 4))
    assert net[0].weight.unique().tolist() == [1.0]


# ------------------------------------------------------------------------------------- shapes only


def without_memory(report):
    """A report but for bytes, which are about right where kernels differ."""
    calls = tuple(replace(call, bytes=0, kept=0) for call in report.calls)
    return replace(report, calls=calls, peak=0, kept=0, is_about=False)


@pytest.mark.parametrize("name", sorted(NETS.keys() - READ_VALUES))
def test_shapes_give_the_calls_that_tensors_give(name):
    net, inputs = build(name)
    imagined = d2c.trace(net, *(torch.empty_like(X, device="meta") for X in inputs))
    with unchanged(net):
        assert without_memory(imagined) == without_memory(d2c.trace(net, *inputs))
    if all(X.is_floating_point() for X in inputs):
        assert d2c.trace(net, *(tuple(X.shape) for X in inputs)) == imagined


def test_a_lazy_net_stays_lazy_when_only_asked_about():
    net = d2c.mlp(256, 10)
    with unchanged(net):
        report = d2c.trace(net, (2, 20))
    assert report.calls[1].decided == (("weight", (256, 20)), ("bias", (256,)))


@pytest.mark.parametrize("name", sorted(READ_VALUES))
def test_a_net_that_reads_values_wants_tensors(name):
    net, _ = build(name)
    with unchanged(net), pytest.raises(ValueError, match=r"MLP reads values; do trace\(net, torch"):
        d2c.trace(net, (2, 20))


def test_a_net_that_takes_a_tensor_from_elsewhere_is_told_so():
    class Masked(nn.Linear):
        def forward(self, X):
            return torch.where(ELSEWHERE, super().forward(X), 0)

    message = (
        r"got shapes, and `where` in Masked takes a tensor that the net does not hold; do trace"
    )
    with pytest.raises(ValueError, match=message):
        d2c.trace(Masked(3, 3), (2, 3))


def test_a_net_of_tokens_that_reads_values_is_told_to_take_whole_numbers():
    class Reads(nn.Embedding):
        def forward(self, tokens):
            return super().forward(tokens) if tokens.max() < 5 else None

    with pytest.raises(ValueError, match=r"do trace\(net, torch.zeros\(2, 3\).long\(\)\), say"):
        d2c.trace(Reads(5, 4), torch.zeros(2, 3, dtype=torch.long, device="meta"))


def test_seven_billion_parameters_need_no_memory():
    with torch.device("meta"):
        layers = (nn.TransformerEncoderLayer(4096, 32, 16384, batch_first=True) for _ in range(35))
        net = nn.Sequential(*layers)
    report = d2c.trace(net, (1, 512, 4096))
    assert report.error is None
    assert report.calls[0].parameter_count == sum(p.numel() for p in net.parameters()) > 7e9


def test_a_net_on_the_meta_device_takes_a_real_input():
    assert d2c.trace(nn.Linear(2, 3, device="meta"), torch.rand(1, 2)).calls[0].outputs == ((1, 3),)


def test_tensors_that_forward_makes_are_on_the_meta_device_too():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(8, 2)

        def forward(self, X):
            return X + self.embedding(torch.arange(X.shape[0]))

    assert d2c.trace(Positions(), (5, 2)).error is None


def test_a_tuple_of_numbers_beside_a_tensor_is_no_shape():
    class Sized(nn.Module):
        def forward(self, X, size):
            return X.reshape(size)

    assert d2c.trace(Sized(), torch.rand(6), (2, 3)).calls[0].outputs == ((2, 3),)


# ------------------------------------------------------------------------------------------ errors


def test_a_pass_that_fails_shows_how_far_it_came(golden):
    net = nn.Sequential(d2c.NestMLP(20), nn.Linear(15, 20), nn.ReLU())
    with unchanged(net):
        report = d2c.trace(net, torch.ones(2, 20))
    golden(repr(report).replace("addmm: ", ""))  # torch 2.15 names the operator
    assert isinstance(report.error, RuntimeError)
    assert [call.name for call in report.calls if call.failed] == ["", "1"]


def test_a_failing_step_is_the_last_call():
    class Failing(nn.Module):
        def forward(self, X):
            return F.relu(X) @ X

    report = d2c.trace(Failing(), torch.rand(2, 3))
    assert report.calls[-1].failed
    assert report.calls[-1].label == "@"
    assert re.search(r"│ @ .* stopped here\n", repr(report))


def test_missing_inputs_are_an_error_of_the_pass():
    assert "missing 1 required" in repr(d2c.trace(d2c.MLP(in_units=20)))


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_that_raises_ends_the_report(register):
    def fail(*_):
        raise ZeroDivisionError("a hook")

    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    getattr(net[1], register)(fail)
    X = torch.rand(1, 2)
    with unchanged(net):
        report = d2c.trace(net, X)
    assert isinstance(report.error, ZeroDivisionError)
    assert report.calls[0].failed


def test_an_error_that_forward_catches_ends_only_the_call():
    class Catching(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong, self.right = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, X):
            try:
                return self.wrong(X)
            except RuntimeError:
                return self.right(X)

    report = d2c.trace(Catching(), torch.rand(1, 2))
    assert report.error is None
    assert [call.failed for call in report.calls] == [False, True, False]


LAZY = {
    "LazyBatchNorm1d": (lambda: nn.LazyBatchNorm1d(), (4, 3)),
    "LazyBatchNorm2d": (lambda: nn.LazyBatchNorm2d(), (2, 3, 4, 4)),
    "LazyConv2d": (lambda: nn.LazyConv2d(4, 3), (2, 3, 8, 8)),
    "LazyConvTranspose1d": (lambda: nn.LazyConvTranspose1d(4, 3), (2, 3, 8)),
    "LazyInstanceNorm1d": (lambda: nn.LazyInstanceNorm1d(affine=True), (2, 3, 8)),
    "several": (
        lambda: nn.Sequential(
            nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU()),
            nn.Sequential(nn.Flatten(), nn.LazyLinear(5), nn.LazyBatchNorm1d()),
        ),
        (2, 3, 8, 8),
    ),
}


def draw(net, X):
    return d2c.draw(net, X, ax=Figure().add_subplot())


@pytest.mark.parametrize("look", [d2c.trace, draw, d2c.infer_shapes, d2c.diagnose])
@pytest.mark.parametrize("name", LAZY)
def test_what_is_lazy_stays_so(name, look):
    make, sizes = LAZY[name]
    net, X = make(), torch.rand(sizes)
    with unchanged(net):
        look(net, X)
        look(net, sizes)


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_net_shows_the_shapes_that_it_would_learn(name):
    make, sizes = LAZY[name]
    net = make()
    calls = d2c.trace(net, torch.rand(sizes)).calls
    net(torch.rand(sizes))
    learned = {
        f"{call.name}.{leaf}".strip("."): shape for call in calls for leaf, shape in call.decided
    }
    assert learned == {key: tuple(p.shape) for key, p in net.named_parameters()}


def test_a_lazy_net_with_an_attribute_that_cannot_be_copied_is_traced():
    net = nn.Sequential(nn.LazyLinear(2))
    net.lock = threading.Lock()
    X = torch.rand(1, 2)
    with unchanged(net):
        assert d2c.trace(net, X).calls[0].outputs == ((1, 2),)


@pytest.mark.parametrize("net", [torch.rand(2), d2c.MLP, None])
def test_what_is_no_module_is_refused(net):
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module"):
        d2c.trace(net, torch.rand(1, 2))


def test_endless_recursion_ends():
    class Endless(nn.Module):
        def forward(self, X):
            return self(X)

    assert isinstance(d2c.trace(Endless(), torch.rand(1)).error, RecursionError)


# ---------------------------------------------------------------------------------- size and loops


def test_depth_costs_nothing_but_frames():
    net = functools.reduce(lambda inner, _: nn.Sequential(inner), range(200), nn.LazyLinear(2))
    report = d2c.trace(net, torch.rand(1, 2))
    assert report.error is None
    assert report.calls[-1].depth == 200
    assert len(table_of(report.calls, [], "all").rows) == 201


def test_a_call_knows_which_of_several_things_it_was_given():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, X, state):
            hidden, memory = self.cell(X, state)
            return memory - hidden

    _, cell, minus = d2c.trace(Cell(), (2, 3), ((2, 4), (2, 4))).calls
    assert (cell.sources, cell.ports) == ((0, 0, 0), (0, 1, 2))
    assert (minus.sources, minus.ports) == ((1, 1), (1, 0))


def test_a_call_knows_what_the_net_calls_the_tensors_it_holds():
    calls = d2c.trace(nn.Sequential(d2c.MyLinear(4, 3)), torch.rand(2, 4)).calls
    assert [call.held for call in calls[2:]] == [("", "0.weight"), ("", "0.bias"), ("",)]


def test_a_step_that_reads_values_tells_what_it_read():
    calls = d2c.trace(d2c.FixedHiddenMLP(4), torch.zeros(2, 4)).calls
    assert {type(call.value) for call in calls if call.label == "bool()"} == {bool}
    assert all(call.value is None for call in calls if call.is_block)
