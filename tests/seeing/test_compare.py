import math

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given, settings
from nets import CHAPTER, WELL_KNOWN, Function
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

import d2lcompute as d2c


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved"


def chain(*layers):
    return nn.Sequential(*layers)


def ones(*layers):
    net = chain(*layers)
    for parameter in net.parameters():
        if not is_lazy(parameter):
            nn.init.ones_(parameter)
    return net


# a net and a file


def test_compare_reports_every_name_and_changes_nothing(path, golden):
    d2c.save_parameters(chain(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)), path)
    net = chain(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3), nn.LazyBatchNorm1d())
    with unchanged(net):
        report = d2c.compare(net, path)
    golden(repr(report).replace(str(path.parent), "..."))
    assert [match.name for match in report.misfits[:2]] == ["2.weight", "2.bias"]
    assert "<table>" in report._repr_html_()


def test_it_takes_the_two_in_any_order_and_a_rename(path):
    d2c.save_parameters(chain(nn.Linear(3, 4)), path)
    net = nn.Linear(3, 4)
    for report in (
        d2c.compare(net, path, rename={"0": ""}),
        d2c.compare(path, net, rename={"0": ""}),
    ):
        assert report.misfits == ()
        assert not report.loaded
        assert repr(report).startswith(f"{path}: fits")


def test_it_is_a_preview_of_loading(path):
    torch.save({"model": nn.DataParallel(chain(nn.Linear(3, 4))).state_dict(), "epoch": 3}, path)
    net = chain(nn.LazyLinear(4))
    preview = d2c.compare(net, path)
    report = d2c.load_parameters(net, path)
    assert (preview.matches, preview.notes) == (report.matches, report.notes)


# two nets


def test_a_net_is_the_same_as_itself_and_as_its_copy():
    net = chain(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LazyLinear(2))
    with unchanged(net):
        report = d2c.compare(net, net)
    assert report.differences == ()
    assert repr(report).startswith("Sequential and Sequential: the same")
    assert "save" not in repr(report)


def test_what_differs_between_two_nets_is_told_by_name(golden):
    left = ones(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2), nn.LazyLinear(2))
    right = ones(nn.Linear(2, 2), nn.Linear(2, 3), nn.Linear(2, 2, dtype=torch.float64),
                 nn.Linear(2, 2), nn.Linear(1, 1, bias=False))  # fmt: skip
    with torch.no_grad():
        right[0].weight[0, 0] = 1.5
        right[2].bias[1] = math.nan
    d2c.tie(left, "0.bias", "1.bias")
    with unchanged(left), unchanged(right):
        report = d2c.compare(left, right)
    golden(repr(report))
    pair = report["0.weight"]
    assert (pair.differing, pair.gap, pair.equal) == (1, 0.5, False)
    assert [p.name for p in report.differences] == [p.name for p in report.pairs if not p.equal]


@pytest.mark.parametrize(
    ("left", "right", "differing", "gap"),
    [
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan]), 0, 0),
        (torch.tensor([1.0, math.inf]), torch.tensor([2.0, math.inf]), 1, 1),
        (torch.tensor([1.0, math.inf]), torch.tensor([1.0, -math.inf]), 1, math.inf),
        (torch.tensor([True, False]), torch.tensor([True, True]), 1, 1),
        (torch.tensor([2**40]), torch.tensor([2**40 + 3]), 1, 3),
        (torch.tensor([3 + 4j]), torch.tensor([0j]), 1, 5),
        (torch.tensor([0.1]).half(), torch.tensor([0.1]).half().float(), 0, 0),
        (torch.tensor([1.0]).to(torch.float8_e5m2), torch.tensor([2.0]), 1, 1),
        (torch.eye(2).to_sparse(), torch.eye(2) * 2, 2, 1),
        (torch.zeros(0), torch.zeros(0), 0, 0),
    ],
)
def test_values_of_any_kind_are_compared(left, right, differing, gap):
    nets = []
    for tensor in (left, right):
        nets.append(nn.Module())
        nets[-1].register_buffer("x", tensor)
    pair = d2c.compare(*nets)["x"]
    assert (pair.differing, pair.gap) == (differing, gap)
    assert pair.equal == (differing == 0 and left.dtype == right.dtype)


def test_a_value_that_is_nan_in_one_only_differs_by_nan():
    left, right = ones(nn.Linear(2, 1)), ones(nn.Linear(2, 1))
    nn.init.constant_(right[0].weight, math.nan)
    assert math.isnan(d2c.compare(left, right)["0.weight"].gap)


