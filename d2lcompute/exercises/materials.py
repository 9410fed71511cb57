"""What belongs to an exercise and is no code of ours: hints, solutions, right and wrong answers.

A section's file, such as `blocks.md` beside `blocks.py`, has a heading for each exercise. Below it
stands what is wanted, and for each cause that a check may name three hints and the wrong answers
that it explains; then come solutions, and right answers in other styles. A heading that begins with
`predict` has a question, its choices with the right one ticked, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from ..words.markdown import parts

SOLUTION, RIGHT = "solution", "right"
_PREDICT = "predict "
SHARED = "shared"  # the file of what several exercises share


@dataclass
class Material:
    """What is wanted, hints by cause, and answers by cause, by `SOLUTION` or by `RIGHT`."""

    wanted: str = ""
    hints: dict[str, list[str]] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Prediction:
    """A question to guess at before running a cell; `right` is the place of the right choice."""

    question: str = ""
    choices: list[str] = field(default_factory=list)
    right: int = -1
    why: str = ""


@cache
def materials(section: str) -> dict[str, Material]:
    """Return what belongs to the exercises of a section, by name."""
    found: dict[str, Material] = {}
    cause = ""
    for part in parts(_text(section)):
        if part.kind == "#":
            found[part.text] = material = Material()
        elif part.kind == "##":
            cause = part.text
        elif part.kind == "paragraph":
            material.wanted = part.text
        elif part.kind == "item":
            material.hints.setdefault(cause, []).append(part.text)
        elif part.kind == "code":
            material.answers.setdefault(cause, []).append(part.text)
    return {name: one for name, one in found.items() if not name.startswith(_PREDICT)}


@cache
def predictions(section: str) -> dict[str, Prediction]:
    """Return the predictions of a section, by name."""
    found: dict[str, Prediction] = {}
    for part in parts(_text(section)):
        if part.kind == "#":
            one = found[part.text] = Prediction()
        elif part.kind == "item":
            one.right = len(one.choices) if part.mark == "x" else one.right
            one.choices.append(part.text)
        elif part.kind == "paragraph" and one.choices:
            one.why = part.text
        elif part.kind == "paragraph":
            one.question = part.text
    return {
        name.removeprefix(_PREDICT): one for name, one in found.items() if name.startswith(_PREDICT)
    }


def hints_for(name: str, cause: str) -> list[str]:
    """Return the hints of an exercise for a cause, its own before those that several share."""
    own = materials(name.partition(".")[0])[name].hints
    return own.get(cause) or materials(SHARED)[SHARED].hints[cause]


def _text(section: str) -> str:
    return (Path(__file__).parent / f"{section}.md").read_text(encoding="utf-8")
