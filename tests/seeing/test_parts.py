"""What repeats is folded, in the table and in the picture alike, and how it is wired is said."""

import itertools

import pytest
import torch
from pictures import NETS, calls_of, check_alike, graph_of, nodes
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c
from d2lcompute.seeing.fold import Wiring
from d2lcompute.seeing.parts import parts_of, title
from d2lcompute.seeing.trace_table import table_of
from docs.pictures import NETS as FAMILIES


def layers(count, width=4):
    return nn.ModuleList(nn.Linear(width, width) for _ in range(count))


class Net(nn.Module):
    """A net with the modules, parameters and tensors of these names that runs `forward`."""

    def __init__(self, forward, **held):
        super().__init__()
        self._run = forward
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, *inputs):
        return self._run(self, *inputs)


def parts(net, *inputs):
    """The titles of what the net is made of, with how it repeats, nested as it is."""
    calls = d2c.trace(net, *inputs).calls

    def told(part):
        name = title(calls, part)
        text = name if part.is_loop or part.count == 1 else f"{name}, {part.repeats()}"
        return [text, *([[told(p) for p in part.parts]] if part.is_loop else [])]

    whole = parts_of(calls, Wiring(calls))
    return [one[0] if len(one) == 1 else one for one in map(told, whole.parts)]


X = 2, 4


def in_a_row(net, X):
    for layer in net.layers:
        X = layer(X)
    return X


def side_by_side(net, X):
    return torch.stack([layer(X) for layer in net.layers])


def crossed(net, X):
    first, second, third = net.layers
    Y = first(X)
    return second(Y) + third(X)


def over_time(index):
    def run(net, X):
        H = torch.zeros(len(X), 4)
        for t in range(X.shape[1]):
            H = net.cell(X[:, t], H) if index else net.cell(X.unbind(1)[t], H)
        return H

    return run


def on_all_before(net, X):
    features = [X]
    for layer in net.layers:
        features.append(layer(torch.cat(features, 1)))
    return torch.cat(features, 1)


def each_its_own(net, *inputs):
    return torch.stack([layer(X) for layer, X in zip(net.layers, inputs, strict=True)])


def own_pieces(net, X):
    return torch.cat([layer(piece) for layer, piece in zip(net.layers, X.chunk(3, 1), strict=True)])


def two_rounds(net, X):
    embedded = [layer(X) for layer in net.layers]
    return torch.stack([F.relu(Y) for Y in embedded])


def residual(net, X):
    for layer in net.layers:
        X = X + layer(X)
    return X


def counted(net, X):
    return ((((X * 2) * 2) * 2) * 2).relu()


