"""What students run before they hand in: the visible checks, judged as the grader judges them.

The released notebook carries in its metadata what of the assignment its readers may know, with the
reference's answers under seeds that everybody knows. So the same code reads the same answers, runs
them between the same cells and says the same words, without a network and without the reference.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from .assignment import Assignment, Cell
from .attempt import Conditions
from .cells import find_defects_of_all, find_defects_of_files
from .judge import Draw, Expected, expect, grade_submission
from .results import TO_BE_MARKED, Result
from .submissions import find

KEY = "self-check"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Known:
    """What a released notebook knows: the assignment without its secrets, and some answers.

    `points` are those of the whole assignment.
    """

    assignment: Assignment
    expected: Expected
    points: float


def pack(assignment: Assignment, conditions: Conditions) -> dict[str, Any]:
    """Return what the released notebook carries: the visible checks and their answers, as JSON."""
    shown = {name: check for name, check in assignment.checks.items() if not check.hidden}
    seeds = {name: SEEDS[: check.draws] for name, check in shown.items()}
    (expected,) = expect(assignment, conditions, [seeds])
    draws = expected.items()
    return {
        "title": assignment.title,
        "points": assignment.points,
        "files": [name for name, _ in assignment.files],
        "cells": [_to_dict(cell.emptied) for cell in assignment.cells if not cell.hidden],
        "texts": [_to_dict(cell.emptied) for cell in assignment.texts],
        "answers": {name: [[draw.seed, draw.answer] for draw in own] for name, own in draws},
    }


def put_in(notebook: NotebookNode, packed: Mapping[str, Any]) -> None:
    """Let a notebook carry what was packed."""
    notebook.metadata["d2lcompute"] = {KEY: packed}


def unpack(path: Path) -> Known:
    """Return what the released notebook at `path` knows, whoever wrote into it since.

    Raises `ValueError` where it carries nothing, or where a file of the assignment is missing.
    """
    try:
        packed = json.loads(path.read_bytes())["metadata"]["d2lcompute"][KEY]
        names = packed["files"]
        answers = packed["answers"].items()
        expected = {name: [Draw(int(s), str(text)) for s, text in own] for name, own in answers}
        cells, texts = (tuple(map(_to_cell, packed[key])) for key in ("cells", "texts"))
        title, points = str(packed["title"]), float(packed["points"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`notebook` must hold the checks that it was released with, got {path}, which has "
            "none; do --released with the notebook as you were given it"
        ) from error
    paths = {name: path.parent / name for name in names}
    if defects := [*find_defects_of_all({"files": names}), *find_defects_of_files(paths)]:
        raise ValueError("; ".join(defects))
    files = tuple((name, base64.b64encode(paths[name].read_bytes()).decode()) for name in names)
    return Known(Assignment(cells, title, texts=texts, files=files), expected, points)


def self_check(notebook: Path, known: Known, conditions: Conditions) -> Result:
    """Return the result of a notebook, as far as it can be known before it is handed in."""
    (submission,) = find(notebook, known.assignment).submissions
    return grade_submission(known.assignment, conditions, submission, known.expected)


def lines(result: Result, points: float) -> Iterator[str]:
    """Yield what a student reads: the grader's words for each answer, and what is not known yet.

    `points` are those of the whole assignment.
    """
    yield from filter(None, [result.trouble, result.fault, *result.notes])
    for outcome in result.outcomes:
        yield f"{outcome.solution}: {outcome.feedback}"
    for mark in result.marks:
        told = "" if mark.written else f"{mark.earned:g} of {mark.points:g}, "
        yield f"{mark.check}: {told}{mark.feedback}"
    checked = sum(mark.points for mark in result.marks if not mark.written)
    earned = sum(mark.earned for mark in result.marks)
    later = f"{points - checked:g} more are given after you hand in"
    yield f"{earned:g} of {checked:g} points here; {later}"


def is_ready(result: Result) -> bool:
    """Say whether all is answered, and right as far as it was checked."""
    answered = all(outcome.state == "done" for outcome in result.outcomes)
    right = all(mark.passed or mark.reason == TO_BE_MARKED for mark in result.marks)
    return answered and right and not (result.fault or result.trouble)


def _to_dict(cell: Cell) -> dict[str, Any]:
    given = {each.name: getattr(cell, each.name) for each in fields(cell)}
    return {
        each.name: given[each.name] for each in fields(cell) if given[each.name] != each.default
    }


def _to_cell(data: Mapping[str, Any]) -> Cell:
    given: dict[str, Any] = dict(data)
    lists = {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return Cell(**(given | lists))
