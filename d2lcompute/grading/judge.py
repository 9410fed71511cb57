"""Marks, made where the student's code is not.

What is trusted: the reference, this process, the box around the kernel. What is not: all that a
submission's kernel says. In there a student's code may patch whatever it likes and read the check
that runs, hidden ones too; but what the check should answer is not there. It depends on seeds that
are this submission's own and are told when the check begins, it is computed in a kernel that holds
the reference alone, and it is compared here. So a forged message, an early or a second answer, a
patched `answer`, a frozen random number can only lose marks; to earn them, the right values must be
sent for inputs that were not known before, and that no other submission has. What one bit says can
still be guessed: see `release` and `examine`.

From the moment that a hidden check is sent, nothing that the student's code chose is shown to
students but whether a check was passed.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..notebooks.errors import plain
from .assignment import Assignment, AssignmentError, Cell
from .attempt import Attempt, Conditions, NoAnswerError, OwnCodeError
from .comparison import Difference, compare
from .results import TO_BE_MARKED, Mark, Result
from .submissions import Submission

PORTION = 2 << 20  # bytes of answers that are asked for at once


@dataclass(frozen=True)
class Draw:
    """A seed, and what the reference answers under it, as text."""

    seed: int
    answer: str


Seeds = Mapping[str, Sequence[int]]
Expected = Mapping[str, Sequence[Draw]]


def draw_seeds(assignment: Assignment, key: str, submission: Submission) -> Seeds:
    """Return the seeds of each check for one submission; they follow from `key`, a secret.

    >>> from d2lcompute.grading.assignment import Assignment, Cell
    >>> from d2lcompute.grading.judge import draw_seeds
    >>> from d2lcompute.grading.submissions import Submission
    >>> assignment = Assignment((Cell("answer(1)", "check", "c", draws=2),))
    >>> draw_seeds(assignment, "secret", Submission("ada"))
    {'c': (8636894567351682621, 2562792212903380321)}
    """
    own = f"{key}:{submission.digest}"
    return {
        name: tuple(_seed(f"{own}:{name}:{draw}") for draw in range(check.draws))
        for name, check in assignment.checks.items()
    }


def expect(
    assignment: Assignment, conditions: Conditions, wanted: Sequence[Seeds]
) -> list[Expected]:
    """Return what the reference answers under the seeds that each submission has for some checks.

    It runs once, top to bottom; each check answers all seeds before the next cell runs.

    Raises `AssignmentError` where the reference fails itself, and where a check answers otherwise
    when it is asked again: what it was asked before, for others, must not matter.
    """
    sources = {name: cell.source for name, cell in assignment.solutions.items()}
    expected: list[dict[str, Sequence[Draw]]] = [{} for _ in wanted]
    defects: list[str] = []
    with Attempt(assignment, sources, conditions.start, conditions.seconds, math.inf) as attempt:
        for check in in_order(assignment):
            seeds = [seed for own in wanted for seed in own.get(check.id, ())]
            if not seeds:
                continue
            try:
                answers = ask_all(attempt, check, seeds)
                for own, each in zip(expected, wanted, strict=True):
                    if check.id in each:
                        own[check.id] = [Draw(seed, str(next(answers))) for seed in each[check.id]]
                first = next(own[check.id] for own in expected if own.get(check.id))
                defects += _defects(attempt, check, first[:1])
            except (NoAnswerError, OwnCodeError) as error:
                details = getattr(error, "details", "")
                defects.append(f"check {check.id} fails with the reference: {error} {details}")
        attempt.finish()
        failed = [each for each in attempt.outcomes() if each.state in ("failed", "not allowed")]
    defects[:0] = [f"solution {each.solution} of the reference: {each.details}" for each in failed]
    defects[:0] = attempt.failures()
    if defects:
        raise AssignmentError(defects)
    return list(expected)


def ask_all(
    attempt: Attempt, check: Cell, seeds: Sequence[int], go_on: bool = False
) -> Iterator[object]:
    """Yield what a check answers under any number of seeds, asked in portions that can be sent.

    `go_on` and what is raised are as in `Attempt.ask`.
    """
    place, portion = 0, 1
    while place < len(seeds):
        answers = attempt.ask(check, seeds[place : place + portion], go_on)
        yield from answers
        place += portion
        portion = max(1, PORTION // max(len(str(answer)) for answer in answers))


def in_order(assignment: Assignment) -> Iterator[Cell]:
    """Yield the checks as they are asked: those that students see, then the hidden ones."""
    checks = assignment.checks.values()
    yield from (check for check in checks if not check.hidden)
    yield from (check for check in checks if check.hidden)


def grade_submission(
    assignment: Assignment, conditions: Conditions, submission: Submission, expected: Expected
) -> Result:
    """Return the result of one submission; trouble on the grader's side is told in it.

    It has the marks of the checks for which there are `expected` answers, and of written questions.
    """
    start = time.monotonic()
    marks, trouble = {}, ""
    attempt = Attempt(assignment, submission.solutions, conditions.start, conditions.seconds)
    with attempt:
        try:
            for check in (each for each in in_order(assignment) if each.id in expected):
                marks[check.id] = mark(attempt, check, expected[check.id], submission.fault)
            if not submission.fault:
                attempt.finish()
        except Exception as error:
            trouble = plain(f"{type(error).__name__}: {error}")
    written = _written(assignment, submission)
    return Result(
        submission=submission.name,
        digest=submission.digest,
        marks=(*(marks[name] for name in assignment.checks if name in marks), *written),
        outcomes=attempt.outcomes(),
        notes=(*submission.notes, *attempt.failures()),
        fault=submission.fault,
        trouble=trouble,
        isolation=conditions.level,
        gaps=conditions.gaps,
        warm=attempt.warm,
        seconds=round(time.monotonic() - start, 3),
        sources={**submission.solutions, **submission.texts},
        sender=submission.sender,
        ran_out_of=conditions.seconds if attempt.ran_out else 0.0,
    )


def _written(assignment: Assignment, submission: Submission) -> Iterator[Mark]:
    """Yield what is known of the questions that people mark, before they do."""
    answers = {**submission.solutions, **submission.texts}
    for name, cells in assignment.written.items():
        stubs = [stub.split() for cell in cells for stub in cell.stubs]
        words = answers.get(name, "").split()
        state = "missing" if name not in answers else TO_BE_MARKED
        state = "untouched" if state == TO_BE_MARKED and words in [[], *stubs] else state
        reason = submission.fault or state
        version = assignment.versions[name]
        yield Mark(name, cells[0].points, False, False, reason, version=version, written=True)


def mark(attempt: Attempt, check: Cell, draws: Sequence[Draw], fault: str = "") -> Mark:
    """Return the mark of one check, passed if the answers to all draws are the reference's.

    A submission with a `fault` fails it for that reason. Raises `RuntimeError` for trouble that is
    not the submission's.
    """
    if fault:
        version = attempt.assignment.versions[check.id]
        return Mark(check.id, check.points, False, check.hidden, fault, version=version)
    start = time.monotonic()
    private = attempt.has_seen_hidden
    reason, details = judge(attempt, check, draws) or ("", "")
    return Mark(
        check=check.id,
        points=check.points,
        passed=not reason,
        hidden=check.hidden,
        reason=reason,
        details=details,
        private=private,
        seconds=round(time.monotonic() - start, 3),
        seeds=tuple(draw.seed for draw in draws),
        version=attempt.assignment.versions[check.id],
    )


def judge(attempt: Attempt, check: Cell, draws: Sequence[Draw]) -> Difference | None:
    """Return why a check is not passed, in our words and in what the code said; None if it is."""
    try:
        answers = attempt.ask(check, [draw.seed for draw in draws])
    except NoAnswerError as error:
        return str(error), error.details
    pairs = zip(answers, draws, strict=True)
    found = (compare(answer, draw.answer, check.tolerances) for answer, draw in pairs)
    return next(filter(None, found), None)


def _defects(attempt: Attempt, check: Cell, first: Sequence[Draw]) -> Iterator[str]:
    found = judge(attempt, check, first)
    if found:
        yield (
            f"check {check.id} answers differently when it is asked again ({': '.join(found)}); "
            "let it draw all that it uses, and change nothing that stays"
        )


def _seed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
