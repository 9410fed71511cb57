import json
import math
import re

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given
from strategies import plans
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import prune
from torch.testing import assert_close

import d2lcompute as d2c


def backward(net, X):
    loss = net(X).sum()
    if loss.requires_grad:  # a net without parameters has nothing to learn
        loss.backward()
    return net


def tied_net():
    shared = nn.Linear(8, 8)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.Linear(8, 1))
    net[0].requires_grad_(False)
    return net


@given(plans())
def test_totals_are_torchs(plan):
    net = plan.build()
    ready = [p for p in net.parameters() if not is_lazy(p)]
    report = d2c.describe(net)
    waiting = sum(row.count or 0 for row in report.rows if row.lazy)
    assert report.total == report.trainable == sum(p.numel() for p in ready) + waiting
    assert report.complete == (len(ready) == len(list(net.parameters())))
    assert [row.name for row in report.rows] == [name for name, _ in net.named_parameters()]
    assert [row.name for row in report.buffers] == [name for name, _ in net.named_buffers()]


@given(plans(lazy=False, aliases=True))
def test_what_shares_memory_counts_once(plan):
    net = plan.build()
    own = {p.data_ptr(): p.numel() for p in net.parameters()}
    assert d2c.describe(net).total == sum(own.values())


@given(plans(aliases=True))
def test_describe_changes_nothing(plan):
    net = plan.build()
    with unchanged(net):
        str(d2c.describe(net))
    backward(net, plan.inputs())
    with unchanged(net):
        str(d2c.describe(net))


@given(plans(aliases=True))
def test_tied_with_are_the_other_names_of_the_group(plan):
    net = plan.build()
    groups = {name: set(group) for group in d2c.tied_groups(net) for name in group}
    for row in d2c.describe(net).rows:
        assert set(row.tied_with) == groups.get(row.name, {row.name}) - {row.name}


@given(plans(lazy=False))
def test_gradients_are_their_norms(plan):
    net = backward(plan.build(), plan.inputs())
    for row in d2c.describe(net).rows:
        gradient = net.get_parameter(row.name).grad
        if gradient is None:
            assert row.gradient is None
        else:
            assert_close(row.gradient, gradient.double().norm().item())


def test_lazy_layers_show_what_is_known(golden):
    net = nn.Sequential(
        nn.LazyConv2d(32, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(256), nn.ReLU(),
        nn.Linear(256, 10),
    )  # fmt: skip
    net.foreign = nn.Module()
    net.foreign.gain = nn.UninitializedParameter()
    golden(str(d2c.describe(net)))


def test_a_tied_net_after_backward(golden):
    net = backward(tied_net(), torch.ones(2, 4))
    net[5].bias.grad.zero_()
    text = re.sub(r"\b\d\.\d+\b", "0.123", str(d2c.describe(net)))
    golden(text)


def test_the_html_is_deterministic_and_has_every_row():
    net = tied_net()
    first, second = (d2c.describe(net)._repr_html_() for _ in range(2))
    assert first == second
    assert first.count("<tr>") == 1 + len(list(net.parameters()))


def test_names_of_many_ties_are_shortened_in_the_table_only():
    shared = nn.Linear(2, 2, bias=False)
    report = d2c.describe(nn.Sequential(*[shared] * 9))
    assert len(report.rows[0].tied_with) == 8
    assert "1.weight, 2.weight and 6 more" in str(report)


def test_a_pattern_selects_rows_and_totals():
    report = d2c.describe(tied_net(), "4")
    assert [(row.name, row.tied_with) for row in report.rows] == [
        ("4.weight", ("2.weight",)),
        ("4.bias", ("2.bias",)),
    ]
    assert report.total == 72


def test_a_pattern_that_fits_nothing_says_how_names_are_matched():
    report = d2c.describe(tied_net(), "weight")
    assert (report.rows, report.total) == ((), 0)
    assert "no name fits 'weight': names are matched from their start, '.*weight'" in str(report)


def test_a_net_without_parameters_says_so():
    assert str(d2c.describe(nn.ReLU())).endswith("no parameters")


def test_frozen_parameters_are_told_and_counted_apart():
    report = d2c.describe(tied_net())
    assert (report.total, report.trainable) == (121, 81)
    assert "none (frozen)" in str(report)
    assert "trainable 81" in str(report)


ODD = {
    "integer": torch.arange(3),
    "boolean": torch.tensor([True, False]),
    "complex": torch.ones(2, dtype=torch.complex64),
    "bfloat16": torch.ones(2, dtype=torch.bfloat16),
    "float8": torch.ones(2).to(torch.float8_e4m3fn),
    "no dimensions": torch.ones(()),
    "empty": torch.ones(3, 0),
    "expanded": torch.ones(1).expand(4),
}


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_odd_parameters_are_described(data):
    net = nn.Module()
    net.odd = nn.Parameter(data, requires_grad=data.is_floating_point() or data.is_complex())
    if net.odd.requires_grad and data.dtype != torch.float8_e4m3fn:
        net.odd.grad = torch.ones_like(data)
    with unchanged(net):
        report = d2c.describe(net)
    (row,) = report.rows
    assert (row.shape, row.dtype, row.count) == (tuple(data.shape), data.dtype, data.numel())
    assert (row.gradient is None) == (net.odd.grad is None)
    assert row.gradient is None or math.isclose(row.gradient, math.sqrt(data.numel()))
    assert "odd" in str(report)


@pytest.mark.parametrize("value", [1e-30, 1e30, -3.0])
def test_norms_neither_overflow_nor_vanish(value):
    net = nn.Linear(1, 1, bias=False)
    net.weight.grad = torch.full((1, 1), value)
    assert_close(d2c.describe(net).rows[0].gradient, abs(net.weight.grad.item()))


def test_a_gradient_that_is_not_a_number_is_shown():
    net = nn.Linear(2, 1, bias=False)
    net.weight.grad = torch.tensor([[math.nan, 1.0]])
    assert " nan" in str(d2c.describe(net))


def test_sparse_gradients_have_a_norm():
    net = nn.Embedding(5, 2, sparse=True)
    backward(net, torch.tensor([1, 1, 3]))
    (row,) = d2c.describe(net).rows
    assert_close(row.gradient, net.weight.grad.to_dense().norm().item())
    assert not net.weight.grad.is_coalesced()


def test_on_the_meta_device_all_is_known_but_values():
    net = nn.Sequential(nn.Linear(4, 4, device="meta"), nn.LazyLinear(2, device="meta"))
    net[0].weight.grad = torch.empty(4, 4, device="meta")
    report = d2c.describe(net)
    assert report.total == 20 + 2
    assert report.rows[0].gradient == "?"
    assert re.search(r"0\.weight +\(4, 4\) +float32 +meta +16 +ready +\?", str(report))
    assert re.search(r"1\.weight +\(2, \?\) +float32 +meta +\? +lazy +none", str(report))
    assert report.complete is False


def test_a_gradient_on_the_meta_device_is_unknown_although_others_are_known():
    net = backward(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), torch.ones(1, 2))
    net.append(nn.Linear(2, 2, device="meta"))
    known = [row.gradient is not None for row in d2c.describe(net).rows]
    assert known == [True] * 4 + [False] * 2