def test_a_tensor_in_pieces_is_compared_as_a_whole(monkeypatch):
    monkeypatch.setattr("d2lcompute.seeing.compare._PIECE", 7)
    left, right = ones(nn.Linear(5, 5)), ones(nn.Linear(5, 5))
    with torch.no_grad():
        right[0].weight[:, 2] = 3
    assert d2c.compare(left, right)["0.weight"].differing == 5


def test_nets_on_the_meta_device_are_compared_by_shape():
    meta = chain(nn.Linear(2, 2)).to("meta")
    assert d2c.compare(meta, chain(nn.Linear(2, 2)).to("meta")).differences == ()
    report = d2c.compare(meta, chain(nn.Linear(2, 2)))
    assert report["0.weight"].outcome == "without values in one of the two"


def test_names_of_wrappers_and_renamed_ones_are_known_again():
    net = ones(nn.Linear(2, 2))
    assert d2c.compare(nn.DataParallel(net), net).differences == ()
    assert d2c.compare(net, nn.ModuleDict({"a": net[0]}), rename={"a": "0"}).differences == ()
    assert len(d2c.compare(net, nn.ModuleDict({"a": net[0]})).differences) == 4


def test_a_large_net_shows_only_what_differs():
    left, right = (ones(*(nn.Linear(2, 2) for _ in range(30))) for _ in range(2))
    nn.init.zeros_(right[7].bias)
    lines = repr(d2c.compare(left, right)).splitlines()
    assert lines[0] == "Sequential and Sequential: 1 difference"
    assert lines[3].startswith("7.bias")
    assert lines[4:] == ["59 more are equal"]


# two files


def test_two_files_are_compared_with_all_that_they_hold(path, golden):
    net = ones(nn.Linear(2, 2))
    state = {"net": net.state_dict(), "epoch": 3, "rates": [0.1, 0.01], "note": None}
    d2c.save(path, state)
    other = path.with_name("other")
    torch.save({**state, "epoch": 4, "rates": [0.1, 0.02], "extra": torch.ones(1)}, other)
    report = d2c.compare(path, other)
    golden(repr(report).replace(str(path.parent), "..."))
    assert d2c.compare(path, path).differences == ()


def test_a_checkpoint_and_a_file_of_its_net_alone_are_the_same(path):
    net = ones(nn.Linear(2, 2))
    alone = path.with_name("alone")
    torch.save({"model": nn.DataParallel(net).state_dict(), "epoch": 3}, path)
    d2c.save_parameters(net, alone)
    for report in (d2c.compare(path, alone), d2c.compare(alone, path)):
        assert report.differences == ()
        assert len(report) == 2


@pytest.mark.parametrize("wrong", [{}, nn.Linear, None, 3, torch.ones(1)], ids=str)
def test_what_is_neither_a_net_nor_a_file_is_named(wrong):
    with pytest.raises(
        TypeError, match=r"`net` must be an nn\.Module, the name of a file or a trace, got"
    ):
        d2c.compare(wrong, nn.Linear(1, 1))
    with pytest.raises(
        TypeError, match=r"`other` must be an nn\.Module, the name of a file or a trace, got"
    ):
        d2c.compare(nn.Linear(1, 1), wrong)


# two traces

NETS = CHAPTER | WELL_KNOWN
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Residual(nn.Module):
    """Steps between blocks, a parameter of its own, a branch, and an input that is used twice."""

    def __init__(self, act=F.relu, *, name="fc", double=False, skip=True, reads="w", bound=0.0):
        super().__init__()
        self.add_module(name, nn.Linear(4, 4))
        self.w, self.v = nn.Parameter(torch.eye(4)), nn.Parameter(torch.eye(4))
        self.act, self.name, self.double = act, name, double
        self.skip, self.reads, self.bound = skip, reads, bound
        nn.init.eye_(self.get_submodule(name).weight)
        nn.init.ones_(self.get_submodule(name).bias)

    def forward(self, X):
        Y = self.act(self.get_submodule(self.name)(X))
        Y = Y * 2 if self.double else Y
        Z = Y @ getattr(self, self.reads) if Y.sum() > self.bound else Y
        return Z + (X if self.skip else Y)


def of_two(net, other, *inputs, **options):
    traces = [d2c.trace(one, *(inputs or (X,)), **options) for one in (net, other)]
    return d2c.compare(*traces)


def outcomes(report):
    return {pair.name: pair.outcome for pair in report.differences}


@pytest.mark.parametrize("name", NETS)
def test_a_trace_is_the_same_as_itself_and_has_a_pair_for_every_call(name):
    net, inputs = NETS[name]()
    trace = d2c.trace(net, *inputs, values=True)
    report = d2c.compare(trace, trace)
    assert report.differences == ()
    assert [(pair.first, pair.second) for pair in report] == [(call, call) for call in trace]


