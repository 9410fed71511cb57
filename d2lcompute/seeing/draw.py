"""What a net looks like: `draw`."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from html import escape
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..arguments import written
from ..parameters.names import walk
from ..passes.event import Event, shape, type_name
from ..passes.inputs import Inputs
from ..passes.values import replaced, tensors_in
from .calls import Call, Names, as_calls
from .parts import check_depth
from .picture.sketch import Sketch
from .picture.svg import PIXELS, svg
from .trace import trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

LARGEST = 80.0  # inches of a figure
POSITIONAL = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
SMALLEST = 0.8  # of its size, to which a page may shrink a picture before it scrolls


class Drawing:
    """A picture of a net, as `draw` gives it.

    >>> drawing = d2c.draw(nn.Sequential(nn.Linear(4, 3)), (2, 4))
    >>> print(drawing.alt)
    Picture of Sequential, which takes (2, 4) and gives (2, 3). Sequential consists of: ...

    It shows itself where it is the last line of a cell: as SVG, light or dark as the page is. `alt`
    says in words what the picture says. `figure` and `ax` are of matplotlib, and made when first
    asked for, outside of pyplot; `ax` are those that were given, if any, and the picture is on
    them and does not show itself again.
    """

    def __init__(self, sketch: Sketch, ax: Axes | None = None) -> None:
        self._sketch = sketch
        self._scene, self._title, self.alt = sketch.view()
        self._given = ax
        if ax is not None:
            self._put(ax)

    @property
    def ax(self) -> Axes:
        """The axes with the picture."""
        return self._painted if self._given is None else self._given

    @property
    def figure(self) -> Figure | SubFigure:
        """The figure of the axes, of the size at which letters have 10 points, if it is its own."""
        return self.ax.figure

    def save(self, path: str | Path) -> None:
        """Write the picture to a file: SVG by itself, PNG, PDF and others by matplotlib."""
        with written(path, do="save('net.svg')") as target:
            if target.suffix.lower() == ".svg":
                target.write_text(self._repr_svg_(), encoding="utf-8")
                return
            figure = self._painted.figure.figure
            kinds = figure.canvas.get_supported_filetypes()
            if target.suffix.lower().removeprefix(".") not in kinds:
                raise ValueError(
                    f"`path` must end as a picture does, in .{', .'.join(sorted(kinds))}, got "
                    f"{str(path)!r}; do save('net.svg')"
                )
            figure.savefig(target)

    @cached_property
    def _painted(self) -> Axes:
        from matplotlib.figure import Figure

        scale = min(1.0, LARGEST / max(self._scene.width, self._scene.height))
        figure = Figure(figsize=(self._scene.width * scale, self._scene.height * scale))
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._put(ax)
        return ax

    def _put(self, ax: Axes) -> None:
        from .picture.artists import drawable_words, put

        with drawable_words() as is_other_language:
            put(self._sketch.view().scene if is_other_language else self._scene, ax)

    def __repr__(self) -> str:
        return self.alt

    def _repr_svg_(self) -> str:
        return svg(self._scene, self._title, self.alt)

    def _repr_html_(self) -> str:
        """Return the SVG as an image with its text, which a narrow page shrinks, and scrolls."""
        data = base64.b64encode(self._repr_svg_().encode()).decode()
        style = f"max-width:100%;min-width:{SMALLEST * self._scene.width * PIXELS:.0f}px"
        source = f"data:image/svg+xml;base64,{data}"
        image = f'<img alt="{escape(self.alt)}" src="{source}" style="{style}"/>'
        return f'<div style="overflow-x:auto">{image}</div>'

    def _ipython_display_(self) -> None:
        if self._given is None:  # or the figure shows it
            from IPython.display import display

            svg, html = self._repr_svg_(), self._repr_html_()
            data = {"image/svg+xml": svg, "text/html": html, "text/plain": self.alt}
            display(data, metadata={"image/svg+xml": {"alt": self.alt}}, raw=True)


def draw(
    net: nn.Module,
    *inputs: Any,
    ax: Axes | None = None,
    depth: int | str | None = None,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> Drawing:
    """Draw a net: its blocks as nested boxes, and the data that flows between them.

    >>> print(d2c.draw(nn.Sequential(*(nn.Linear(4, 4) for _ in range(12))), (2, 4)).alt)
    Picture of ...: 0 to 11: Linear (12 in a row), 20 parameters each, gives (2, 4).

    Blue boxes have parameters, white ones none; rounder ones are functions that a block calls
    itself, small ones tensors that the net holds, as a buffer or a constant. What is the same
    block, or shares a parameter, has one colour and is joined by an arc. A dashed blue box is
    lazy, and tells which shapes its parameters would get. Alike blocks are drawn once, as a stack,
    from three on (four calls of one block; two, if there are six calls or more in each), and
    it is said whether they run in a row or side by side. Functions whose result only decides how
    the pass goes on, as in `while x.sum() > 1`, are left out.

    `net` is any module, and stays as it is. `inputs`, `named_inputs` and `forward_kwargs` are as
    for `trace`; without any, the picture shows what the net consists of, and nothing that flows.
    `depth` is how many levels of blocks to open: 0 for the net as one box, "all" for everything;
    without it, as many as can be read on a slide. `ax` are axes to draw on, where the picture is
    scaled to fit.

    Returns the picture, which shows itself in a notebook. If the pass fails, it shows how far it
    came, and the error. Raises as `trace` does, `TypeError` and `ValueError` for axes that are
    none or not flat, and `ValueError` for another `depth`.
    Source: D2L 6.1 / zh 5.1
    """
    check_depth(depth)
    if ax is not None:
        from .picture.artists import check_axes

        check_axes(ax)
    given = Inputs.of(inputs, named_inputs, forward_kwargs)
    named = {**given.named, **given.untouched}
    report = None
    if given:
        report = trace(net, *inputs, forward_kwargs=forward_kwargs, **named_inputs)
    ran = report is not None and bool(report.calls)
    error = report.error if report else None
    sketch = Sketch(
        calls=report.calls if report and ran else structure(net),
        names=_names(net, inputs, named) if ran else None,
        depth=depth,
        message=f"{type(error).__name__}: {error}" if error else "",
        registered=report.registered if report else (),
    )
    return Drawing(sketch, ax)


def _names(net: nn.Module, inputs: Sequence[Any], named: Mapping[str, Any]) -> list[str]:
    """Return for each tensor that a net takes the name of the argument that it comes in by."""
    try:
        parameters = list(inspect.signature(net.forward).parameters.values())
    except (TypeError, ValueError):  # some have no signature
        return []
    places = [parameter.name for parameter in parameters if parameter.kind in POSITIONAL]
    if len(places) < len(inputs):
        return []
    names = []
    for name, value in chain(zip(places, inputs, strict=False), named.items()):
        stand_ins = replaced(value, lambda tensor: tensor, lambda _shape: torch.empty(0))
        count = len(tensors_in(stand_ins))
        names += [name] if count == 1 else [f"{name}[{number}]" for number in range(count)]
    return names


def structure(net: nn.Module) -> list[Call]:
    """Return a call for every place where a block hangs; what hangs twice is looked into once.

    Calls have no outputs; data is as if it went from each block to the next.
    """
    next(walk(net))  # it is a module
    events: list[Event] = []
    entered: set[int] = set()
    pending: list[tuple[nn.Module, Event | None]] = [(net, None)]
    while pending:
        block, parent = pending.pop()
        event = _event(block, parent)
        events.append(event)
        if parent:
            parent.outputs, parent.origins = ((),), (event,)
        if id(block) not in entered:
            entered.add(id(block))
            inside = [child for child in block._modules.values() if child is not None]
            pending += [(child, event) for child in reversed(inside)]
    return list(as_calls(events, Names(net), []))


def _event(block: nn.Module, parent: Event | None) -> Event:
    """Return a call on what the block before gives, and on the parameters of the block itself."""
    before = parent.origins[0] if parent and parent.origins else parent
    parameters = [parameter for parameter in block._parameters.values() if parameter is not None]
    event = Event(parent, block)
    event.name, event.failed = type_name(block), False
    event.inputs = ((), *map(shape, parameters))
    event.sources = (before, *[None] * len(parameters))
    event.ports = event.held = (0,) * (1 + len(parameters))
    event.parameters = frozenset(id(parameter) for parameter in parameters)
    return event
