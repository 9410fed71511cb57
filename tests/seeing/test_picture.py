import functools
import itertools
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from pictures import NETS, calls_of, check_alike, graph_of
from strategies import plans
from torch import nn

import d2lcompute as d2c
from d2lcompute.seeing.draw import structure
from d2lcompute.seeing.picture.boxes import placed
from d2lcompute.seeing.picture.columns import SLIDE, arrange
from d2lcompute.seeing.picture.graph import EXIT
from d2lcompute.seeing.picture.rows import LABEL_GAP, flow_label, rows_of
from d2lcompute.seeing.picture.scene import Way, scene_of
from d2lcompute.seeing.picture.sketch import ROOM, alt_text
from d2lcompute.seeing.picture.svg import svg

every_net = pytest.mark.parametrize("name", NETS)


ENTRY = ~0


def graph(net, *inputs):
    return graph_of(d2c.trace(net, *inputs).calls)


def boxes(root, wired=True):
    return placed(arrange(root, wired))


def titles(nodes):
    return [node.title for node in nodes]


def pairs(node):
    return [(flow.source, flow.target) for flow in node.flows]


class Skip(nn.Module):
    """A skip connection, and a table that no data comes to."""

    def __init__(self):
        super().__init__()
        self.layer, self.table = nn.Linear(2, 2), nn.Embedding(4, 2)

    def forward(self, X):
        return X + self.layer(X) + self.table(torch.arange(2))


def test_flows_follow_the_data_from_entry_to_exit():
    root = graph(Skip(), torch.rand(2, 2))
    assert titles(root.children) == ["layer: Linear", "+", "arange", "table: Embedding", "+"]
    assert set(pairs(root)) == {(ENTRY, 0), (ENTRY, 1), (0, 1), (2, 3), (1, 4), (3, 4), (4, EXIT)}


def test_steps_that_lead_nowhere_are_left_out_and_blocks_are_kept():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, X):
            self.unused(X.abs()).sum().item()
            return self.used(X)

    root = graph(Reading(), torch.rand(1, 2))
    assert titles(root.children) == ["abs", "unused: Linear", "used: Linear"]


def test_a_chain_of_alike_blocks_folds_and_keeps_its_ends():
    root = graph(nn.Sequential(nn.Linear(3, 2), *(nn.Linear(2, 2) for _ in range(4))), (1, 3))
    assert titles(root.children) == ["0: Linear", "1 to 4: Linear"]
    assert [node.count for node in root.children] == [1, 4]
    assert pairs(root) == [(ENTRY, 0), (0, 1), (1, EXIT)]


def test_alike_branches_fold_too():
    net, inputs = NETS["mixture_of_experts"]()
    experts = next(n for n in graph(net, *inputs).children[1].children if n.count == 4)
    assert experts.title == "experts.0 to 3: Sequential"


def test_branches_that_take_other_data_do_not_fold_into_a_chain():
    class Crossed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))

        def forward(self, X):
            first, second, third = self.layers
            Y = first(X)
            return second(Y) + third(X)

    assert len(graph(Crossed(), torch.rand(1, 2)).children) == 4


def test_a_loop_over_several_calls_is_one_node():
    net, inputs = NETS["residual_lstm"]()
    loop = graph(net, *inputs).children[0]
    assert (loop.title, loop.kind, titles(loop.children)) == (
        "3 in a row",
        "loop",
        ["layers.0 to 2: LSTM", "+"],
    )
    assert pairs(loop) == [(ENTRY, 0), (ENTRY, 1), (0, 1), (1, EXIT)]


def test_a_block_that_is_used_a_few_times_is_drawn_each_time():
    shared = nn.Linear(2, 2)
    assert len(graph(nn.Sequential(shared, shared, shared), (1, 2)).children) == 3
    assert len(graph(nn.Sequential(*[shared] * 4), (1, 2)).children) == 1


def test_shades_join_what_shares_and_only_there():
    net, inputs = NETS["siamese"]()
    root = graph(net, *inputs)
    first, second, _ = root.children
    assert root.arcs == [(first, second)]
    assert first.shade == second.shade == 0
    assert all(child.shade is None for child in [*first.children, *second.children])


