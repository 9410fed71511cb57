import math

import pytest
import torch
from fingerprint import unchanged
from torch import nn
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
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module or the name of a file, got"):
        d2c.compare(wrong, nn.Linear(1, 1))
    with pytest.raises(
        TypeError, match=r"`other` must be an nn\.Module or the name of a file, got"
    ):
        d2c.compare(nn.Linear(1, 1), wrong)
