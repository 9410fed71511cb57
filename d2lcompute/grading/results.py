"""What grading finds out, as plain data that goes to disk and into every report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .assignment import Assignment


@dataclass(frozen=True)
class Mark:
    """What one check gave.

    `reason` says why it was not passed, in the grader's words. `details` come from the student's
    code: an exception and its message, or what it answered instead. Students may read the reason of
    a check that is not hidden, and the details if they are not `private`: spoken by code that could
    have seen a hidden check. `seeds` are those of its draws.
    """

    check: str
    points: float
    passed: bool
    hidden: bool
    reason: str = ""
    details: str = ""
    private: bool = False
    seconds: float = 0.0
    seeds: tuple[int, ...] = ()

    @property
    def earned(self) -> float:
        """The points that were earned."""
        return self.points if self.passed else 0.0

    @property
    def feedback(self) -> str:
        """What the student may read."""
        if self.passed:
            return "passed"
        if self.hidden:
            return "not passed"
        return self.reason if self.private or not self.details else f"{self.reason}: {self.details}"


@dataclass(frozen=True)
class Outcome:
    """What became of one solution cell: `state` is done, untouched, missing or failed.

    `details` and `private` are as in `Mark`.
    """

    solution: str
    state: str
    details: str = ""
    private: bool = False

    @property
    def feedback(self) -> str:
        """What the student may read."""
        return self.state if self.private or not self.details else f"{self.state}: {self.details}"


@dataclass(frozen=True)
class Result:
    """What one submission gave.

    `notes` say what in the submitted file was not as it should be, for the student and for us.
    `digest` is that of the submission, and `fault` why it could not be read, if so. `isolation` is
    the level reached, `gaps` what it does not hold back, `warm` whether its kernels were forked.
    `trouble` is empty, or says what went wrong on the grader's side: then the marks mean nothing,
    and it is to be graded again.
    """

    submission: str
    digest: str
    marks: tuple[Mark, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    notes: tuple[str, ...] = ()
    fault: str = ""
    trouble: str = ""
    isolation: str = ""
    gaps: tuple[str, ...] = ()
    warm: bool = False
    seconds: float = 0.0

    @property
    def earned(self) -> float:
        """The points that were earned."""
        return sum(mark.earned for mark in self.marks)

    @property
    def state(self) -> str:
        """Whether the marks can be relied upon."""
        return "not graded" if self.trouble else "unreadable" if self.fault else "graded"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Return the result that `dataclasses.asdict` and JSON made into `data`."""
        data = _renamed(data)
        marks = tuple(Mark(**_renamed(mark)) for mark in data["marks"])
        outcomes = tuple(Outcome(**_renamed(outcome)) for outcome in data["outcomes"])
        return cls(**{**data, "marks": marks, "outcomes": outcomes})


def _renamed(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` under today's names, with tuples in place of JSON's lists."""
    return {
        FORMER_NAMES.get(key, key): tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
    }


NAME = "results.jsonl"
FORMER_NAMES = {"works": "outcomes", "words": "details"}  # in results of the first edition


@dataclass(frozen=True)
class Heading:
    """The first line: the assignment's title and digest, and what each check is worth."""

    title: str
    assignment: str
    checks: dict[str, float]

    @property
    def points(self) -> float:
        """What a perfect submission earns."""
        return sum(self.checks.values())


class Journal:
    """The results in `folder`; of one submission the last counts.

    >>> import tempfile
    >>> from d2lcompute.grading.results import Journal
    >>> Journal.open(tempfile.mkdtemp())
    Traceback (most recent call last):
    ValueError: `results` must be a folder with a results.jsonl, got ...; do grade first

    Each line is appended in one write and reaches the disk before the next submission is counted.
    A line that was cut off is dropped, and its submission graded again.
    """

    def __init__(self, path: Path, heading: Heading, results: dict[str, Result]) -> None:
        self.path = path
        self.heading = heading
        self._results = results

    @classmethod
    def start(cls, folder: str | Path, assignment: Assignment) -> Journal:
        """Return the journal of a new run in `folder`, or of the run that stopped there.

        Raises `ValueError` where the folder has results for another assignment.
        """
        path = Path(folder, NAME)
        path.parent.mkdir(parents=True, exist_ok=True)
        checks = {name: check.points for name, check in assignment.checks.items()}
        heading = Heading(assignment.title, assignment.digest, checks)
        if not _whole_lines(path):
            path.write_bytes(_line(asdict(heading)))
        journal = cls.open(folder)
        if journal.heading != heading:
            raise ValueError(
                f"`results` must be a folder for this assignment, got {path.parent}, which has "
                "results for another version of it; do --to ANOTHER-FOLDER"
            )
        return journal

    @classmethod
    def open(cls, folder: str | Path) -> Journal:
        """Return the journal of the run in `folder`; raises `ValueError` where there is none."""
        path = Path(folder, NAME)
        lines = _whole_lines(path)
        if not lines:
            raise ValueError(
                f"`results` must be a folder with a {NAME}, got {folder}; do grade first"
            )
        heading, *results = map(json.loads, lines)
        found = map(Result.from_dict, results)
        return cls(path, Heading(**heading), {result.submission: result for result in found})

    @property
    def results(self) -> list[Result]:
        """The last result of each submission, sorted by name."""
        return [self._results[name] for name in sorted(self._results)]

    def has(self, submission: str, digest: str) -> bool:
        """Say whether a submission, as it is now, was graded."""
        result = self._results.get(submission)
        return result is not None and result.digest == digest and not result.trouble

    def add(self, result: Result) -> None:
        """Write a result."""
        self._results[result.submission] = result
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, _line(asdict(result)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _whole_lines(path: Path) -> list[bytes]:
    """Return the lines of a file, without a last one that was cut off, which goes."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    return whole.splitlines()


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode("ascii") + b"\n"