def test_arcs_lie_in_the_innermost_block_around_both_ends():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2)))
    net[1][0].weight = net[0][0].weight
    root = graph(net, (1, 2))
    ((a, b),) = root.arcs
    assert (a, b) == (root.children[0].children[0], root.children[1].children[0])


def test_structure_lists_what_hangs_where_and_ends_in_a_ring():
    ring = nn.Sequential(nn.Linear(2, 2))
    ring.back = nn.Sequential(nn.ReLU())
    ring.back.ring = ring
    calls = structure(ring)
    assert [(call.depth, call.label) for call in calls] == [
        (0, "Sequential"), (1, "0"), (1, "back"), (2, "0"), (2, "ring"),
    ]  # fmt: skip
    assert [call.nth for call in calls] == [1, 1, 1, 1, 2]


def test_rows_put_each_child_below_what_feeds_it():
    root = graph(Skip(), torch.rand(2, 2))
    assert rows_of(5, root.flows) == [[0, 2], [1, 3], [4]]


@every_net
def test_boxes_lie_inside_the_ones_around_and_never_overlap(name):
    for box in boxes(graph_of(calls_of(name))):
        check_apart(box)


def check_apart(box):
    """The children of a box lie inside, and apart from each other."""
    for i, child in enumerate(box.children):
        assert box.x < child.x < child.x + child.width < box.x + box.width
        assert box.y < child.y < child.y + child.height < box.y + box.height
        for other in box.children[:i]:
            apart = child.x >= other.x + other.width or other.x >= child.x + child.width
            assert apart or child.y >= other.y + other.height or other.y >= child.y + child.height


def check_labels(root):
    """Every label stands under a box and tells what leaves it."""
    for box in boxes(root):
        for label in box.labels:
            (above,) = (
                child.node
                for child in box.children
                if abs(child.leave - (label.x - LABEL_GAP)) < 1e-6
                and 0 < label.y - child.y - child.height < 0.2
            )
            index = box.node.children.index(above)
            leaving = [flow for flow in box.node.flows if flow.source == index]
            onward = [flow for flow in leaving if flow.target != EXIT]
            assert label.text in (flow_label(leaving), flow_label(onward))


@every_net
def test_labels_tell_what_leaves_the_box_above(name):
    check_labels(graph_of(calls_of(name)))


def test_labels_tell_so_in_columns_with_branches_too():
    class Long(Skip):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*(nn.Linear(n, n + 1) for n in range(2, 32)))

        def forward(self, X):
            X = super().forward(X)
            for layer in self.layers:
                X = layer(X)
            return X

    check_labels(graph(Long(), torch.rand(2, 2)))


@every_net
def test_lines_are_as_many_as_flows_and_turn_at_right_angles(name):
    for box in boxes(graph_of(calls_of(name))):
        heads = sum(line.has_head for line in box.lines)
        if box.children:
            assert heads == len(
                {(f.source, f.target, f.into) for f in box.node.flows if f.target != EXIT}
            )
        for line in box.lines:
            for (x, y), (next_x, next_y) in zip(line.points, line.points[1:], strict=False):
                assert x == pytest.approx(next_x) or y == pytest.approx(next_y)


def clashes(box):
    """Pairs of lines between other ends that run on each other for a while."""
    pieces = [(line, ends) for line in box.lines for ends in itertools.pairwise(line.points)]
    for (one, (a, b)), (other, (c, d)) in itertools.combinations(pieces, 2):
        if one.points[0] == other.points[0] or one.points[-1] == other.points[-1]:
            continue
        for i, j in ((0, 1), (1, 0)):
            parallel = abs(a[i] - b[i]) + abs(c[i] - d[i]) < 1e-6 and abs(a[i] - c[i]) < 0.03
            overlap = min(max(a[j], b[j]), max(c[j], d[j])) - max(min(a[j], b[j]), min(c[j], d[j]))
            if parallel and overlap > 0.02:
                yield one, other


@every_net
def test_lines_never_run_on_each_other(name):
    assert [pair for box in boxes(graph_of(calls_of(name))) for pair in clashes(box)] == []