@given(plans(), plans())
@settings(max_examples=15, deadline=None)
def test_the_calls_of_both_traces_stand_in_order_each_once(plan, another):
    traces = [d2c.trace(one.build(lazy=False), one.inputs()) for one in (plan, another)]
    report = d2c.compare(*traces)
    for trace, side in zip(traces, ("first", "second"), strict=True):
        seen = [getattr(pair, side) for pair in report if getattr(pair, side) is not None]
        positions = [next(i for i, c in enumerate(trace) if c is call) for call in seen]
        alone = [i for i in range(len(trace)) if i not in positions]
        assert positions == sorted(set(positions))
        assert all(trace[i].parent in alone or _only_one_has(report, trace[i].parent, trace)
                   for i in alone)  # fmt: skip
    mirrored = d2c.compare(*reversed(traces))
    assert (not report.differences) == (not mirrored.differences)


def _only_one_has(report, position, trace):
    return any(
        (pair.first is trace[position] and pair.second is None)
        or (pair.second is trace[position] and pair.first is None)
        for pair in report
    )


def test_what_differs_between_two_traces_is_told_call_by_call(golden):
    report = of_two(Residual(), Residual(F.silu, double=True, bound=100), values=True)
    golden(repr(report))
    assert "<table>" in report._repr_html_()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, {}),
        ({"act": F.silu}, {"relu": "other step"}),
        ({"name": "linear"}, {"fc": "called linear in the second"}),
        ({"double": True}, {"* 2": "only in the second", "sum": "input from another call",
                            "@": "input from another call"}),
        ({"skip": False}, {"+": "input from another call"}),
        ({"reads": "v"}, {"@": "reads other tensors of the net"}),
        ({"bound": 1e3}, {"Residual": "36 and 20 parameters", "> 0": "other step",
                          "bool()": "True ≠ False", "@": "only in the first",
                          "+": "input from another call"}),
    ],
    ids=",".join,
)  # fmt: skip
def test_each_way_in_which_calls_differ_is_told_where_it_is(change, told):
    assert outcomes(of_two(Residual(), Residual(**change))) == told


def test_a_call_that_takes_the_same_shapes_from_elsewhere_differs():
    minus, reverse = Function(lambda X, Y: X - Y), Function(lambda X, Y: Y - X)
    assert outcomes(of_two(minus, reverse, X, 2 * X)) == {"-": "input from another call"}
    ones = torch.ones(2, 4)
    report = of_two(Function(lambda X: X + X.exp()), Function(lambda X: X + ones))
    assert outcomes(report)["+"] == "input from another call"


def test_a_parameter_that_two_blocks_share_is_told_where_the_second_reads_it():
    net, other = (chain(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2))
    d2c.tie(other, "0.weight", "1.weight")
    assert outcomes(of_two(net, other))["1"] == "reads other tensors of the net"


def test_a_step_that_reads_another_buffer_differs():
    nets = [Function(lambda X, i=i: X + nets[i].a) for i in (0, 1)]
    for net, names in zip(nets, ("ab", "ba"), strict=True):
        for name in names:
            net.register_buffer(name, torch.ones(4))
    assert of_two(*nets).differences == ()
    nets[1].function = lambda X: X + nets[1].b
    assert outcomes(of_two(*nets)) == {"+": "reads other tensors of the net"}


def test_the_types_of_two_nets_may_differ_and_blocks_stand_beside_steps():
    assert of_two(nn.Identity(), Residual())[0].outcome.startswith("other type, 0 and 36")
    report = of_two(Residual(nn.ReLU()), Residual())
    assert outcomes(report) == {"act": "other step"}
    report = of_two(chain(nn.ReLU(), nn.Dropout()), chain(nn.Dropout(), nn.ReLU()))
    assert outcomes(report) == {"0": "other type", "1": "other type"}


def test_blocks_are_compared_by_name_and_shape():
    net = chain(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten())
    other = chain(nn.Conv2d(1, 2, 5, padding=2), nn.Tanh(), nn.Flatten(), nn.Dropout())
    assert outcomes(of_two(net, other, (2, 1, 6, 6))) == {
        "Sequential": "output from another call, 20 and 52 parameters",
        "0": "20 and 52 parameters",
        "1": "other type",
        "3": "only in the second",
    }
    nets = [chain(nn.Linear(4, units), nn.ReLU()) for units in (3, 2)]
    report = of_two(*nets, values=True)
    assert outcomes(report)["1"] == "other input, other output"


def test_a_step_is_named_with_the_block_that_runs_it_and_a_block_alone_is_one_pair():
    report = of_two(chain(nn.Identity(), Residual(F.relu)), chain(nn.Identity(), Residual(F.silu)))
    assert list(outcomes(report)) == ["relu in 1"]
    report = of_two(chain(Residual()), chain(Residual(), Residual(name="linear")))
    assert list(outcomes(report)) == ["Sequential", "1"]


