"""What an exercise is: a wish, and steps that an answer must pass."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Test = Callable[[Any, random.Random], None]


@dataclass(frozen=True)
class Step:
    """One thing that an answer must do: `test(answer, draw)` calls `expect` on random cases."""

    claim: str
    test: Test


@dataclass(frozen=True)
class Exercise:
    """An exercise of a section: `wanted` says what the answer is, `steps` are run in order."""

    name: str
    wanted: str
    steps: Sequence[Step]


class NotYetError(Exception):
    """An answer does not do what a step claims; `hints` grow stronger."""

    def __init__(self, hints: Sequence[str]) -> None:
        super().__init__(hints[0])
        self.hints = hints


def expect(condition: object, *hints: str) -> None:
    """Go on where `condition` holds, else say so with `hints`, the gentle one first."""
    if not condition:
        raise NotYetError(hints)
