"""A picture on matplotlib axes, and texts on them that scale, fit and can be read."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from matplotlib import rcParams
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from ...words.language import _, speaking
from .boxes import measure
from .palette import palette_for
from .scene import DOT, Dot, Head, Letters, Rectangle, Scene, Shape, Way

CODES = {"M": Path.MOVETO, "L": Path.LINETO, "Q": Path.CURVE3, " ": Path.CURVE3}

# Fonts with Chinese letters, as systems have them.
CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN",
    "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Microsoft YaHei", "SimHei", "PingFang SC",
    "Hiragino Sans GB", "Heiti SC", "STHeiti", "Songti SC", "Droid Sans Fallback",
    "Arial Unicode MS",
)  # fmt: skip


def check_axes(ax: object) -> None:
    """Raise unless `ax` are axes that one can draw on: those of matplotlib, in two dimensions."""
    if not isinstance(ax, Axes):
        kind = type(ax).__name__
        raise TypeError(f"`ax` must be axes of matplotlib, got {kind}; do plt.subplots()[1], say")
    if ax.name != "rectilinear":
        raise ValueError(f"`ax` must be flat axes, got {ax.name} ones; do plt.subplots()[1], say")


@contextmanager
def drawable_words() -> Iterator[bool]:
    """Speak English meanwhile if no font has the letters of the language; tell whether it is so."""
    text = _("value")
    is_missing = readable(text, fonts_with(rcParams["font.family"])) != text
    with speaking("en") if is_missing else nullcontext():
        yield is_missing


class DescribedFigure(Figure):
    """A figure that gives notebooks, with its image, the labels of its axes as its text."""

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        return {}, {"image/png": {"alt": " ".join(str(ax.get_label()) for ax in self.axes)}}


def described_axes(width: float, height: float) -> Axes:
    """Return the axes of a new figure of pyplot, of this size in inches."""
    from matplotlib import pyplot as plt

    size = (width, height)
    figure = plt.figure(figsize=size, layout="constrained", FigureClass=DescribedFigure)
    return figure.add_subplot()


def put(scene: Scene, ax: Axes) -> None:
    """Put a scene on axes, scaled to fit, in the colours that suit their background."""
    colors = palette_for(ax).colors()
    ax.set(xlim=(scene.left, scene.left + scene.width), ylim=(scene.top + scene.height, scene.top))
    ax.set_aspect("equal")
    ax.set_axis_off()
    for level, shape in enumerate(scene.shapes):
        artist = _artist(shape, colors)
        artist.set_zorder(1 + level / len(scene.shapes))
        ax.add_artist(artist)


def _artist(shape: Shape, colors: Mapping[str, str]) -> Artist:
    if isinstance(shape, Rectangle):
        patch = FancyBboxPatch((shape.x, shape.y), shape.width, shape.height)
        patch.set_boxstyle("round", pad=0.0, rounding_size=shape.corner)
        patch.set(facecolor=colors[shape.fill], edgecolor=colors[shape.edge])
        patch.set(linewidth=shape.thickness, linestyle=(0.0, shape.dash) if shape.dash else "solid")
        return patch
    color = colors[shape.color]
    if isinstance(shape, Way):
        codes, points = zip(*shape.steps(), strict=True)
        path = Path(points, [CODES[code] for code in codes])
        return PathPatch(path, fill=False, edgecolor=color, lw=shape.thickness, capstyle="round")
    if isinstance(shape, Head):
        return Polygon(shape.points, color=color, linewidth=0)
    if isinstance(shape, Dot):
        return Circle((shape.x, shape.y), DOT, color=color, linewidth=0)
    style = {"ha": "center" if shape.side == "middle" else shape.side, "va": "center_baseline"}
    ground = {"boxstyle": "round,pad=0.25,rounding_size=0.5", "linewidth": 0}
    bbox = ground | {"facecolor": colors[shape.ground]} if shape.ground else None
    return ScaledText(shape, color=color, bbox=bbox, **style)


class ScaledText(Text):
    """Letters whose size is right where a unit of the axes is an inch, and scales with the axes.

    They take no more space than was measured, whatever the font.
    """

    def __init__(self, letters: Letters, **style: Any) -> None:
        super().__init__(letters.x, letters.y, usetex=False, **style)
        set_text(self, letters.text)
        fonts = self.get_fontproperties().copy()
        fonts.set_size(letters.size)
        needed = _width(self.get_text(), fonts)
        there_is = measure(letters.text, letters.size)
        self._size_at_an_inch = letters.size * min(1.0, there_is / needed if needed else 1.0)

    def draw(self, renderer: Any) -> None:
        """Draw the text in the size that its axes have now."""
        self._scale()
        super().draw(renderer)

    def get_window_extent(self, renderer: Any = None, dpi: float | None = None) -> Any:
        """Return the extent of the text in the size that its axes have now."""
        self._scale()
        return super().get_window_extent(renderer, dpi)

    def _scale(self) -> None:
        if self.axes is not None and self.figure is not None:
            (left, _), (right, _) = self.axes.transData.transform([(0, 0), (1, 0)])
            self.set_fontsize(self._size_at_an_inch * (right - left) / self.figure.dpi)


def set_text(label: Text, text: str) -> None:
    """Write a text as it is, formulas and all, so that every letter can be read."""
    fonts = fonts_with(label.get_fontfamily())
    label.set(parse_math=False, fontfamily=fonts, text=readable(text, fonts))


def fonts_with(families: Sequence[str]) -> list[str]:
    """Return font families and those with Chinese letters that are installed."""
    return [*families, *(name for name in CHINESE if _letters_of(name))]


def readable(text: str, fonts: Sequence[str]) -> str:
    """Return a text with the numbers of the letters that no font has in their place."""
    if text.isascii():
        return text
    known = [_letters_of(font) for font in (*fonts, *rcParams["font.sans-serif"])]
    found = [any(ord(letter) in letters for letters in known) for letter in text]
    pairs = zip(text, found, strict=True)
    return "".join(letter if is_known else ascii(letter)[1:-1] for letter, is_known in pairs)


@cache
def _letters_of(font: str) -> Container[int]:
    """Return the letters that a font has, none if it is not installed."""
    try:
        path = findfont(FontProperties(family=font), fallback_to_default=False)
    except ValueError:
        return ()
    return get_font(path).get_charmap()


def _width(text: str, fonts: FontProperties) -> float:
    width, _, _ = text_to_path.get_text_width_height_descent(text, fonts, ismath=False)
    return float(width) / 72