def test_a_block_of_another_name_is_looked_into():
    report = of_two(nn.Sequential(), nn.Sequential())
    assert len(report) == 1
    nets = [nn.ModuleDict({name: Residual(act)}) for name, act in (("a", F.relu), ("b", F.silu))]
    for net in nets:
        net.forward = next(iter(net.values())).__call__
    assert outcomes(of_two(*nets)) == {"a": "called b in the second", "relu in a": "other step"}


def test_a_loop_that_runs_longer_has_calls_in_one_trace_only():
    class Loop(nn.Module):
        def __init__(self, steps):
            super().__init__()
            self.steps, self.cell = steps, nn.Linear(4, 4)

        def forward(self, X):
            for _ in range(self.steps):
                X = self.cell(X)
            return X

    report = of_two(Loop(3), Loop(5))
    assert [pair.outcome for pair in report] == [
        "output from another call", *["equal"] * 3, *["only in the second"] * 2
    ]  # fmt: skip
    assert [pair.second.nth for pair in report[1:]] == [1, 2, 3, 4, 5]


def test_values_are_compared_where_both_traces_have_them():
    net, other = ones(nn.Linear(4, 4)), ones(nn.Linear(4, 4))
    nn.init.zeros_(other[0].bias)
    pair = of_two(net, other, values=True)[1]
    assert pair.outcome == "mean by 1, least by 1, most by 1"
    assert pair.gaps["mean"] == 1
    assert of_two(net, other).differences == ()
    report = d2c.compare(d2c.trace(net, X, values=True), d2c.trace(other, X))
    assert report.differences == ()
    assert repr(report).endswith("without values in one of the two")
    shapes = d2c.trace(other, tuple(X.shape), values=True)  # where there are no values to see
    assert d2c.compare(d2c.trace(net, X, values=True), shapes).differences == ()


def test_values_that_are_nan_in_both_are_the_same_and_in_one_differ():
    net, other = ones(nn.Linear(4, 4)), ones(nn.Linear(4, 4))
    nn.init.constant_(other[0].bias, math.nan)
    assert of_two(other, other, values=True).differences == ()
    pair = of_two(net, other, values=True)[1]
    assert math.isnan(pair.gaps["mean"])
    assert "mean by NaN" in pair.outcome
    assert "not finite by 8" in pair.outcome
    halves = [Function(lambda X, a=a, b=b: (X + a, X + b)) for a, b in ((0, 0), (1, math.nan))]
    assert math.isnan(of_two(*halves, values=True)[0].gaps["mean"])


def test_gradients_are_compared_where_both_traces_have_them():
    net = ones(nn.Linear(4, 4))
    traces = [
        d2c.trace(
            net, X, values=True, backward=True, loss_fn=lambda Y, s=scale: s * (Y[0] - Y[1]).sum()
        )
        for scale in (1, 3)
    ]
    assert outcomes(d2c.compare(*traces)) == dict.fromkeys(["Sequential", "0"], "gradient by 2")


def test_a_pass_that_fails_differs_from_one_that_does_not():
    class Failing(nn.Linear):
        def forward(self, X):
            raise RuntimeError("no")

    report = of_two(chain(nn.Linear(4, 4)), chain(Failing(4, 4)))
    assert "fails in the second only" in report[0].outcome
    assert "fails in the first only" in d2c.compare(*(
        d2c.trace(chain(layer), X) for layer in (Failing(4, 4), nn.Linear(4, 4))
    ))[1].outcome  # fmt: skip


def test_a_comparison_of_traces_is_data(tmp_path):
    report = of_two(Residual(), Residual(F.silu))
    data = report.to_dict()
    assert (data["first"], data["second"]) == ("Residual", "Residual")
    assert data["rows"][2] == {
        "name": "relu",
        "in the first": "relu (2, 4) → (2, 4)",
        "in the second": "silu (2, 4) → (2, 4)",
        "outcome": "other step",
    }
    report.to_csv(tmp_path / "calls.csv")
    lines = (tmp_path / "calls.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(report) + 1


def test_a_trace_stands_beside_a_trace_alone(path):
    trace = d2c.trace(chain(), X)
    for wrong in (chain(), path):
        said = (
            rf"must be a trace beside a trace, got {type(wrong).__name__}; do compare\(d2c\.trace"
        )
        with pytest.raises(TypeError, match="`other` " + said):
            d2c.compare(trace, wrong)
        with pytest.raises(TypeError, match="`net` " + said):
            d2c.compare(wrong, trace)
    with pytest.raises(ValueError, match="`rename` must be None for traces, got dict; do compare"):
        d2c.compare(trace, trace, rename={"a": "b"})
