import functools
import itertools
import re

import matplotlib
import numpy as np
import pytest
import torch
from fingerprint import unchanged
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from nets import WELL_KNOWN
from pictures import NETS, drawing_of
from torch import nn

import d2lcompute as d2c
from d2lcompute.seeing.picture.palette import SHADES

matplotlib.use("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(net, *inputs, **options):
    return d2c.draw(net, *inputs, **options).ax


def texts(ax):
    return [text.get_text() for text in ax.texts]


def extents(artists):
    boxes = [artist.get_window_extent() for artist in artists]
    return np.array([[box.x0, box.y0, box.x1, box.y1] for box in boxes]).reshape(-1, 1, 4)


def overlap(a, b):
    return ((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])).all(-1)


def inside(a, b):
    return ((a[..., :2] >= b[..., :2]) & (a[..., 2:] <= b[..., 2:])).all(-1)


def check_texts(ax):
    """No text meets another one or a line, and each is quite inside a box or quite outside."""
    ax.figure.draw_without_rendering()
    written = extents(ax.texts)
    names = texts(ax)
    both = overlap(written, written.swapaxes(0, 1))
    pairs = [(names[i], names[j]) for i, j in np.argwhere(np.triu(both, 1))]
    assert not pairs
    boxes = extents(front_boxes(ax)).swapaxes(0, 1)
    astride = np.argwhere(overlap(written, boxes) & ~inside(written, boxes))
    assert not [(names[i], written[i, 0], boxes[0, j]) for i, j in astride]
    assert inside(written, extents([ax.figure]).swapaxes(0, 1)).all()
    for start, end in segments(ax):
        line = np.concatenate([np.minimum(start, end), np.maximum(start, end)])
        assert not [names[i] for i in np.flatnonzero(overlap(written[:, 0], line))]


def front_boxes(ax):
    """The boxes without the sheets behind those that stand for several, painted before them."""
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    boxes = [box for box in boxes if not is_sample(box)]
    return [a for a, b in itertools.pairwise([*boxes, None]) if b is None or not is_behind(a, b)]


def is_sample(box):
    """Whether a box is one of the legend's."""
    return box.get_width() < 0.25 and box.get_height() < 0.15


def is_behind(sheet, box):
    same = sheet.get_width() == box.get_width() and sheet.get_height() == box.get_height()
    return same and 0 < sheet.get_x() - box.get_x() < 0.1


def paths(ax):
    return [patch for patch in ax.patches if isinstance(patch, PathPatch)]


def segments(ax):
    for patch in paths(ax):
        yield from itertools.pairwise(patch.get_transform().transform(patch.get_path().vertices))


@pytest.mark.parametrize("name", NETS)
def test_texts_never_overlap_nor_leave_their_boxes(name):
    check_texts(drawing_of(name).ax)


def test_texts_fit_between_boxes_of_several_columns():
    net = nn.Transformer(16, 2, 2, 2, 32, batch_first=True)
    check_texts(drawn(net, torch.rand(2, 5, 16), torch.rand(2, 4, 16)))


@pytest.mark.parametrize("name", NETS)
def test_texts_fit_when_folded_and_without_inputs(name):
    net, inputs = NETS[name]()
    check_texts(drawn(net, *inputs, depth=2))
    check_texts(drawn(net))


def test_a_picture_has_the_size_at_which_letters_have_ten_points():
    ax = drawn(d2c.MLP(in_units=20), torch.rand(2, 20))
    ax.figure.draw_without_rendering()
    title = next(text for text in ax.texts if text.get_text() == "hidden: Linear")
    title.get_window_extent()
    assert title.get_fontsize() == pytest.approx(10.0, abs=0.05)


@pytest.mark.parametrize("name", ["FixedHiddenMLP", "resnet", "gpt"])
def test_texts_fit_on_axes_of_any_size(name):
    net, inputs = NETS[name]()
    figure = Figure(figsize=(5, 3), dpi=600)  # letters get so small that pixels would matter
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    assert drawn(net, *inputs, ax=left) is left
    check_texts(left)
    figure.set_size_inches(6, 4)
    check_texts(left)
    assert not right.texts
    assert plt.get_fignums() == []


