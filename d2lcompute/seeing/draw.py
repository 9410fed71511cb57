"""What a net looks like: `draw`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from .picture.columns import arrange
from .picture.graph import Graph
from .picture.shading import shade
from .picture.structure import structure
from .trace import trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(
    net: nn.Module,
    *inputs: Any,
    ax: Axes | None = None,
    depth: int | None = None,
    **named_inputs: Any,
) -> Axes:
    """Draw a net: its blocks as nested boxes, and the data that flows between them.

    >>> net = d2c.mlp(256, 10)
    >>> ax = d2c.draw(net, torch.rand(2, 20))
    >>> [text.get_text() for text in ax.texts][:3]
    ['Sequential', '(2, 256)', '(2, 256)']
    >>> ax = d2c.draw(nn.Sequential(*(nn.Linear(4, 4) for _ in range(12))), (2, 4))
    >>> [text.get_text() for text in ax.texts if "12" in text.get_text()]
    ['× 12']

    Blue boxes have parameters, white ones none; rounder ones are functions that a block calls
    itself. What is the same block, or shares a parameter, has one colour and is joined by an arc.
    A dashed blue box is lazy, and tells which shapes its parameters would get. Alike blocks in a
    row, loops too, are drawn once, as a stack with a number. Functions whose result only decides
    how the pass goes on, as in `while x.sum() > 1`, are left out.

    `net` is any module, and stays as it is. `inputs` and `named_inputs` are tensors or shapes as
    for `trace`; without any, the picture shows what the net consists of, and nothing that flows.
    `depth` is how many levels of blocks to open: 0 for the net as one box, None for all. `ax` are
    the axes to draw on, where the picture is scaled to fit; without it, it gets a figure of its
    own, of the size at which letters have 10 points.

    Returns the axes. If the pass fails, the picture shows how far it came, and the error. Raises
    as `trace` does, and `ValueError` for a `depth` below 0.
    Source: D2L 6.1 / zh 5.1
    """
    if depth is not None and depth < 0:
        raise ValueError(f"`depth` must be None or at least 0, got {depth}; do depth=2, say")
    from .picture.artists import text_width
    from .picture.paint import paint

    report = trace(net, *inputs, **named_inputs) if inputs or named_inputs else None
    arrows = report is not None and bool(report.calls)
    calls = report.calls if report and arrows else structure(net)
    error = report.error if report else None
    root = Graph(calls, depth).root
    shade(root, calls)
    message = f"{type(error).__name__}: {error}" if error else ""
    return paint(arrange(root, text_width, arrows), ax, arrows, message)
