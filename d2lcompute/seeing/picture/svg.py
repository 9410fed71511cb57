"""A picture as SVG: small, the same on every machine, in the colours of the page it is on."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .boxes import measure
from .palette import DARK, LIGHT, Palette
from .scene import DOT, GROUND, Dot, Head, Letters, Rectangle, Scene, Shape, Way

PIXELS = 96  # an inch
POINT = PIXELS / 72
BASELINE = 0.36  # of the size of letters, below their middle
FONTS = '"DejaVu Sans",Verdana,"Noto Sans CJK SC","PingFang SC","Microsoft YaHei",sans-serif'
ANCHORS = {"left": "start", "middle": "middle", "right": "end"}


def svg(scene: Scene, title: str, alt: str) -> str:
    """Return a scene as an SVG document, with a title and a text that says what it shows.

    It is dark where the system is. Where a page is dark and the system is not, letters can be read
    all the same, as all have a ground. Letters keep their width in fonts other than ours.
    """
    elements = [element for shape in scene.shapes for element in _elements(shape)]
    used = {role for shape in scene.shapes for role in _roles(shape)}
    view = " ".join(map(_n, (scene.left, scene.top, scene.width, scene.height)))
    size = f'width="{_n(scene.width)}" height="{_n(scene.height)}" viewBox="{view}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="d2c-net" role="img" {size}>',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(alt)}</desc>",
        "<style>",
        f".d2c-net text{{font-family:{FONTS}}}",
        ".d2c-net path{fill:none;stroke-linecap:round}",
        *_rules(LIGHT, used),
        "@media (prefers-color-scheme:dark){",
        *_rules(DARK, used),
        "}",
        "</style>",
        *elements,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rules(palette: Palette, used: set[tuple[str, str]]) -> Iterator[str]:
    colors = palette.colors()
    for what, role in sorted(used):
        yield f".d2c-net .{_name(what, role)}{{{what}:{colors[role]}}}"


def _roles(shape: Shape) -> Iterator[tuple[str, str]]:
    """Yield what is coloured in a shape, and in which role."""
    if isinstance(shape, Rectangle):
        yield from (("fill", shape.fill), ("stroke", shape.edge))
    else:
        yield "stroke" if isinstance(shape, Way) else "fill", shape.color
    if isinstance(shape, Letters) and shape.ground:
        yield "fill", shape.ground


def _elements(shape: Shape) -> Iterator[str]:
    if isinstance(shape, Rectangle):
        yield _rectangle(shape)
    elif isinstance(shape, Way):
        data = "".join(f"{letter}{_n(x)} {_n(y)}" for letter, (x, y) in shape.steps())
        yield f'<path d="{data}" {_class(shape)} stroke-width="{shape.thickness * POINT:.3g}"/>'
    elif isinstance(shape, Head):
        points = " ".join(f"{_n(x)},{_n(y)}" for x, y in shape.points)
        yield f'<polygon points="{points}" {_class(shape)}/>'
    elif isinstance(shape, Dot):
        yield f'<circle cx="{_n(shape.x)}" cy="{_n(shape.y)}" r="{_n(DOT)}" {_class(shape)}/>'
    else:
        yield from _letters(shape)


def _rectangle(shape: Rectangle) -> str:
    place = f'x="{_n(shape.x)}" y="{_n(shape.y)}"'
    size = f'width="{_n(shape.width)}" height="{_n(shape.height)}" rx="{_n(shape.corner)}"'
    thickness = shape.thickness * POINT
    dashes = " ".join(f"{dash * thickness:.3g}" for dash in shape.dash)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<rect {place} {size} {_class(shape)} stroke-width="{thickness:.3g}"{dash}/>'


def _letters(shape: Letters) -> Iterator[str]:
    width, height = measure(shape.text, shape.size), shape.size / 72
    if shape.ground:
        left = shape.x - {"left": 0.0, "middle": width / 2, "right": width}[shape.side]
        place = f'x="{_n(left - GROUND)}" y="{_n(shape.y - 0.6 * height - GROUND / 2)}"'
        size = f'width="{_n(width + 2 * GROUND)}" height="{_n(1.2 * height + GROUND)}"'
        yield f'<rect {place} {size} rx="{_n(height / 2)}" class="{_name("fill", shape.ground)}"/>'
    place = f'x="{_n(shape.x)}" y="{_n(shape.y + BASELINE * height)}"'
    anchor = f' text-anchor="{ANCHORS[shape.side]}"' if shape.side != "left" else ""
    size = f'font-size="{shape.size * POINT:.4g}" textLength="{_n(width)}"'
    style = f"{size}{anchor} {_class(shape)}"
    yield f"<text {place} {style}>{escape(shape.text)}</text>"


def _class(shape: Shape) -> str:
    own = list(_roles(shape))[: 2 if isinstance(shape, Rectangle) else 1]
    return f'class="{" ".join(_name(*role) for role in own)}"'


def _name(what: str, role: str) -> str:
    return f"{what[0]}-{role.replace(' ', '-')}"


def _n(inches: float) -> str:
    return f"{round(inches * PIXELS, 1) + 0.0:g}"