def test_parametrized_modules_show_what_is_trained():
    net = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    names = [row.name for row in d2c.describe(backward(net, torch.ones(1, 3))).rows]
    assert names == [name for name, _ in net.named_parameters()]


def test_a_parameter_that_shares_memory_with_a_buffer_is_told():
    net = nn.Linear(2, 2, bias=False)
    net.register_buffer("average", net.weight.detach())
    report = d2c.describe(net)
    assert report.rows[0].tied_with == ("average",)
    assert report.total == 4


def test_overlapping_slices_count_each_element_once():
    flat = torch.zeros(10)
    net = nn.ParameterList([nn.Parameter(flat[:6]), nn.Parameter(flat[4:]), nn.Parameter(flat[:2])])
    report = d2c.describe(net)
    assert report.total == 10
    assert [row.tied_with for row in report.rows] == [("1", "2"), ("0", "2"), ("0", "1")]


def test_depth_costs_nothing():
    net = nn.Sequential(nn.Linear(2, 2))
    for _ in range(2000):
        net = nn.Sequential(net)
    assert d2c.describe(net).total == 6


def test_a_lazy_layer_counts_what_it_knows():
    report = d2c.describe(nn.Sequential(nn.LazyLinear(256), nn.Linear(256, 1, bias=False)))
    assert [(row.count, row.bytes) for row in report] == [(None, None), (256, 1024), (256, 1024)]
    assert (report.total, report.trainable, report.bytes) == (512, 512, 2048)
    assert "total at least 512, 2.05 kB: lazy parameters" in str(report)


def test_buffers_have_rows_of_their_own_in_their_places(golden):
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net.register_buffer("scratch", torch.zeros(5, dtype=torch.int8), persistent=False)
    net.register_buffer("nothing", None)
    report = d2c.describe(net)
    assert report.tensors[0].name == "scratch"
    assert [row.saved for row in report.buffers] == [False, True, True, True]
    assert len(report) == len(report.rows) == 4
    assert report.buffer_bytes == 5 + 2 * 12 + 8
    golden(str(report))


def test_a_pattern_selects_buffers_too():
    report = d2c.describe(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), ".*running")
    assert (report.total, [row.name for row in report.buffers]) == (0, [
        "1.running_mean", "1.running_var"
    ])  # fmt: skip
    assert str(report).endswith("2 buffers, 24 B")


