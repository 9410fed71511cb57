"""What grading finds out, as plain data that goes to disk and into every report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .assignment import Assignment
from .platforms import NOBODY, Sender

SYNTAX_ERRORS = ("SyntaxError", "IndentationError", "TabError")
TO_BE_MARKED = "to be marked"


@dataclass(frozen=True)
class Mark:
    """What one check gave, or what people gave for one written question.

    `reason` says why it was not passed, in the grader's words. `details` come from the student's
    code: an exception and its message, or what it answered instead. Students may read the reason of
    a check that is not hidden, and the details if they are not `private`: spoken by code that could
    have seen a hidden check. `seeds` are those of its draws, `version` is that of the check.

    `given` are points that a person gave in place of the automatic ones, with a `comment` for the
    student; `by` says who, `at` when. Of a `written` question there are no others.
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
    version: str = ""
    written: bool = False
    given: float | None = None
    comment: str = ""
    by: str = ""
    at: str = ""

    @property
    def automatic(self) -> float:
        """The points that the check gave."""
        return self.points if self.passed else 0.0

    @property
    def earned(self) -> float:
        """The points that were earned."""
        return self.automatic if self.given is None else self.given

    @property
    def full(self) -> bool:
        """Whether it has all points."""
        return self.earned >= self.points

    @property
    def by_hand(self) -> bool:
        """Whether a person gave points or a comment."""
        return self.given is not None or bool(self.comment)

    @property
    def waits(self) -> bool:
        """Whether the answer to a written question is still to be marked."""
        return self.written and self.given is None and self.reason == TO_BE_MARKED

    @property
    def feedback(self) -> str:
        """What the student may read."""
        if self.written and self.given is not None:
            return self.comment or "marked"
        by_hand = "" if self.given is None else f"{self.given:g} of {self.points:g} points by hand"
        return "\n".join(filter(None, [self.said, by_hand, self.comment]))

    @property
    def said(self) -> str:
        """What the check itself says to the student."""
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
    the level reached and how memory was limited, `gaps` what it does not hold back, `warm` whether
    its kernels were forked. `trouble` is empty, or says what went wrong on the grader's side: then
    the marks mean nothing, and it is to be graded again. `sources` are the answers, code and text;
    `ran_out_of` is the limit in seconds that a cell or the notebook ran out of, 0 if none did.
    `extra` points and a `comment` for the whole come from a person. `sender` handed it in, at the
    time `submitted`; `attempt` says which of theirs it is where there are several, and whether it
    `counts`; `taken` are the points that it loses for the `seconds_late` that it came after `due`.
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
    sources: Mapping[str, str] = field(default_factory=dict)
    ran_out_of: float = 0.0
    extra: float = 0.0
    comment: str = ""
    sender: Sender = NOBODY
    submitted: str = ""
    attempt: str = ""
    counts: bool = True
    due: str = ""
    seconds_late: float = 0.0
    taken: float = 0.0

    @property
    def earned(self) -> float:
        """The points that were earned."""
        return max(0.0, self.before - self.taken)

    @property
    def before(self) -> float:
        """The points before what lateness takes."""
        return max(0.0, sum(mark.earned for mark in self.marks) + self.extra)

    @property
    def has_syntax_error(self) -> bool:
        """Whether an answer could not run at all."""
        kinds = tuple(f"{kind}: " for kind in SYNTAX_ERRORS)
        return any(outcome.details.startswith(kinds) for outcome in self.outcomes)

    @property
    def lateness(self) -> str:
        """How late it came, and what that takes, in words; empty where it came in time."""
        if not self.seconds_late:
            return ""
        minutes = math.ceil(self.seconds_late / 60)
        days, hours = minutes // 1440, minutes // 60 % 24
        parts = [(days, "d"), (hours, "h"), (minutes % 60, "min")]
        late = " ".join(f"{number} {unit}" for number, unit in parts if number)
        return f"{late} late: {self.taken:g} of {self.before:g} points are taken"

    @property
    def state(self) -> str:
        """Whether the marks can be relied upon, count, and are all there."""
        if self.trouble or self.fault:
            return "not graded" if self.trouble else "unreadable"
        if self.attempt and not self.counts:
            return f"attempt {self.attempt}, another one counts"
        waiting = sum(mark.waits for mark in self.marks)
        return f"{waiting} to be marked" if waiting else "graded"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Result:
        """Return the result that `dataclasses.asdict` and JSON made into `data`."""
        data = _renamed(data)
        marks = tuple(Mark(**_renamed(mark)) for mark in data["marks"])
        outcomes = tuple(Outcome(**_renamed(outcome)) for outcome in data["outcomes"])
        sender = Sender(**data["sender"]) if "sender" in data else NOBODY
        return cls(**{**data, "marks": marks, "outcomes": outcomes, "sender": sender})


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
    """What a run is about: the assignment's title and digest, and what each question is worth.

    `due` is when it is, `late` the rule for what comes later. `written` are the rubrics of the
    written questions; `versions` are those of all questions; `ours` is the course's own code;
    `forgeable` are checks that run beside the student's code. A changed assignment begins with a
    new heading, and the last one counts.
    """

    title: str
    assignment: str
    checks: dict[str, float]
    written: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    due: str = ""
    late: str = ""
    ours: dict[str, list[str]] = field(default_factory=dict)
    forgeable: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, assignment: Assignment) -> Heading:
        """Return the heading of a run for an assignment."""
        rubrics = {name: cells[0].rubric for name, cells in assignment.written.items()}
        return cls(
            title=assignment.title,
            assignment=assignment.digest,
            checks=assignment.questions,
            written=rubrics,
            versions=assignment.versions,
            due=assignment.due,
            late=assignment.late,
            ours=assignment.given,
            forgeable=[name for name, check in assignment.checks.items() if check.forgeable],
        )

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
    A line that was cut off is dropped, and its submission graded again. A changed check is asked
    again, and nothing else; what it is worth may change without.
    """

    def __init__(self, path: Path, heading: Heading, results: dict[str, Result]) -> None:
        self.path = path
        self.heading = heading
        self._results = results

    @classmethod
    def start(cls, folder: str | Path, assignment: Assignment) -> Journal:
        """Return the journal of a new run in `folder`, or of the run that stopped there.

        Raises `ValueError` where the folder has results for an assignment without any check of
        this one.
        """
        path = Path(folder, NAME)
        path.parent.mkdir(parents=True, exist_ok=True)
        heading = Heading.of(assignment)
        if not whole_lines(path):
            path.write_bytes(_line(asdict(heading)))
        journal = cls.open(folder)
        if not journal.heading.checks.keys() & heading.checks.keys():
            raise ValueError(
                f"`results` must be a folder for this assignment, got {path.parent}, which has "
                "results for another one; do --to ANOTHER-FOLDER"
            )
        if journal.heading != heading:
            journal.heading = heading
            journal._append(asdict(heading))
        return journal

    @classmethod
    def open(cls, folder: str | Path) -> Journal:
        """Return the journal of the run in `folder`; raises `ValueError` where there is none."""
        path = Path(folder, NAME)
        lines = whole_lines(path)
        if not lines:
            raise ValueError(
                f"`results` must be a folder with a {NAME}, got {folder}; do grade first"
            )
        found = [json.loads(line) for line in lines]
        heading = [Heading(**each) for each in found if "assignment" in each][-1]
        results = [Result.from_dict(each) for each in found if "assignment" not in each]
        return cls(path, heading, {result.submission: result for result in results})

    @property
    def results(self) -> list[Result]:
        """The last result of each submission, sorted by name, its points as they are now."""
        return [self._weighed(self._results[name]) for name in sorted(self._results)]

    def _weighed(self, result: Result) -> Result:
        worth = self.heading.checks
        known = {mark.check: mark for mark in result.marks}
        marks = [replace(known[name], points=worth[name]) for name in worth if name in known]
        return replace(result, marks=tuple(marks))

    def left(self, submission: str, digest: str, seconds: float = 0.0) -> list[str]:
        """Return the questions that are to be marked for a submission as it is now.

        All, where `seconds` are more than a limit that it ran out of.
        """
        result = self._results.get(submission)
        versions = self.heading.versions
        if result is None or result.digest != digest or result.trouble:
            return list(versions)
        if 0 < result.ran_out_of < seconds:
            return list(versions)
        known = {mark.check: mark.version for mark in result.marks}
        return [name for name, version in versions.items() if known.get(name) != version]

    def add(self, result: Result) -> None:
        """Write a result; a mark that it lacks stays as it was, if it is of this submission.

        So does the limit that this mark may have run out of.
        """
        former = self._results.get(result.submission)
        if former is not None and former.digest == result.digest:
            marks = {mark.check: mark for mark in (*former.marks, *result.marks)}
            stay = len(marks) > len(result.marks)
            limits = [each.ran_out_of for each in [result, *[former] * stay] if each.ran_out_of]
            ran_out_of = min(limits, default=0.0)
            result = replace(result, marks=tuple(marks.values()), ran_out_of=ran_out_of)
        self._results[result.submission] = result
        self._append(asdict(result))

    def _append(self, data: dict[str, Any]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(descriptor, _line(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def whole_lines(path: Path) -> list[bytes]:
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
