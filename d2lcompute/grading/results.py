"""What grading finds out, as plain data that goes to disk and into every report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mark:
    """What one check gave.

    `reason` says why it was not passed, in the grader's words. `words` come from the student's
    code: an exception and its message, or what it answered instead. Students may read the reason of
    a check that is not hidden, and the words if they are not `private`: spoken by code that could
    have seen a hidden check.
    """

    check: str
    points: float
    passed: bool
    hidden: bool
    reason: str = ""
    words: str = ""
    private: bool = False
    seconds: float = 0.0

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
        return self.reason if self.private or not self.words else f"{self.reason}: {self.words}"


@dataclass(frozen=True)
class Work:
    """What became of one solution cell: `state` is done, untouched, missing or failed.

    `words` and `private` are as in `Mark`.
    """

    solution: str
    state: str
    words: str = ""
    private: bool = False

    @property
    def feedback(self) -> str:
        """What the student may read."""
        return self.state if self.private or not self.words else f"{self.state}: {self.words}"


@dataclass(frozen=True)
class Result:
    """What one submission gave.

    `digest` is that of the submission, and `fault` why it could not be read, if so. `isolation` is
    the level reached, `gaps` what it does not hold back, `warm` whether its kernels were forked.
    `trouble` is empty, or says what went wrong on the grader's side: then the marks mean nothing,
    and it is to be graded again.
    """

    submission: str
    digest: str
    marks: tuple[Mark, ...] = ()
    works: tuple[Work, ...] = ()
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
        marks = tuple(Mark(**mark) for mark in data["marks"])
        works = tuple(Work(**work) for work in data["works"])
        gaps = tuple(data["gaps"])
        return cls(**{**data, "marks": marks, "works": works, "gaps": gaps})