@given(plans(aliases=True))
def test_bytes_are_torchs(plan):
    net = plan.build()
    own = {p.data_ptr(): p.nbytes for p in net.parameters() if not is_lazy(p)}
    report = d2c.describe(net)
    if report.complete:
        assert report.bytes == sum(own.values())
    buffers = {b.data_ptr(): b.nbytes for b in net.buffers() if not is_lazy(b) and b.numel()}
    if not any(row.lazy for row in report.buffers):
        assert report.buffer_bytes == sum(buffers.values())


def test_gradients_count_their_bytes():
    net = backward(tied_net(), torch.ones(2, 4))
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    report = d2c.describe(net)
    assert report.gradient_bytes == sum(gradient.nbytes for gradient in gradients)
    assert f"gradients {report.gradient_bytes} B" in str(report)


SPARSE = {
    "coordinates": (Tensor.to_sparse, ("_indices", "_values")),
    "rows": (Tensor.to_sparse_csr, ("crow_indices", "col_indices", "values")),
    "columns": (Tensor.to_sparse_csc, ("ccol_indices", "row_indices", "values")),
    "blocks": (lambda X: X.to_sparse_bsr((2, 2)), ("crow_indices", "col_indices", "values")),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("layout", SPARSE)
def test_what_is_sparse_takes_the_bytes_of_its_values_and_indices(layout):
    make, parts = SPARSE[layout]
    net = nn.ParameterList([nn.Parameter(make(torch.eye(4)))])
    net.register_buffer("adjacency", make(torch.eye(4)))
    net[0].grad = make(torch.eye(4))
    wanted = sum(getattr(net.adjacency, part)().nbytes for part in parts)
    report = d2c.describe(net)
    assert report.bytes == report.buffer_bytes == report.gradient_bytes == wanted
    assert [row.bytes for row in report.tensors] == [wanted, wanted]
    assert report.total == 16


def test_half_precision_takes_half_the_bytes():
    net = nn.Linear(100, 10).half()
    assert d2c.describe(net).bytes == 2 * 1010


def test_masks_of_pruned_parameters_are_remarked():
    net = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    prune.l1_unstructured(net[0], "weight", amount=6)
    report = d2c.describe(net)
    assert report.kept == (14, 20)
    assert "pruned: the masks keep 14 of 20 numbers" in str(report)
    assert "0.weight_mask" in [row.name for row in report.buffers]
    assert "pruned" not in str(d2c.describe(net.to("meta")))


def test_columns_can_be_chosen_hidden_ones_too():
    text = str(d2c.describe(nn.Linear(2, 3)).columns("bytes", "name"))
    assert text.splitlines()[1:4] == ["  bytes  name", "-------  ------", "     24  weight"]


def test_the_report_is_data(tmp_path):
    net = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4))
    data = d2c.describe(net).to_dict()
    assert json.loads(json.dumps(data)) == data
    weight, bias, *_, steps = data["rows"]
    assert (weight["shape"], weight["count"], weight["gradient"]) == ([4, None], None, None)
    assert (bias["kind"], steps["kind"], steps["dtype"]) == ("parameter", "buffer", "int64")
    assert data["total"] == 12


def large_net():
    inner = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(2, 2))), nn.BatchNorm1d(2))
    return nn.Sequential(nn.Linear(2, 2), inner, nn.LazyLinear(3), nn.BatchNorm1d(3))


def test_in_a_notebook_a_large_net_is_a_tree_with_the_paths_of_its_parts(closes_every_element):
    text = d2c.describe(large_net())._repr_html_()
    assert closes_every_element(text)
    plain = re.sub("<[^>]+>", "|", text)
    assert "|1: Sequential|" in re.sub(r" *\|+", "|", plain.replace("| |", "|"))
    for path in ("1.0.0.0", "1.0.0.0.weight", "3.running_var"):
        assert f'<code class="p">{path}</code>' in text
    assert '<code class="p">1.0.0</code>' not in text  # it holds one module and nothing else


def test_what_lies_at_the_top_of_a_large_net_is_in_the_tree_too(closes_every_element):
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(7)])
    net.register_parameter("token", nn.Parameter(torch.ones(3)))
    net.register_buffer("positions", torch.ones(3))
    html = d2c.describe(nn.Sequential(net))._repr_html_() + d2c.describe(net)._repr_html_()
    closes_every_element(html)
    assert "token" in html
    assert "positions" in html


def test_the_lines_of_modules_add_up():
    tree = d2c.describe(large_net())._tree()
    counts = {path: row[4] for path, row in zip(tree.paths, tree.rows, strict=True)}
    assert counts["1"].text == "10"
    assert counts["2"].text == "3 + ?"
    depths = dict(zip(tree.paths, tree.depths, strict=True))
    assert [depths[path] for path in ("1", "1.0.0.0", "1.0.0.0.weight")] == [0, 1, 2]


def test_chinese_says_the_same(golden, chinese):
    net = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4))
    golden(str(d2c.describe(net)))
    assert d2c.describe(net).to_dict()["rows"][0]["state"] == "lazy"
