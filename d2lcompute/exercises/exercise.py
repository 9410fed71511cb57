"""What an exercise is: the checks that an answer must pass, and what belongs to it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from .materials import Material, materials

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
    if name not in known:
        near = get_close_matches(str(name), known, n=3, cutoff=0.4) or list(known)[:3]
        raise ValueError(
            f"`name` must be an exercise, such as {', '.join(near)}, got {name!r}; "
            "do list_exercises() to see them all"
        )
    return known[name]
