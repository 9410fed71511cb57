"""Another way to solve an exercise, once it is passed."""

from __future__ import annotations

from dataclasses import dataclass

from ..tables import printable
from ..words.language import _
from .exercise import SOLUTION, find
from .progress import passed


@dataclass(frozen=True, repr=False)
class Solution:
    """Code that solves an exercise; a notebook shows it in colours."""

    name: str
    code: str

    def __repr__(self) -> str:
        return printable(self.code.rstrip())

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}```"


def solution(name: str) -> Solution | None:
    """Return another way to solve an exercise that you have passed.

    >>> d2c.solution("blocks.factory")
    blocks.factory is not passed yet: `check("blocks.factory", ...)` gives hints that lead there.

    `name` is `"section.exercise"`. The code is one of many right answers, to compare with yours.

    Returns a `Solution` that shows itself, and None, with a word on it, before the exercise is
    passed. Raises `ValueError` for an exercise that does not exist.
    """
    exercise = find(name)
    if name not in passed():
        text = _("{name} is not passed yet: `check({name!r}, ...)` gives hints that lead there.",
                 name=name)  # fmt: skip
        print(printable(text.replace("'", '"')))
        return None
    return Solution(name, exercise.material.answers[SOLUTION][0])
