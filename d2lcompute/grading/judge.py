"""Marks, judged where the student's code is not: a pytest item for each check, on nbval's classes.

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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from ..notebooks.cell import plain
from .assignment import Assignment, Cell
from .attempt import NoAnswerError, OwnCodeError, Sitting
from .comparison import difference
from .conditions import Conditions
from .reference import AssignmentError
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
    with Sitting(assignment, sources, conditions.start, conditions.seconds) as sitting:
        for name, check in assignment.checks.items():
            seed = _seed(secret, name)
            try:
                expected[name] = Expectation(seed, sitting.ask(check, seed))
            except (NoAnswerError, OwnCodeError) as error:
                words = getattr(error, "words", "")
                defects.append(f"check {name} fails with the reference: {error} {words}")
        failed = [work for work in sitting.works() if work.state == "failed"]
    defects[:0] = [f"solution {work.solution} of the reference: {work.words}" for work in failed]
    if defects:
        raise AssignmentError(defects)
    return expected


def mark(sitting: Sitting, check: Cell, expectation: Expectation) -> Mark:
    """Return the mark of one check."""
    start = time.monotonic()
    private = sitting.has_seen_hidden
    try:
        got = sitting.ask(check, expectation.seed)
    except NoAnswerError as error:
        reason, words = str(error), error.words
    else:
        reason, words = difference(got, expectation.value, check.tolerances) or ("", "")
    seconds = round(time.monotonic() - start, 3)
    passed = not reason
    return Mark(check.id, check.points, passed, check.hidden, reason, words, private, seconds)


class Judge:
    """A pytest plugin that grades every notebook it is given; `results` is what it found.

    `read` gives the submission in a notebook file.
    """

    def __init__(
        self,
        assignment: Assignment,
        expected: Mapping[str, Expectation],
        conditions: Conditions,
        read: Callable[[Path], Submission],
    ) -> None:
        self.assignment = assignment
        self.expected = expected
        self.conditions = conditions
        self.read = read
        self.isolation = "; ".join([conditions.level, *conditions.gaps])
        self.results: list[Result] = []

    def pytest_report_header(self) -> str:
        """Say how well the student's code is held back."""
        return f"isolation: {self.isolation}"

    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> SubmissionFile | None:
        """Collect a notebook as a submission."""
        if file_path.suffix != ".ipynb":
            return None
        file: SubmissionFile = SubmissionFile.from_parent(parent, path=file_path)
        file.judge = self
        return file


class SubmissionFile(IPyNbFile):
    """A submission, and the run in which its checks are marked."""

    judge: Judge

    def collect(self) -> Iterator[CheckItem]:
        """Give an item for each check."""
        self.submission = self.judge.read(self.path)
        self.marks: list[Mark] = []
        self.trouble = ""
        for number, check in enumerate(self.judge.assignment.checks.values()):
            yield CheckItem.from_parent(
                self, name=check.id, cell_num=number, cell=check, options={}
            )

    def setup(self) -> None:
        """Begin; kernels start when they are needed."""
        conditions = self.judge.conditions
        self.started = time.monotonic()
        self.sitting = Sitting(
            self.judge.assignment, self.submission.solutions, conditions.start, conditions.seconds
        )

    def mark(self, check: Cell) -> Mark:
        """Return the mark of one check, and keep it."""
        fault = self.submission.fault
        if fault:
            found = Mark(check.id, check.points, False, check.hidden, fault)
        else:
            found = mark(self.sitting, check, self.judge.expected[check.id])
        self.marks.append(found)
        return found

    def teardown(self) -> None:
        """End what runs, and hand in the result."""
        self.sitting.close()
        result = Result(
            submission=self.submission.name,
            digest=self.submission.digest,
            marks=tuple(self.marks),
            works=self.sitting.works(),
            fault=self.submission.fault,
            trouble=self.trouble,
            isolation=self.judge.conditions.level,
            gaps=self.judge.conditions.gaps,
            warm=self.sitting.warm,
            seconds=round(time.monotonic() - self.started, 3),
        )
        self.judge.results.append(result)


class CheckItem(IPyNbCell):
    """A check of a submission: passes where the answer is the reference's."""

    parent: SubmissionFile

    def setup(self) -> None:
        """Do nothing: that a cell took too long says nothing about the next check."""

    def runtest(self) -> None:
        """Mark the check."""
        try:
            found = self.parent.mark(self.cell)
        except Exception as error:
            self.parent.trouble = plain(f"{type(error).__name__}: {error}")
            raise
        self.user_properties += [("points", found.points), ("earned", found.earned)]
        if not found.passed:
            raise NbCellError(self.cell_num, found.feedback, "")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """Return what went wrong; of a check, what the student may read."""
        return str(excinfo.value) or excinfo.typename

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the item's place and name."""
        return self.path, None, f"{self.parent.submission.name}::{self.name}"


def _seed(secret: str, check: str) -> int:
    digest = hashlib.sha256(f"{secret}:{check}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
