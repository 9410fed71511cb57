"""The public reports: all can be iterated, and all give their data."""

import json

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute import initializers as init


def lazy_net():
    return nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 1))


def tied_net():
    shared = nn.Linear(4, 4)
    return nn.Sequential(shared, nn.ReLU(), shared)


def listening():
    with d2c.watch_transfers() as transfers:
        torch.zeros(2).tolist()
    return transfers


def hoarder():
    net = nn.Sequential(nn.Linear(2, 2))
    net.extra = [nn.Linear(2, 2)]
    return net


REPORTS = {
    d2c.Description: lambda: d2c.describe(lazy_net()),
    d2c.ShapeReport: lambda: d2c.infer_shapes(lazy_net(), (2, 3)),
    d2c.InitReport: lambda: d2c.initialize(lazy_net(), init.Normal(0.1)),
    d2c.Trace: lambda: d2c.trace(lazy_net(), (2, 3)),
    d2c.Diagnosis: lambda: d2c.diagnose(hoarder()),
    d2c.Finding: lambda: d2c.diagnose(hoarder()).findings[0],
    d2c.GradientsByUse: lambda: d2c.gradients_by_use(
        tied_net(), lambda net: net(torch.rand(2, 4)).sum()
    ),
    d2c.Placement: lambda: d2c.device_of(
        nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta"))
    ),
    d2c.Transfers: listening,
    d2c.Table: lambda: d2c.Table(("a",), [(1,)]),
}
every_report = pytest.mark.parametrize(
    ("kind", "make"), REPORTS.items(), ids=[kind.__name__ for kind in REPORTS]
)


@every_report
def test_a_report_is_of_its_public_class_and_shows_and_gives_itself(
    kind, make, tmp_path, closes_every_element
):
    report = make()
    assert isinstance(report, kind)
    assert closes_every_element(report._repr_html_())
    data = report.to_dict()
    assert json.loads(json.dumps(data)) == data
    report.to_csv(tmp_path / "report.csv")
    lines = (tmp_path / "report.csv").read_text("utf-8").splitlines()
    assert len(lines) >= len(data["rows"])


@every_report
def test_the_columns_of_a_report_have_names_of_their_own(kind, make):
    headers = make()._table().headers
    assert len(set(headers)) == len(headers)


@every_report
def test_a_report_shows_the_same_each_time(kind, make):
    report = make()
    assert report._repr_html_() == report._repr_html_()
    assert repr(report) == repr(report)
