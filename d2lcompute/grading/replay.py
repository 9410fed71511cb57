"""The same mark again, from the seeds that the results keep: for whoever doubts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .assignment import Assignment, load
from .attempt import Conditions
from .judge import expect, grade_submission
from .results import Journal, Mark, Result
from .sheets import write
from .submissions import Submission

KEPT = "reference"


@dataclass(frozen=True)
class Again:
    """The mark of one check as it was, and as it is again under the same seeds."""

    before: Mark
    now: Mark

    @property
    def agrees(self) -> bool:
        """Whether it is the same mark for the same reason."""
        return (self.before.passed, self.before.reason) == (self.now.passed, self.now.reason)

    def __str__(self) -> str:
        mark, seeds = self.before, ", ".join(map(str, self.before.seeds))
        told = f"{mark.check}: {mark.automatic:g} of {mark.points:g}, {mark.reason or 'passed'}"
        if self.agrees:
            return f"{told}; the same again (seeds {seeds})"
        return f"{told}; now {self.now.automatic:g}, {self.now.reason or 'passed'} (seeds {seeds})"


def keep_reference(reference: Path, assignment: Assignment, folder: Path) -> Path:
    """Keep a copy of the reference and what lies beside it with the results; return its path."""
    for name, content in assignment.beside_reference.items():
        path = folder / KEPT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    text = reference.read_text(encoding="utf-8")
    return write(folder / KEPT / f"{KEPT}{reference.suffix}", text)


def find_reference(folder: Path, journal: Journal) -> Assignment:
    """Return the assignment that the results in `folder` are for.

    Raises `ValueError` where no reference is kept there, or another one.
    """
    for path in sorted(Path(folder, KEPT).glob(f"{KEPT}.*")):
        assignment = load(path)
        if assignment.digest == journal.heading.assignment:
            return assignment
    raise ValueError(
        f"`results` must hold the reference that they were made with, got {folder}, which has "
        "none; do grade again, which keeps it"
    )


def replay(assignment: Assignment, conditions: Conditions, result: Result) -> Iterator[Again]:
    """Yield each check's mark and the same mark made again, from the answers that were kept.

    Raises `ValueError` where the submission could not be read or graded, `RuntimeError` for trouble
    that is not its fault.
    """
    if result.fault or result.trouble:
        raise ValueError(
            f"`student` must have been graded, got {result.submission}: "
            f"{result.fault or result.trouble}"
        )
    answers = {
        name: result.sources[name] for name in result.sources if name in assignment.solutions
    }
    before = {mark.check: mark for mark in result.marks if mark.seeds}
    seeds = {check: before[check].seeds for check in assignment.checks if check in before}
    (expected,) = expect(assignment, conditions, [seeds])
    submission = Submission(result.submission, answers)
    again = grade_submission(assignment, conditions, submission, expected)
    if again.trouble:
        raise RuntimeError(again.trouble)
    yield from (Again(before[mark.check], mark) for mark in again.marks if mark.check in before)