@given(plans(wired=True))
def test_the_picture_of_any_net_is_in_order(plan):
    calls = d2c.trace(plan.build(), plan.inputs()).calls
    check_alike(calls)
    box, *inner = boxes(graph_of(calls))
    for one in (box, *inner):
        assert list(clashes(one)) == []
        check_apart(one)
    scene = scene_of(arrange(graph_of(calls), True), True, "", "")
    assert all(shape.text.strip() for shape in scene.shapes if hasattr(shape, "text"))
    ElementTree.fromstring(svg(scene, "any", alt_text(box.node, True, "", "")))


def test_a_tall_net_is_broken_into_columns_that_fit_a_slide():
    net = nn.Sequential(*(nn.Linear(n, n + 1) for n in range(1, 31)))
    box = boxes(graph(net, (1, 1)))[0]
    assert box.width < SLIDE[0]
    assert box.height < SLIDE[1]


class Skipping(nn.Module):
    """A tall net around which what its first layers make is led to the last ones, as in a U-Net."""

    def __init__(self, skips):
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(n, n + 1) for n in range(1, 13))
        self.up = nn.ModuleList(nn.Linear(n, n - 1) for n in range(13, 1, -1))
        self.skips = skips

    def forward(self, X):
        made = []
        for layer in self.down:
            X = layer(X)
            made.append(X)
        for number, layer in enumerate(self.up):
            X = layer(X)
            if number >= len(self.up) - self.skips - 1 and number < len(self.up) - 1:
                X = X + made[len(self.up) - number - 2]
        return X


@pytest.mark.parametrize("skips", [0, 1, 3, 8])
def test_a_tall_net_with_skips_is_broken_into_columns_too(skips):
    box = boxes(graph(Skipping(skips), (1, 1)))[0]
    assert box.width < ROOM[0]
    assert box.height < ROOM[1]
    assert list(clashes(box)) == []


@pytest.mark.parametrize("skips", [0, 1, 3, 8])
def test_every_line_between_columns_goes_on_where_another_one_ends(skips):
    box = boxes(graph(Skipping(skips), (1, 1)))[0]
    starts = {rounded(line.points[0]) for line in box.lines} | {rounded((box.leave, box.height))}
    ends = [rounded(line.points[-1]) for line in box.lines if not line.has_head]
    assert len(ends) > 2 * skips
    assert starts.issuperset(ends)


def test_what_is_given_back_as_it_came_has_its_line_in_columns_too():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.tall = nn.ModuleList(nn.Linear(n, n + 1) for n in range(1, 31))

        def forward(self, X, Y):
            for layer in self.tall:
                X = layer(X)
            return X, Y

    box = boxes(graph(Both(), (1, 1), (2, 3)))[0]
    assert box.height < SLIDE[1]
    assert any(line.points[0][0] == pytest.approx(box.entries[1]) for line in box.lines)


def rounded(point):
    return tuple(round(value, 6) for value in point)


def test_ways_keep_their_ends_and_round_their_corners():
    way = Way(((0, 0), (0, 1), (2, 1)), 0.25, "faint", 1.0)
    assert way.steps() == [
        ("M", (0, 0)), ("L", (0, 0.75)), ("Q", (0, 1)), (" ", (0.25, 1)), ("L", (2, 1)),
    ]  # fmt: skip


def test_a_deep_net_needs_no_recursion():
    net = functools.reduce(lambda inner, _: nn.Sequential(inner), range(200), nn.Linear(2, 2))
    assert len(boxes(graph(net, torch.rand(1, 2)))) == 201


def test_boxes_of_several_columns_stand_below_one_another():
    def tall(first):
        return nn.Sequential(*(nn.Linear(n, n + 1) for n in range(first, first + 30)))

    class Around(nn.Sequential):
        def forward(self, X):  # more leads around the two than can lead from column to column
            around = [X + number for number in range(13)]
            return torch.cat([super().forward(X), *around], 1)

    picture = boxes(graph(Around(tall(1), tall(31)), (1, 1)))
    entry = {box.node.title: box.entries[0] for box in picture}
    assert entry["0: Sequential"] == pytest.approx(entry["1: Sequential"])


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.MultiheadAttention(8, 2) for _ in range(2))

    def forward(self, target, memory):
        for layer in self.layers:
            target = layer(target, memory, memory)[0]
        return target


