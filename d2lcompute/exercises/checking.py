"""Check an answer, list the exercises, remember in this folder which ones passed."""

from __future__ import annotations

import json
import random
from collections import Counter
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..tables import Table
from .exercise import Exercise, NotYetError

SECTIONS = ("blocks", "parameters", "initializers", "lazy", "layers", "files", "devices")
CASES = 10
PROGRESS = Path("d2l-progress.json")

_failures: Counter[tuple[str, str]] = Counter()


def check(name: str, answer: Any = ...) -> None:
    """Check one exercise and print what passed, or a hint for the first thing that did not.

    >>> d2c.check("blocks.parallel", nn.Sequential)
    blocks.parallel
      fail  gives the outputs of both nets side by side
      hint  The second net must read the same X as the first, not what the first one gave.
    >>> d2c.check("blocks.parallel", ...)
    blocks.parallel
      wanted  a class: `Parallel(first, second)(X)` is `first(X)` and `second(X)` side by side

    `name` is `"section.exercise"`; `answer` is what the exercise asks for, usually a function or
    a class, and `...` asks what that is. The answer is tried on random cases; nothing is compared
    with a stored solution. A hint grows stronger when the same step fails again. What passed is
    noted in the current folder, for `progress`.

    Raises `ValueError` for an exercise that does not exist.
    """
    exercise = _find(name)
    print(exercise.name)
    if answer is ...:
        print(f"  wanted  {exercise.wanted}")
    elif all(_passes(exercise, claim, answer) for claim in exercise.steps):
        _remember(exercise)


def list_exercises() -> Table:
    """Return the table of all exercises and of what each one wants as its answer.

    >>> d2c.list_exercises().rows[0][0]
    'blocks.list'
    """
    rows = [(exercise.name, exercise.wanted) for exercise in _all()]
    return Table(("exercise", "wanted"), rows)


def progress() -> Table:
    """Return the table of all exercises and of those that passed in the current folder.

    >>> d2c.progress()
    exercise                    state
    --------------------------  -------
    blocks.list
    blocks.parallel
    ...
    0 of 27 passed
    """
    passed = _passed()
    rows = [(exercise.name, "passed" if exercise.name in passed else "") for exercise in _all()]
    count = sum(state == "passed" for _, state in rows)
    return Table(("exercise", "state"), rows, notes=[f"{count} of {len(rows)} passed"])


def _all() -> list[Exercise]:
    modules = [import_module(f"{__package__}.{section}") for section in SECTIONS]
    return [exercise for module in modules for exercise in module.EXERCISES]


def _find(name: str) -> Exercise:
    known = {exercise.name: exercise for exercise in _all()}
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or list(known)
        raise ValueError(
            f"`name` must be an exercise, such as {', '.join(near)}, got {name!r}; "
            "do list_exercises() to see them all"
        )
    return known[name]


def _passes(exercise: Exercise, claim: str, answer: Any) -> bool:
    try:
        with torch.random.fork_rng(devices=[]):  # the reader's random numbers go on as before
            for case in range(CASES):
                torch.manual_seed(case)
                exercise.steps[claim](answer, random.Random(case))
    except NotYetError as error:
        hints = error.hints
    except Exception as error:
        hints = [f"Your code raised {type(error).__name__}: {error}"]
    else:
        print(f"  pass  {claim}")
        return True
    seen = _failures[exercise.name, claim]
    _failures[exercise.name, claim] += 1
    print(f"  fail  {claim}\n  hint  {hints[min(seen, len(hints) - 1)]}")
    return False


def _passed() -> list[str]:
    try:
        return list(json.loads(PROGRESS.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return []


def _remember(exercise: Exercise) -> None:
    names = sorted({*_passed(), exercise.name})
    PROGRESS.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
