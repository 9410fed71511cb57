"""How parameters, gradients and what layers give are distributed: the family of `plot_`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..arguments import shown
from ..parameters.names import collect_params, matcher
from ..passes.inputs import Inputs
from ..words.language import _, mark, ngettext
from .calls import Call
from .parts import ordinal
from .picture.palette import Palette, palette_for, tint
from .trace import trace

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

    Returns the axes, whose `get_label()` says in words what they show. Raises `ValueError` if
    there is no parameter to plot.
    Source: D2L 6.3 / zh 5.2
    """
    parameters = _chosen(net, pattern, ax)
    strips = {name: _state(p) or strip_of(p) for name, p in parameters.items()}
    return plot_strips(strips, mark("value"), ax)


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
    parameters = _chosen(net, pattern, ax)
    if all(is_lazy(p) or p.grad is None for p in parameters.values()):
        raise ValueError(
            "`net` must have gradients, got none; do loss.backward() after a forward pass first"
        )
    strips = {name: _gradient_strip(p) for name, p in parameters.items()}
    return plot_strips(strips, mark("gradient"), ax)


def plot_activations(
    net: nn.Module,
    *inputs: Any,
    ax: Axes | None = None,
    pattern: str | re.Pattern[str] | None = None,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> Axes:
    """Plot how what each layer gives is distributed, one strip a call, in their order.

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> ax = d2c.plot_activations(net, torch.rand(2, 20))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['0: Linear', '1: ReLU', '2: Linear']

    A line goes from the least to the greatest value, the dot is the mean, and the thick line spans
    a standard deviation to both sides; the numbers above are these two and the share of zeros, as
    of a ReLU. `net`, `inputs`, `forward_kwargs` and `named_inputs` are as for `trace`; `pattern`
    selects layers, blocks without others inside, by their names. `ax` are axes to plot on.

    Returns the axes. Raises `ValueError` if there is nothing to plot, as for shapes, from which
    nothing is computed, and `RuntimeError` if the pass fails.
    Source: D2L 5.4 / zh 4.8
    """
    _check(ax)
    fits = matcher(pattern)
    given = Inputs.of(inputs, named_inputs, forward_kwargs)
    report = trace(net, *inputs, values=True, forward_kwargs=forward_kwargs, **named_inputs)
    if report.error:
        problem = f"{type(report.error).__name__}: {report.error}".splitlines()[0]
        raise RuntimeError(
            f"`inputs` must fit the net, got {given.text()}: it ends with {problem}; "
            f"do trace(net, X), which shows how far they come"
        ) from report.error
    strips = {
        _Title(call.name, call.type, call.nth): _activation_strip(call)
        for call in _layers(report.calls)
        if fits(call.name)
    }
    if not any(isinstance(strip, Strip) for strip in strips.values()):
        if given and strips and all(tensor.is_meta for tensor in given.tensors()):
            raise ValueError(
                f"`inputs` must be tensors with values, got {given.text()}; "
                f"do plot_activations(net, torch.rand(2, 20)), say"
            )
        _refuse("layers that give numbers", pattern, "trace(net, X)")
    return plot_strips(strips, mark("activation"), ax)


class _Title(NamedTuple):
    name: str
    type: str
    nth: int

    def text(self) -> str:
        again = "" if self.nth == 1 else _(", ") + _("{nth} call", nth=ordinal(self.nth))
        return f"{self.name}: {self.type}{again}" if self.name else self.type


@dataclass(frozen=True)
class Strip:
    """How some values are distributed; what is not finite is left out, but for its number `lost`.

    `zeros` is the share of those that are zero, if that is worth telling. `outline` has pairs of a
    value and of how many there are about it, 1 where there are most; it is empty if nobody knows.
    """

    mean: float
    deviation: float
    least: float
    most: float
    lost: int = 0
    zeros: float = 0.0
    outline: Sequence[tuple[float, float]] = ()

    def text(self) -> str:
        """Return the numbers that stand above a strip."""
        known = f"{self.mean:.3g} ± {self.deviation:.2g}"
        text = _("no finite value") if math.isnan(self.mean) else known
        zeros = _("{share:.0%} zeros", share=self.zeros) if self.zeros else ""
        lost = ngettext("{n} not finite", "{n:,} not finite", self.lost) if self.lost else ""
        return ", ".join(filter(None, [text, zeros, lost]))


def strip_of(tensor: Tensor) -> Strip:
    """Return how the values of a tensor are distributed."""
    values = _numbers(tensor)
    finite = values[values.isfinite()]
    lost = values.numel() - finite.numel()
    if not finite.numel():
        return Strip(math.nan, math.nan, math.nan, math.nan, lost)
    scale = finite.abs().max().item() or 1.0  # the squares of large values would overflow
    finite = finite / scale
    deviation, mean = (item.item() * scale for item in torch.std_mean(finite, correction=0))
    outline = [(place * scale, height) for place, height in _outline(finite)]
    return Strip(mean, deviation, outline[0][0], outline[-1][0], lost, outline=outline)


_Strips = Mapping[str, Strip | str] | Mapping[_Title, Strip | str]


def plot_strips(strips: _Strips, label: str, ax: Axes | None = None) -> Axes:
    """Plot a strip for each name, or write there why there is none; `label` is what was measured.

    The thin line goes from the least to the greatest value, inside of a spindle if the outline is
    known; the dot is the mean, and the thick line spans a standard deviation to both sides. What
    the axes say in words is in the reader's language, whatever letters the fonts have.
    """
    from .picture.artists import described_axes, drawable_words

    if ax is None:
        ax = described_axes(WIDTH, min(TALLEST, STRIP * len(strips) + MARGIN))
    told = "; ".join(f"{name} {text}" for name, text in _words(strips))
    ax.set_label(f"{_(label)}: {told}")
    with drawable_words():
        _plot(ax, list(strips.values()), _words(strips), _(label))
    return ax


def _words(strips: _Strips) -> list[tuple[str, str]]:
    """Return the name of each strip and the text above it, or why there is none."""
    return [
        (
            name if isinstance(name, str) else name.text(),
            _(strip) if isinstance(strip, str) else strip.text(),
        )
        for name, strip in strips.items()
    ]


def _plot(
    ax: Axes, strips: Sequence[Strip | str], words: Sequence[tuple[str, str]], label: str
) -> None:
    from .picture.artists import fonts_with, readable

    palette = palette_for(ax)
    for row, (strip, (_name, text)) in enumerate(zip(strips, words, strict=True)):
        if isinstance(strip, str):
            _write(ax, 0.5, row + MIDDLE, text, "center", palette)
        else:
            _plot_strip(ax, row + MIDDLE, strip, palette)
            _write(ax, 0.99, row + NUMBERS, text, "right", palette)
    fonts = fonts_with(ax.xaxis.label.get_fontfamily())
    places = [row + MIDDLE for row in range(len(strips))]
    names = [readable(name, fonts) for name, _text in words]
    ax.set_yticks(places, names, fontfamily=fonts, parse_math=False)
    ax.set_ylim(len(strips) - 0.5, -0.55)
    ax.set_xlabel(readable(label, fonts), fontfamily=fonts)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "left", "right"]].set_visible(False)
    ax.grid(axis="x", color=palette.border, alpha=0.4, linewidth=0.6)
    ax.set_axisbelow(True)


