import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.patches import FancyBboxPatch, PathPatch
from nets import CHAPTER, WELL_KNOWN

import d2lcompute as d2c

NETS = CHAPTER | WELL_KNOWN
matplotlib.use("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


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
        crossed = [names[i] for i in np.flatnonzero(overlap(written[:, 0], line))]
        assert not crossed


def front_boxes(ax):
    """The boxes without the sheets behind those that stand for several, painted before them."""
    boxes = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    return [a for a, b in itertools.pairwise([*boxes, None]) if b is None or not is_behind(a, b)]


def is_behind(sheet, box):
    same = sheet.get_width() == box.get_width() and sheet.get_height() == box.get_height()
    return same and 0 < sheet.get_x() - box.get_x() < 0.1


def segments(ax):
    for patch in ax.patches:
        if isinstance(patch, PathPatch):
            yield from itertools.pairwise(
                patch.get_transform().transform(patch.get_path().vertices)
            )


@pytest.mark.parametrize("name", NETS)
def test_texts_never_overlap_nor_leave_their_boxes(name):
    net, inputs = NETS[name]()
    check_texts(d2c.draw(net, *inputs))


@pytest.mark.parametrize("name", NETS)
def test_texts_fit_when_folded_and_without_inputs(name):
    net, inputs = NETS[name]()
    check_texts(d2c.draw(net, *inputs, depth=2))
    check_texts(d2c.draw(net))