def test_shapes_stand_on_the_arrows_and_titles_in_the_boxes():
    ax = drawn(d2c.NestMLP(20), (2, 20))
    assert sorted(texts(ax)) == sorted([
        "NestMLP", "net: Sequential", "0: Linear", "1: ReLU", "2: Linear", "3: ReLU",
        "linear: Linear", "1,344 parameters", "2,080 parameters", "528 parameters",
        "(2, 20)", "(2, 64)", "(2, 64)", "(2, 32)", "(2, 32)", "(2, 16)",
    ])  # fmt: skip


def test_a_block_called_twice_has_one_colour_and_an_arc():
    ax = drawn(d2c.FixedHiddenMLP(), torch.rand(2, 20))
    shaded = [box for box in front_boxes(ax) if box.get_edgecolor()[:3] == to_rgb(SHADES[0])]
    assert len(shaded) == 2
    arcs = [path for path in paths(ax) if path.get_edgecolor()[:3] == to_rgb(SHADES[0])]
    assert len(arcs) == 1
    assert any("2nd call" in text for text in texts(ax))


@pytest.mark.parametrize("inputs", [(torch.zeros(2, 8, dtype=torch.long),), ()])
def test_tied_blocks_have_one_colour_and_an_arc_with_and_without_inputs(inputs):
    ax = drawn(WELL_KNOWN["gpt"]()[0], *inputs, depth=2)
    colours = [path.get_edgecolor()[:3] for path in paths(ax)]
    assert colours.count(to_rgb(SHADES[0])) == 1


def test_two_pairs_have_two_colours():
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    layers = [first, second, nn.ReLU(), second, nn.Tanh(), first]
    ax = drawn(nn.Sequential(*layers), torch.rand(1, 4))
    check_texts(ax)
    colours = [path.get_edgecolor()[:3] for path in paths(ax)]
    assert [colours.count(to_rgb(shade)) for shade in SHADES[:3]] == [1, 1, 0]


def test_lazy_blocks_are_dashed_until_they_know_their_shape():
    def dashed(ax):
        return [box.get_linestyle() != "solid" for box in front_boxes(ax)]

    net = d2c.mlp(256, 10)
    with unchanged(net):
        assert dashed(drawn(net)) == [False, True, False, True]
        ax = drawn(net, torch.ones(2, 20))
    assert dashed(ax) == [False, True, False, True]
    assert "weight (256, 20), bias (256,)" in texts(ax)
    d2c.materialize(net, (2, 20))
    assert dashed(drawn(net)) == [False] * 4


def test_alike_blocks_are_drawn_once_with_their_number():
    ax = drawn(WELL_KNOWN["gpt"]()[0], depth=2)
    assert "0 to 11: Block" in texts(ax)
    assert "× 12" in texts(ax)  # without inputs nobody knows how they are wired
    net, inputs = WELL_KNOWN["gpt"]()
    ax = drawn(net, *inputs, depth=2)
    assert "12 in a row" in texts(ax)


def test_a_loop_is_drawn_once_with_its_number():
    net = d2c.FixedHiddenMLP(4)
    with torch.no_grad():
        net.linear.weight.zero_()
        net.linear.bias.fill_(4.0)
    ax = drawn(net, torch.zeros(1, 4))
    assert ("/ 2" in texts(ax), "4 in a row" in texts(ax)) == (True, True)
    assert "item()" not in texts(ax)


def test_blocks_of_other_shapes_are_not_folded():
    ax = drawn(nn.Sequential(*(nn.Linear(n, n + 1) for n in range(1, 6))), (1, 1))
    assert not any("×" in text for text in texts(ax))


def test_depth_tells_how_many_levels_are_open():
    def opened(depth):
        return [text for text in texts(drawn(net, depth=depth)) if ":" in text]

    net = nn.Sequential(d2c.NestMLP(20), nn.Linear(16, 4))
    assert opened(0) == []
    assert opened(1) == ["0: NestMLP", "1: Linear"]
    assert opened(2) == ["0: NestMLP", "1: Linear", "net: Sequential", "linear: Linear"]
    assert opened(None) == opened(3) != opened(2)


@pytest.mark.parametrize("look", [d2c.draw, d2c.trace])
@pytest.mark.parametrize("depth", [-1, 1.5, "2", True])
def test_another_depth_is_an_error(look, depth):
    message = rf'`depth` must be None, "all" or at least 0, got {depth!r}; do depth=2'
    with pytest.raises(ValueError, match=message):
        look(d2c.NestMLP(), (2, 20), depth=depth)