WIRED = {
    "a chain": (Net(in_a_row, layers=layers(3)), [X], ["layers.0 to 2: Linear, 3 in a row"]),
    "branches": (
        Net(side_by_side, layers=layers(3)), [X],
        ["layers.0 to 2: Linear, 3 side by side", "stack"],
    ),
    "neither": (
        Net(crossed, layers=layers(3)), [X],
        ["layers.0: Linear", "layers.1: Linear", "layers.2: Linear", "+"],
    ),
    "residuals": (
        Net(residual, layers=layers(3)), [X],
        [["3 in a row", [["layers.0 to 2: Linear"], ["+"]]]],
    ),
    "a loop over time": (
        Net(over_time(index=True), cell=nn.GRUCell(4, 4)), [(2, 35, 4)],
        ["zeros", ["35 in a row", [["[:, 0] to [:, 34]"], ["cell: GRUCell"]]]],
    ),
    "a short loop": (
        Net(over_time(index=True), cell=nn.GRUCell(4, 4)), [(2, 2, 4)],
        ["zeros", "[:, 0]", "cell: GRUCell", "[:, 1]", "cell: GRUCell"],
    ),
    "pieces": (
        Net(own_pieces, layers=layers(3)), [(2, 12)],
        ["chunk", "layers.0 to 2: Linear, 3 side by side", "cat"],
    ),
    "several inputs": (
        Net(each_its_own, layers=layers(3)), [X, X, X],
        ["layers.0 to 2: Linear, 3 side by side", "stack"],
    ),
    "results of a run": (
        Net(two_rounds, layers=layers(4)), [X],
        ["layers.0 to 3: Linear, 4 side by side", "relu, 4 side by side", "stack"],
    ),
    "steps": (Net(counted), [X], ["* 2, 4 in a row", "relu"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WIRED)
def test_repeats_are_told_with_how_they_are_wired(name):
    net, inputs, expected = WIRED[name]
    assert parts(net, *inputs) == expected


def growing(count=4, width=4, growth=2):
    return nn.ModuleList(nn.Linear(width + growth * i, growth) for i in range(count))


def joined_to_one(net, X):
    for layer in net.layers:
        X = torch.cat([X, layer(X)], 1)
    return X


def test_what_grows_by_joining_is_alike():
    net = Net(on_all_before, layers=growing())
    loop = ["4 in a row, each on all before", [["cat"], ["layers.0 to 3: Linear"]]]
    assert parts(net, X) == [loop, "cat"]
    net = Net(joined_to_one, layers=growing())
    assert parts(net, X) == [["4 in a row", [["layers.0 to 3: Linear"], ["cat"]]]]


def test_what_takes_more_of_some_and_the_last_of_others_is_alike():
    class Block(nn.Module):
        """A layer with two caches, as decoders have them."""

        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, X, keys, mask, values):
            keys.append(self.layer(X))
            values.append(X * mask)
            return torch.stack([*keys, *values]).sum(0)

    def remembering(net, X, mask):
        keys, values = [], []
        for block in net.blocks:
            X = block(X, keys, mask, values)
        return X

    net = Net(remembering, blocks=nn.ModuleList(Block() for _ in range(5)))
    assert parts(net, X, X) == [
        "blocks.0: Block",  # its stack joins nothing that came in
        "blocks.1 to 4: Block, 4 in a row, each on all before",
    ]


def test_two_that_grow_are_not_enough_to_tell():
    net = Net(joined_to_one, layers=growing(2))
    assert parts(net, X) == ["layers.0: Linear", "cat", "layers.1: Linear", "cat"]


def test_what_grows_unevenly_is_not_alike():
    uneven = nn.ModuleList(nn.Linear(width, 1 + i) for i, width in enumerate((4, 5, 7, 10)))
    assert len(parts(Net(joined_to_one, layers=uneven), X)) == 8


def test_a_dense_net_has_a_table_of_a_page_and_all_of_it_on_request():
    net, *inputs = FAMILIES["densenet"][0]()
    report = d2c.trace(net, *inputs)
    assert "denselayer1 to 24: DenseLayer  (1, 256, 14, 14) to 24 tensors" in repr(report)
    assert len(repr(report).splitlines()) < 100


@pytest.mark.parametrize("widths", [(1, 2, 3, 4), (3, 5, 5, 5), (2, 4, 8, 16)])
def test_layers_of_other_widths_are_not_alike(widths):
    net = nn.Sequential(*(nn.Linear(a, b) for a, b in itertools.pairwise(widths)))
    assert len(parts(net, (1, widths[0]))) == 3


def test_blocks_are_alike_only_if_the_data_flows_through_them_alike():
    class Block(nn.Module):
        def __init__(self, twisted):
            super().__init__()
            self.a, self.b, self.twisted = nn.Linear(4, 4), nn.Linear(4, 4), twisted

        def forward(self, X):
            Y = self.a(X)
            return Y + self.b(X if self.twisted else Y)

    straight = nn.Sequential(*(Block(False) for _ in range(3)))
    assert parts(straight, X) == ["0 to 2: Block, 3 in a row"]
    mixed = nn.Sequential(Block(False), Block(True), Block(False))
    assert parts(mixed, X) == ["0: Block", "1: Block", "2: Block"]


def test_two_fold_if_they_are_large():
    def large():
        return nn.Sequential(*(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.ReLU()))

    assert parts(nn.Sequential(large(), large()), X) == ["0 to 1: Sequential, 2 in a row"]
    assert parts(nn.Sequential(large()[:3], large()[:3]), X) == ["0: Sequential", "1: Sequential"]


def test_few_calls_of_one_block_are_told_one_by_one():
    shared = nn.Linear(4, 4)
    assert parts(nn.Sequential(*[shared] * 3), X) == ["0 = 1 = 2: Linear"] * 3
    assert parts(nn.Sequential(*[shared] * 4), X) == ["0 = 1 = 2 = 3: Linear, 4 in a row"]


def test_a_buffer_or_constant_makes_a_call_another():
    def positions(net, X):
        return X + net.table + X

    net = Net(positions)
    net.register_buffer("table", torch.ones(2, 4))
    assert parts(net, torch.rand(2, 4)) == ["+", "+"]


def test_a_block_of_several_parents_has_one_name_and_its_calls_their_numbers():
    act = nn.ReLU()

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Linear(4, 4), nn.Linear(4, 4), act

        def forward(self, X):
            return self.act(self.b(self.act(self.a(X))))

    net = nn.Sequential(Block(), Block(), Block())
    text = repr(d2c.trace(net, X))
    assert "│ │ act: ReLU" in text
    assert "calls 1, 3, 5" in text
    assert "calls 2, 4, 6" in text


def test_numbers_in_names_are_joined():
    names = {f"layer{i}": nn.Linear(4, 4) for i in (1, 2, 3)}
    net = Net(lambda net, X: net.layer3(net.layer2(net.layer1(X))), **names)
    assert parts(net, X) == ["layer1 to 3: Linear, 3 in a row"]
    every_other = Net(
        lambda net, X: net.layers[4](net.layers[2](net.layers[0](X))), layers=layers(5)
    )
    assert parts(every_other, X) == ["layers.0, 2, 4: Linear, 3 in a row"]


@pytest.mark.parametrize("name", NETS)
def test_every_box_stands_for_the_calls_of_one_row(name):
    check_alike(calls_of(name))


@pytest.mark.parametrize("name", ["densenet", "unet", "translator", "lstm_cells", "graph_net"])
def test_every_box_of_a_family_stands_for_the_calls_of_one_row(name):
    net, *inputs = FAMILIES[name][0]()
    check_alike(d2c.trace(net, *inputs).calls)


@pytest.mark.parametrize("name", ["mixture_of_experts", "gpt", "densenet", "residual_lstm"])
def test_the_table_and_the_picture_tell_the_same_repeats(name):
    told = repr(table_of(calls_of(name), [], "all"))
    repeated = [node for node in nodes(graph_of(calls_of(name))) if node.count > 1]
    assert repeated
    for node in repeated:
        assert node.kind == "loop" or f"{node.title} " in told
        assert (node.title if node.kind == "loop" else node.badge.split(", calls")[0]) in told
