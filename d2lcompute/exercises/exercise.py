"""What an exercise is: the checks that an answer must pass, and what belongs to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..arguments import one_of
from ..words.language import parts

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


SECTIONS = (
    "blocks", "parameters", "initializers", "lazy", "layers", "files", "devices", "symptoms",
)  # fmt: skip

Check = Callable[[Any, random.Random], None]


@dataclass(frozen=True)
class Exercise:
    """An exercise of a section.

    `name` is `"section.exercise"`. `steps` maps what an answer must do to a check, which is called
    with the answer and a source of random cases, and calls `expect`; it is run on `cases` random
    cases. `pair` tells that the answer is a pair of functions. What is wanted, hints, solutions
    and answers lie in a file of texts beside the section's code, see `materials`.
    """

    name: str
    steps: Mapping[str, Check]
    cases: int = 10
    pair: bool = False

    @property
    def material(self) -> Material:
        """What is wanted, hints, solutions and answers."""
        return materials(self.name.partition(".")[0])[self.name]


class NotYetError(Exception):
    """An answer does not do what a step claims: `cause` in a word, `fact` is what was seen."""

    def __init__(self, cause: str, fact: str) -> None:
        super().__init__(fact)
        self.cause = cause
        self.fact = fact


def expect(condition: object, cause: str, fact: str) -> None:
    """Go on where `condition` holds, else say what was seen; hints for `cause` follow."""
    if not condition:
        raise NotYetError(cause, fact)


def exercises() -> list[Exercise]:
    """Return the exercises of all sections, in the chapter's order."""
    modules = [import_module(f"{__package__}.{section}") for section in SECTIONS]
    return [exercise for module in modules for exercise in module.EXERCISES]


def find(name: str) -> Exercise:
    """Return the exercise of that name; raises `ValueError` for one that does not exist."""
    known = {exercise.name: exercise for exercise in exercises()}
    return known[one_of("name", name, known, what="an exercise", see="list_exercises()")]
