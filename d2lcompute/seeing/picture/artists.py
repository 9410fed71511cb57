"""What a picture is painted with: texts that scale with their axes, paths with round corners."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from .boxes import Point

LARGEST = 80.0  # inches of a figure


class ScaledText(Text):
    """Text whose size is right where a unit of the axes is an inch, and scales with the axes."""

    def __init__(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        super().__init__(x, y, text, size=size, parse_math=False, usetex=False, **style)
        self._size_at_an_inch = size

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


def text_width(text: str, size: float) -> float:
    """Return the width in inches of a text of `size` points, in the font that is set now."""
    return _width(text, size, FontProperties().get_name())


@lru_cache(maxsize=4096)
def _width(text: str, size: float, font: str) -> float:
    properties = FontProperties(family=font, size=size)
    width, _, _ = text_to_path.get_text_width_height_descent(text, properties, ismath=False)
    return float(width) / 72


def new_axes(width: float, height: float) -> Axes:
    """Return axes that fill a new figure of this size in inches, or of what can be rendered."""
    import matplotlib.pyplot as plt

    scale = min(1.0, LARGEST / max(width, height))
    return plt.figure(figsize=(width * scale, height * scale)).add_axes((0.0, 0.0, 1.0, 1.0))


def rounded(points: Sequence[Point], radius: float) -> Path:
    """Return a path with right angles through `points`, its corners rounded."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        reach = min(radius, distance(before, corner) / 2, distance(corner, after) / 2)
        vertices += [toward(corner, before, reach), corner, toward(corner, after, reach)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def distance(a: Point, b: Point) -> float:
    """Return how far apart two points are that lie in one row or one column."""
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def toward(start: Point, end: Point, length: float) -> Point:
    """Return the point `length` away from `start` on the way to `end`."""
    share = length / (distance(start, end) or 1.0)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share
