"""How parameters and gradients are distributed: `plot_parameters` and `plot_gradients`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.names import collect_params
from .picture.palette import Palette, palette_for, tint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, STRIP, MARGIN, TALLEST = 6.4, 0.5, 0.7, 80.0  # of a figure, in inches
MIDDLE, HALF, NUMBERS = 0.1, 0.28, -0.34  # in a strip: the spindle, its half height, the numbers
MOST_BINS = 60


def plot_parameters(
    net: nn.Module, ax: Axes | None = None, *, pattern: str | re.Pattern[str] | None = None
) -> Axes:
    """Plot how the values of each parameter are distributed, one strip a parameter.

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> ax = d2c.plot_parameters(net)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['0.weight', '0.bias', '2.weight', '2.bias']

    A spindle is a histogram seen from both sides. The dot on it is the mean, the line spans a
    standard deviation to both sides, and the numbers above are these two. `net` is any module;
    `pattern` selects parameters by name as in `collect_params`. `ax` are axes to plot on: to
    compare two initializers, use those of `plt.subplots(1, 2, sharex=True, sharey=True)`.

    Returns the axes. Raises `ValueError` if there is no parameter to plot.
    Source: D2L 6.3 / zh 5.2
    """
    parameters = collect_params(net, pattern)
    if not parameters:
        raise ValueError(
            f"`net` must have parameters whose name fits {pattern!r}, got none; "
            "do collect_params(net) to see the names"
        )
    return _plot({name: _state(p) or p for name, p in parameters.items()}, "value", ax)


def plot_gradients(
    net: nn.Module, ax: Axes | None = None, *, pattern: str | re.Pattern[str] | None = None
) -> Axes:
    """Plot how the gradient of each parameter is distributed, one strip a parameter.

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> net(torch.rand(2, 20)).sum().backward()
    >>> d2c.plot_gradients(net, pattern=".*weight").get_xlabel()
    'gradient'

    Strips, `net`, `ax` and `pattern` are as in `plot_parameters`. A parameter without a gradient
    has an empty strip that says so.

    Returns the axes. Raises `ValueError` if no parameter has a gradient.
    Source: D2L 6.2 / zh 5.2
    """
    parameters = collect_params(net, pattern)
    if all(is_lazy(p) or p.grad is None for p in parameters.values()):
        raise ValueError(
            "`net` must have gradients, got none; do loss.backward() after a forward pass first"
        )
    strips = {name: _state(p) or p.grad for name, p in parameters.items()}
    return _plot({n: "no gradient" if s is None else s for n, s in strips.items()}, "gradient", ax)


def _state(parameter: Tensor) -> str:
    """Return why a parameter has nothing to plot, "" if it has."""
    if is_lazy(parameter):
        return "lazy: no shape yet"
    if parameter.is_meta:
        return "on the meta device: no values"
    return "" if parameter.numel() else "empty"


def _plot(strips: Mapping[str, Tensor | str], label: str, ax: Axes | None) -> Axes:
    ax = ax or _new_axes(len(strips))
    palette = palette_for(ax)
    for row, strip in enumerate(strips.values()):
        if isinstance(strip, str):
            _write(ax, 0.5, row + MIDDLE, strip, "center", palette)
        else:
            _plot_strip(ax, row, strip, palette)
    ax.set_yticks([row + MIDDLE for row in range(len(strips))], list(strips))
    ax.set_ylim(len(strips) - 0.5, -0.55)
    ax.set_xlabel(label)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "left", "right"]].set_visible(False)
    ax.grid(axis="x", color=palette.border, alpha=0.4, linewidth=0.6)
    ax.set_axisbelow(True)
    return ax


def _new_axes(strips: int) -> Axes:
    import matplotlib.pyplot as plt

    height = min(TALLEST, STRIP * strips + MARGIN)
    return plt.subplots(figsize=(WIDTH, height), layout="constrained")[1]


def _plot_strip(ax: Axes, row: int, tensor: Tensor, palette: Palette) -> None:
    """Plot a spindle, a line across for the standard deviation, and a dot for the mean."""
    values = _numbers(tensor)
    finite = values[values.isfinite()]
    text = "no finite value"
    if finite.numel():
        deviation, mean = (item.item() for item in torch.std_mean(finite, correction=0))
        places, heights = _outline(finite)
        y = row + MIDDLE
        above, below = ([y + side * height for height in heights] for side in (-HALF, HALF))
        fill = tint(palette.accent, palette.paper, 0.35)
        ax.fill_between(places, above, below, facecolor=fill, edgecolor=palette.accent, lw=0.8)
        ax.plot([mean - deviation, mean + deviation], [y, y], color=palette.ink, lw=1.2)
        ax.plot(mean, y, "o", color=palette.ink, markersize=3.5)
        text = f"{mean:.3g} ± {deviation:.2g}"
    lost = values.numel() - finite.numel()
    text += f", {lost:,} not finite" if lost else ""
    _write(ax, 0.99, row + NUMBERS, text, "right", palette)


def _write(ax: Axes, x: float, y: float, text: str, side: str, palette: Palette) -> None:
    """Write small text at `x`, a share of the width."""
    written = ax.text(x, y, text, transform=ax.get_yaxis_transform(), ha=side, va="center")
    written.set(fontsize=7.5, color=palette.faint)


def _numbers(tensor: Tensor) -> Tensor:
    """Return the values as real floating point numbers in one row."""
    values = tensor.detach()
    values = values if values.layout is torch.strided else values.to_dense()
    return (torch.view_as_real(values) if values.is_complex() else values.float()).flatten()


def _outline(values: Tensor) -> tuple[list[float], list[float]]:
    """Return where a histogram of the values goes, and how high, 1 where it is highest."""
    low, high = values.min().item(), values.max().item()
    if low == high:
        return [low, low], [1.0, 1.0]
    bins = min(MOST_BINS, 2 + math.isqrt(values.numel()))
    counts = torch.histc(values, bins, low, high)
    heights = (counts / counts.max()).tolist()
    step = (high - low) / bins
    centers = [low + step * (number + 0.5) for number in range(bins)]
    return [low, *centers, high], [heights[0], *heights, heights[-1]]
