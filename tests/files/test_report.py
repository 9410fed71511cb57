"""The line that the error offers is run as it stands, and loads the file."""

import re

import hypothesis
import pytest
import strategies
import torch
from fingerprint import unchanged
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def same(left, right):
    assert_close(left, right, rtol=0, atol=0)


def complaint(net, path, **options):
    with unchanged(net), pytest.raises(d2c.FileError, match="must fit the net") as caught:
        d2c.load_parameters(net, path, **options)
    return str(caught.value)


def follow(net, path, **options):
    """Run the line of the error, and return it."""
    text = complaint(net, path, **options)
    line = re.search(r"^(?:or write|do) (load_parameters\(.*?\)),?", text, re.MULTILINE)[1]
    report = eval(line, {"load_parameters": d2c.load_parameters, "net": net})
    assert report.misfits == ()
    return line.replace(str(path.parent), "...")


def test_a_file_of_the_books_fixed_hidden_mlp_may_lack_the_constant(path):
    class FixedHiddenMLP(nn.Module):  # as in the book, where `rand_weight` is no buffer
        def __init__(self):
            super().__init__()
            self.rand_weight = torch.rand(20, 20)
            self.linear = nn.Linear(20, 20)

    book, ours = FixedHiddenMLP(), d2c.FixedHiddenMLP()
    torch.save(book.state_dict(), path)
    constant = ours.rand_weight.clone()
    assert "it keeps the net's own rand_weight" in complaint(ours, path)
    assert follow(ours, path).endswith("net.safetensors', allow_missing=True)")
    same(dict(ours.linear.state_dict()), dict(book.linear.state_dict()))
    same(ours.rand_weight, constant)
    d2c.save_parameters(ours, path)
    assert "it does not load rand_weight" in complaint(book, path)
    assert follow(book, path).endswith("ignore_extra=True)")


def test_a_file_of_lightning_tells_its_prefix(path):
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    torch.save(
        {"state_dict": {**state, "metric.total": torch.ones(())}, "epoch": 3,
         "optimizer_states": [torch.optim.Adam(net.parameters()).state_dict()],
         "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.5"},
        path,
    )  # fmt: skip
    assert follow(net, path).endswith("rename={'net': ''}, ignore_extra=True)")


@pytest.mark.parametrize("wrapped", ["file", "net"])
def test_a_prefix_too_many_or_too_few_is_recognized(path, wrapped):
    net = nn.Linear(2, 2)
    outer = nn.ModuleDict({"very": nn.ModuleDict({"inner": nn.Linear(2, 2)})})
    source, target = (outer, net) if wrapped == "file" else (net, outer)
    d2c.save_parameters(source, path)
    pair = "{'very.inner': ''}" if wrapped == "file" else "{'': 'very.inner'}"
    assert follow(target, path).endswith(f"rename={pair})")


def test_layers_of_other_names_are_paired_by_their_shapes_and_order(path):
    d2c.save_parameters(d2c.MLP(in_units=20), path)
    net = nn.ModuleDict({"head": nn.Linear(256, 10), "body": nn.Linear(20, 256)})
    assert follow(net, path).endswith("rename={'hidden': 'body', 'out': 'head'})")
    same(net["head"].weight.detach(), d2c.load(path, names="out.weight"))


def test_a_prefix_that_others_need_as_it_is_is_written_out(path):
    d2c.save(path, {"a.x.w": torch.ones(2), "a.y.w": torch.zeros(3)})
    net = nn.ModuleDict({"a": nn.ModuleDict({"y": nn.Module()}), "b": nn.ModuleDict()})
    net["a"]["y"].w = nn.Parameter(torch.ones(3))
    net["b"].w = nn.Parameter(torch.zeros(2))
    assert follow(net, path).endswith("rename={'a.x': 'b'})")
    d2c.save(path, {"w": torch.ones(2), "a.y.w": torch.zeros(3)})
    assert follow(net, path).endswith("rename={'w': 'b.w'})")


def test_layers_of_another_size_can_be_left_out(path):
    d2c.save_parameters(d2c.mlp(8, 8, 1, in_units=4), path)
    net = d2c.mlp(8, 8, 3, in_units=4)
    before = net[4].weight.detach().clone()
    line = follow(net, path)
    assert "'4.weight': 'unused.4.weight'" in line
    assert line.endswith("allow_missing=True, ignore_extra=True)")
    same(net[4].weight.detach(), before)
    same(net[0].weight.detach(), d2c.load(path)["0.weight"])


def test_options_that_were_given_are_in_the_line(path):
    d2c.save(path, {"w": torch.ones(2, 3), "c": torch.ones(4), "num": torch.ones(1)})
    net = nn.Linear(3, 2)
    net.register_parameter("b2", nn.Parameter(torch.zeros(4)))
    line = follow(net, path, rename={"w": "weight"}, device="cpu", ignore_extra=True)
    assert line == (
        "load_parameters(net, '.../net.safetensors', rename={'w': 'weight'}, allow_missing=True, "
        "ignore_extra=True, device='cpu')"
    )


def test_what_is_tied_to_a_renamed_one_is_not_said_to_be_kept(path):
    d2c.save_parameters(nn.Linear(2, 2), path)
    net = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    d2c.tie(net, "a", "b")
    assert follow(net, path, device=torch.device("cpu")).endswith("rename={'': 'a'}, device='cpu')")


def test_a_net_that_differs_in_most_gets_no_line(path):
    d2c.save_parameters(nn.Sequential(*(nn.Linear(2, 2) for _ in range(6))), path)
    text = complaint(nn.Sequential(*(nn.Linear(3, 3) for _ in range(6))), path)
    assert text.endswith("do load the file that belongs to this net")


def test_with_a_function_as_rename_no_other_is_invented(path):
    d2c.save_parameters(nn.Sequential(nn.Linear(2, 2)), path)
    text = complaint(nn.Linear(3, 3), path, rename=lambda name: name.removeprefix("0."))
    assert text.endswith("do load the file that belongs to this net")


@hypothesis.given(
    strategies.plans(lazy=False), st.sampled_from(["", "a", "a.b"]), st.sampled_from(["", "c", "a"])
)
@hypothesis.settings(max_examples=60)
def test_any_change_of_prefix_gets_a_line_that_loads(tmp_path_factory, plan, before, after):
    path = tmp_path_factory.mktemp("advice") / "net"

    def under(name, net):
        for key in reversed(name.split(".") if name else []):
            net = nn.ModuleDict({key: net})
        return net

    net, twin = plan.build(), plan.build()
    outer, target = under(before, net), under(after, twin)
    d2c.save_parameters(outer, path)
    if {*outer.state_dict()} != {*target.state_dict()}:
        follow(target, path)
        same(dict(twin.state_dict()), dict(net.state_dict()))
