"""Marks, made where the student's code is not.

What is trusted: the reference, this process, the walls around the kernel. What is not: all that a
submission's kernel says. In there a student's code may patch whatever it likes and read the check
that runs, hidden ones too; but what the check should answer is not there. It depends on a seed
that is drawn anew for every run and told when the check begins, it is computed in a kernel that
holds the reference alone, and it is compared here. So a forged message, an early or a second
answer, a patched `answer`, a frozen random number can only lose marks; to earn them, the right
value must be sent for inputs that were not known before. What one bit says can still be guessed:
see `release`. Students get to read no words that their code spoke after it saw a hidden check.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..notebooks.cell import plain
from .assignment import Assignment, AssignmentError, Cell
from .attempt import Attempt, Conditions, NoAnswerError, OwnCodeError
from .comparison import difference
from .results import Mark, Result
from .submissions import Submission


@dataclass(frozen=True)
class Expectation:
    """What the reference answered to a check under a seed."""

    seed: int
    value: Any


def expect(assignment: Assignment, conditions: Conditions, secret: str) -> dict[str, Expectation]:
    """Return what the reference answers to each check, under seeds that follow from `secret`.

    Raises `AssignmentError` where the reference fails itself.
    """
    sources = {name: cell.source for name, cell in assignment.solutions.items()}
    expected, defects = {}, []
    with Attempt(assignment, sources, conditions.start, conditions.seconds) as attempt:
        for name, check in assignment.checks.items():
            seed = _seed(secret, name)
            try:
                expected[name] = Expectation(seed, attempt.ask(check, seed))
            except (NoAnswerError, OwnCodeError) as error:
                details = getattr(error, "details", "")
                defects.append(f"check {name} fails with the reference: {error} {details}")
        failed = [each for each in attempt.outcomes() if each.state == "failed"]
    defects[:0] = [f"solution {each.solution} of the reference: {each.details}" for each in failed]
    if defects:
        raise AssignmentError(defects)
    return expected


def grade_submission(
    assignment: Assignment,
    expected: Mapping[str, Expectation],
    conditions: Conditions,
    submission: Submission,
) -> Result:
    """Return the result of one submission; trouble on the grader's side is told in it."""
    start = time.monotonic()
    marks, trouble = [], ""
    attempt = Attempt(assignment, submission.solutions, conditions.start, conditions.seconds)
    with attempt:
        try:
            for name, check in assignment.checks.items():
                marks.append(mark(attempt, check, expected[name], submission.fault))
        except Exception as error:
            trouble = plain(f"{type(error).__name__}: {error}")
    return Result(
        submission=submission.name,
        digest=submission.digest,
        marks=tuple(marks),
        outcomes=attempt.outcomes(),
        fault=submission.fault,
        trouble=trouble,
        isolation=conditions.level,
        gaps=conditions.gaps,
        warm=attempt.warm,
        seconds=round(time.monotonic() - start, 3),
    )


def mark(attempt: Attempt, check: Cell, expectation: Expectation, fault: str = "") -> Mark:
    """Return the mark of one check; a submission with a `fault` fails it for that reason.

    Raises `RuntimeError` for trouble that is not the submission's.
    """
    if fault:
        return Mark(check.id, check.points, False, check.hidden, fault)
    start = time.monotonic()
    private = attempt.has_seen_hidden
    try:
        got = attempt.ask(check, expectation.seed)
    except NoAnswerError as error:
        reason, details = str(error), error.details
    else:
        reason, details = difference(got, expectation.value, check.tolerances) or ("", "")
    seconds = round(time.monotonic() - start, 3)
    passed = not reason
    return Mark(check.id, check.points, passed, check.hidden, reason, details, private, seconds)


def _seed(secret: str, check: str) -> int:
    digest = hashlib.sha256(f"{secret}:{check}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
