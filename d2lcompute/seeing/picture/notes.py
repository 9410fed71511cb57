"""What stands in the boxes of a picture, below the names."""

from __future__ import annotations

from collections.abc import Sequence

from ...parameters.names import Shape, shape_text
from ...tables import listed
from ...words.language import _, marks, ngettext
from ..calls import Call
from ..fold import Wiring
from ..parts import Part, calls_text, spanned

MOST_NAMES = 2
MOST_SHAPES = 3
MOST_STEPS = 4


class Notes:
    """The notes on the calls of a trace."""

    def __init__(self, calls: Sequence[Call], wiring: Wiring) -> None:
        self._calls = calls
        self._wiring = wiring
        self._reasons: dict[int, str] = {}

    def of(self, part: Part) -> str:
        """Return what is to be said of a part: its parameters, which call it is, why it ran."""
        first = self._calls[part.calls[0]]
        if first.failed:
            return _("stopped here")
        notes = self._parameters(part, first), self.again(part), self._reasons.get(part.calls[0])
        return _(", ").join(note for note in notes if note)

    def again(self, part: Part) -> str:
        """Return which calls of its block a part is, unless the block around says so itself."""
        first = self._calls[part.calls[0]]
        is_told = first.parent is not None and self._calls[first.parent].nth > 1
        return "" if is_told or not first.is_block else calls_text(self._calls, part)

    def decide(self, block: int, drawn: set[int]) -> None:
        """Find in a block what was decided by a value, for what is drawn right behind it."""
        reason = ""
        for position in self._wiring.inside[block]:
            call = self._calls[position]
            if position in drawn:
                self._reasons[position], reason = reason, ""
            elif call.label == "bool()" and isinstance(call.value, bool):
                truth = marks("as {condition} is false", "as {condition} is true")
                reason = _(truth[call.value], condition=self._condition(position, drawn))

    def _condition(self, position: int, drawn: set[int]) -> str:
        """Return how what is asked was computed from what is drawn, such as `abs.sum > 1`."""
        siblings = self._wiring.inside[self._calls[position].parent or 0]
        steps: list[str] = []
        while len(steps) < MOST_STEPS:
            link = next(iter(self._wiring.links[position]), None)
            if link is None or link.source < 0 or siblings[link.source] in drawn:
                break
            position = siblings[link.source]
            label = self._calls[position].label
            before = "." if label[0].isalpha() else "" if label[0] in "[." else " "
            steps.insert(0, before + label)
        return "".join(steps).strip(" .") or _("the value")

    def _parameters(self, part: Part, first: Call) -> str:
        if first.lazy:
            decided = [f"{name} {shape_text(shape)}" for name, shape in first.decided]
            return listed(decided, MOST_SHAPES) if decided else _("no shape yet")
        if not first.is_block:
            return listed(self._names(part), MOST_NAMES)
        calls = [self._calls[position] for position in part.calls]
        counts = {call.name: call.parameter_count for call in calls}
        least, most = min(counts.values()), max(counts.values())
        if not most:
            return ""
        if least < most:
            return _("{least:,} to {most:,} parameters", least=least, most=most)
        if len(counts) > 1:
            return ngettext("{n} parameter each", "{n:,} parameters each", most)
        return ngettext("{n} parameter", "{n:,} parameters", most)

    def _names(self, part: Part) -> list[str]:
        """Return what the steps of a part call the parameters that they read."""
        calls = [self._calls[position] for position in part.calls]
        names = [[self.local(call, name) for name in call.parameters] for call in calls]
        return [spanned(list(dict.fromkeys(column))) for column in zip(*names, strict=False)]

    def local(self, call: Call, name: str) -> str:
        """Return a name in the block around a call, the last part of what hangs elsewhere."""
        around = "" if call.parent is None else self._calls[call.parent].name
        inside = name.removeprefix(f"{around}.") if around else name
        return inside if not around or inside != name else name.rpartition(".")[2]


def labels(shapes: Sequence[Shape], names: Sequence[str]) -> list[str]:
    """Return what stands at the arrows into the net: shapes, with names if there are several."""
    texts = [shape_text(shape) for shape in shapes]
    if len(shapes) < 2 or len(names) != len(shapes):
        return texts
    return [f"{name} {text}" for name, text in zip(names, texts, strict=True)]
