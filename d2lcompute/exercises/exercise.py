"""What an exercise is: a wish, and tests that an answer must pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Test = Callable[[Any, random.Random], None]


@dataclass(frozen=True)
class Exercise:
    """An exercise of a section: what its answer is, and the tests it must pass, in order.

    `name` is `"section.exercise"`. `steps` maps what an answer must do to a test that is called
    with the answer and a source of random cases, and calls `expect`.
    """

    name: str
    wanted: str
    steps: Mapping[str, Test]


class NotYetError(Exception):
    """An answer does not do what a step claims; `hints` grow stronger."""

    def __init__(self, hints: Sequence[str]) -> None:
        super().__init__(hints[0])
        self.hints = hints


def expect(condition: object, *hints: str) -> None:
    """Go on where `condition` holds, else say so with `hints`, the gentle one first."""
    if not condition:
        raise NotYetError(hints)