class Translating(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(8, 8), Decoder()

    def forward(self, source, target):
        return self.decoder(target, memory=self.encoder(source))


def test_what_comes_in_stays_apart():
    root = graph(Translating(), (5, 8), (4, 8))
    encoder, decoder = root.children
    assert set(root.flows) == {
        (~0, 0, (5, 8), 0), (~1, 1, (4, 8), 0), (0, 1, (5, 8), 1), (1, EXIT, (4, 8), 0),
    }  # fmt: skip
    assert {(flow.source, flow.target) for flow in decoder.flows} == {
        (~0, 0), (~1, 0), (0, 1), (~1, 1), (1, EXIT),
    }  # fmt: skip
    box = next(box for box in boxes(root) if box.node is decoder)
    assert len(set(box.entries)) == 2
    assert encoder.children == []


def test_what_is_taken_from_elsewhere_comes_in_too():
    class Listening(nn.Module):
        def forward(self, X):
            return X + self.heard

    class Telling(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.listening = nn.Linear(4, 4), Listening()

        def forward(self, X):
            self.listening.heard = self.layer(X)
            return self.listening(X)

    root = graph(Telling(), torch.rand(2, 4))
    assert [(f.source, f.target, f.into) for f in root.flows if f.target == 1] == [
        (~0, 1, 0), (0, 1, 1),
    ]  # fmt: skip


def test_what_others_take_out_of_a_block_leaves_it():
    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, X):
            self.seen = self.layer(X)
            return X + 1

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.keeping = Keeping()

        def forward(self, X):
            return self.keeping(X)

    class Looking(nn.Module):
        def __init__(self):
            super().__init__()
            self.around = Around()

        def forward(self, X):
            return self.around(X) + self.around.keeping.seen

    root = graph(Looking(), torch.rand(2, 4))
    around = root.children[0]
    (keeping,) = around.children
    assert set(pairs(keeping)) == {(ENTRY, 0), (ENTRY, 1), (0, EXIT), (1, EXIT)}
    assert set(pairs(around)) == {(ENTRY, 0), (0, EXIT)}
    assert set(pairs(root)) == {(ENTRY, 0), (0, 1), (1, EXIT)}


def test_weights_that_are_computed_flow_into_the_layer_that_takes_them():
    class Hyper(nn.Module):
        def __init__(self):
            super().__init__()
            self.maker, self.layer = nn.Linear(3, 8), nn.Linear(4, 2)

        def forward(self, X, code):
            weight = self.maker(code).view(2, 4)
            return torch.func.functional_call(self.layer, {"weight": weight}, X)

    root = graph(Hyper(), torch.rand(5, 4), torch.rand(3))
    assert titles(root.children) == ["maker: Linear", "view", "layer: Linear"]
    assert set(pairs(root)) == {(~1, 0), (0, 1), (~0, 2), (1, 2), (2, EXIT)}


def test_a_loop_takes_each_thing_apart():
    class Cells(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(4, 4)

        def forward(self, X, H, C):
            for t in range(X.shape[1]):
                H, C = self.cell(X[:, t], (H, C))
            return H

    root = graph(Cells(), (2, 9, 4), (2, 4), (2, 4))
    (loop,) = root.children
    assert {(f.source, f.into) for f in root.flows if f.target == 0} == {(~0, 0), (~1, 1), (~2, 2)}
    assert {(f.source, f.target) for f in loop.flows} == {
        (~0, 0), (0, 1), (~1, 1), (~2, 1), (1, EXIT),
    }  # fmt: skip


def test_an_encoder_and_a_decoder_stand_side_by_side_each_with_its_own_input():
    class Coding(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(*(nn.Linear(n, n + 1) for n in range(4, 20)))
            self.decoder = nn.Sequential(*(nn.Linear(n, n + 1) for n in range(24, 40)))

        def forward(self, source, target):
            memory = self.encoder(source)
            return self.decoder(torch.cat([target, memory], -1)), memory

    root = graph(Coding(), (2, 4), (2, 4))
    root.entries = ["source", "target"]
    whole, *inner = boxes(root)
    encoder, decoder = (box for box in inner if box.node.title.endswith("coder: Sequential"))
    assert encoder.x + encoder.width < decoder.x
    assert encoder.x < whole.entries[0] < encoder.x + encoder.width
    assert encoder.x + encoder.width < whole.entries[1]
    ends = [line.points[-1] for line in whole.lines if not line.has_head]
    assert sum(end == (whole.leave, whole.height) for end in ends) >= 1