@pytest.mark.parametrize("net", [5, None, [nn.Linear(2, 2)], nn.Linear, torch.rand(2)])
@pytest.mark.parametrize("inputs", [(), ((2, 2),)])
def test_what_is_no_net_is_an_error(net, inputs):
    with pytest.raises(
        TypeError, match=r"`net` must be an nn\.Module, got .*; do pass the net object"
    ):
        d2c.draw(net, *inputs)


NO_AXES = {
    "a number": (lambda: 5, TypeError, "must be axes of matplotlib, got int"),
    "a figure": (Figure, TypeError, "must be axes of matplotlib, got Figure"),
    "several": (lambda: Figure().subplots(2), TypeError, "must be axes of matplotlib, got ndarray"),
    "polar": (
        lambda: Figure().add_subplot(projection="polar"),
        ValueError, "must be flat axes, got polar ones",
    ),
    "3d": (
        lambda: Figure().add_subplot(projection="3d"),
        ValueError, "must be flat axes, got 3d ones",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_AXES)
@pytest.mark.parametrize(
    "look", [d2c.draw, d2c.plot_parameters, d2c.plot_gradients, d2c.plot_activations]
)
def test_what_is_no_flat_axes_is_an_error(look, name):
    make, error, message = NO_AXES[name]
    with pytest.raises(error, match=rf"`ax` {message}; do plt\.subplots\(\)\[1\], say"):
        look(nn.Linear(2, 2), ax=make())


def test_at_depth_0_there_is_what_comes_in_and_goes_out():
    ax = drawn(nn.Sequential(nn.Linear(4, 3)), (2, 4), depth=0)
    assert texts(ax) == ["Sequential", "15 parameters", "(2, 4)", "(2, 3)"]


def test_a_scripted_net_shows_what_comes_in_and_goes_out():
    net = torch.jit.script(nn.Sequential(nn.Linear(4, 3)))
    assert {"Sequential", "(2, 4)", "(2, 3)"} <= set(texts(drawn(net, torch.rand(2, 4))))


def test_a_pass_that_fails_is_drawn_as_far_as_it_came_with_the_error():
    ax = drawn(d2c.MLP(in_units=20), torch.rand(2, 5))
    check_texts(ax)
    assert "stopped here" in texts(ax)
    assert "out: Linear" not in texts(ax)
    assert any(re.match(r"RuntimeError: .*\bmat1\b", text, re.S) for text in texts(ax))


@pytest.mark.parametrize("name", ["chimera", "seq2seq"])
def test_a_net_stays_as_it_is(name):
    net, inputs = NETS[name]()
    with unchanged(net):
        drawn(net, *inputs)
        drawn(net)


def test_colours_fit_the_background():
    net, inputs = NETS["MLP"]()
    light = drawn(net, *inputs).patches[0].get_facecolor()
    with plt.style.context("dark_background"):
        dark = drawn(net, *inputs)
    assert sum(light[:3]) > 2.5 > 0.9 > sum(dark.patches[0].get_facecolor()[:3])
    assert all(sum(to_rgb(text.get_color())) > 1.5 for text in dark.texts)


def test_settings_of_matplotlib_stay_as_they_are():
    before = dict(matplotlib.rcParams)
    drawn(d2c.NestMLP(20), (2, 20))
    assert dict(matplotlib.rcParams) == before


def test_names_are_not_read_as_formulas():
    net = nn.Sequential()
    net.add_module("$x_1$", nn.Linear(2, 2))
    ax = drawn(net, torch.rand(1, 2))
    check_texts(ax)
    assert "$x_1$: Linear" in texts(ax)


def test_a_net_may_be_deeper_than_recursion():
    net = functools.reduce(lambda inner, _: nn.Sequential(inner), range(300), nn.Linear(2, 2))
    assert len(drawn(net, torch.rand(1, 2), depth="all").patches) > 300


def test_a_thousand_blocks_fold_into_a_small_picture():
    blocks = (nn.Sequential(nn.Linear(4, 4), nn.ReLU()) for _ in range(1000))
    ax = drawn(nn.Sequential(*blocks), torch.rand(1, 4))
    assert "1,000 in a row" in texts(ax)
    assert len(ax.texts) < 12