def _check(ax: Axes | None) -> None:
    if ax is not None:
        from .picture.artists import check_axes

        check_axes(ax)


def _layers(calls: Sequence[Call]) -> Iterator[Call]:
    """Yield the calls of blocks that have no blocks inside."""
    parents = {call.parent for call in calls if call.is_block}
    return (c for i, c in enumerate(calls) if c.is_block and i not in parents)


def _activation_strip(call: Call) -> Strip | str:
    seen = call.values[0] if call.values else None
    if seen is None:
        return mark("no values")
    return Strip(seen.mean, seen.deviation, seen.least, seen.most, seen.not_finite, seen.zeros)


def _chosen(
    net: nn.Module, pattern: str | re.Pattern[str] | None, ax: Axes | None
) -> dict[str, nn.Parameter]:
    _check(ax)
    parameters = collect_params(net, pattern)
    if not parameters:
        _refuse("parameters", pattern, "collect_params(net)")
    return parameters


def _refuse(things: str, pattern: str | re.Pattern[str] | None, see: str) -> NoReturn:
    wanted = f"`net` must have {things}, got none"
    if pattern is not None:
        wanted = f"`pattern` must fit names of {things}, got {shown(pattern)}, which fits none"
    raise ValueError(f"{wanted}; do {see} to see the names")


def _state(parameter: Tensor) -> str:
    """Return why a parameter has nothing to plot, "" if it has."""
    if is_lazy(parameter):
        return mark("lazy: no shape yet")
    if parameter.is_meta:
        return mark("on the meta device: no values")
    if hasattr(parameter, "full_tensor"):
        return mark("spread over several devices")
    return "" if parameter.numel() else mark("empty")


def _gradient_strip(parameter: Tensor) -> Strip | str:
    state = _state(parameter)
    if state or parameter.grad is None:
        return state or mark("no gradient")
    return strip_of(parameter.grad)


def _plot_strip(ax: Axes, y: float, strip: Strip, palette: Palette) -> None:
    if math.isnan(strip.mean):
        return
    if strip.outline:
        places = [place for place, _height in strip.outline]
        above, below = ([y + side * h for _place, h in strip.outline] for side in (-HALF, HALF))
        fill = tint(palette.accent, palette.paper, 0.35)
        ax.fill_between(places, above, below, facecolor=fill, edgecolor=palette.accent, lw=0.8)
    else:
        ax.plot([strip.least, strip.most], [y, y], color=palette.accent, lw=0.8)
    ends = [strip.mean - strip.deviation, strip.mean + strip.deviation]
    ax.plot(ends, [y, y], color=palette.ink, lw=1.2)
    ax.plot(strip.mean, y, "o", color=palette.ink, markersize=3.5)


def _write(ax: Axes, x: float, y: float, text: str, side: str, palette: Palette) -> None:
    """Write small text at `x`, a share of the width."""
    from .picture.artists import set_text

    written = ax.text(x, y, "", transform=ax.get_yaxis_transform(), ha=side, va="center")
    written.set(fontsize=9, color=palette.faint)
    set_text(written, text)


def _numbers(tensor: Tensor) -> Tensor:
    """Return the values as real numbers in one row, in double precision where there is."""
    values = tensor.detach()
    if values.is_quantized:
        values = values.dequantize()
    elif values.layout is not torch.strided:
        values = values.to_dense()
    if values.is_complex():
        values = torch.view_as_real(values.resolve_conj())
    exact = torch.float32 if values.device.type == "mps" else torch.float64
    return values.to(exact).flatten()


def _outline(values: Tensor) -> list[tuple[float, float]]:
    """Return where a histogram of the values goes, and how high, 1 where it is highest."""
    low, high = values.min().item(), values.max().item()
    if low == high:
        return [(low, 1.0)] * 2
    bins = min(MOST_BINS, 2 + math.isqrt(values.numel()))
    counts = torch.histc(values, bins, low, high)
    heights = (counts / counts.max()).tolist()
    step = (high - low) / bins
    centers = [low + step * (number + 0.5) for number in range(bins)]
    return list(zip([low, *centers, high], [heights[0], *heights, heights[-1]], strict=True))
