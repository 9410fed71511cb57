"""Statistics by question: how many pass, whom it tells apart, what goes wrong and how often."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .results import Heading, Mark, Result
from .sheets import to_text

COLUMNS = (
    "question", "points", "answers", "full marks", "mean", "discrimination", "seconds", "remark",
    "wrong answers",
)  # fmt: skip
MOST_CLUSTERS = 5
FEWEST = 5  # answers from which a remark is made


@dataclass(frozen=True)
class Cluster:
    """Wrong answers that were told the same, but for numbers: an example, and whose they are."""

    said: str
    submissions: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What a class made of a question.

    `discrimination` is the point-biserial correlation of its points with the points of the other
    questions: near 0 it tells nobody apart, below 0 those who know more get it wrong more often.
    None where all answers or all rests are worth the same.
    """

    name: str
    points: float
    hidden: bool
    written: bool
    answers: int
    full: int
    mean: float
    discrimination: float | None
    seconds: float
    wrong: tuple[Cluster, ...]

    @property
    def rate(self) -> float:
        """The part of the points that was earned."""
        return self.mean / self.points if self.points else 1.0

    @property
    def correlation(self) -> float | None:
        """The discrimination as it is shown: to two places, and never -0."""
        return None if self.discrimination is None else round(self.discrimination, 2) + 0.0

    @property
    def remark(self) -> str:
        """What its author should look at; empty if there is nothing."""
        if self.answers < FEWEST:
            return ""
        if self.full == self.answers:
            return "all pass: it tells nobody apart"
        if not self.mean:
            return "nobody passes: is the question clear, is the check right?"
        # A question without any relation to the others is rarely this far below 0.
        if self.discrimination is not None and self.discrimination < -2 / self.answers**0.5:
            return "who does well elsewhere fails here: is the check right?"
        return ""


def questions(heading: Heading, results: Iterable[Result]) -> list[Question]:
    """Return the statistics of each question, over the attempts that count and are graded."""
    found: defaultdict[str, list[tuple[Result, Mark]]] = defaultdict(list)
    for result in results:
        if result.counts and not result.trouble:
            for mark in result.marks:
                if not mark.waits:
                    found[mark.check].append((result, mark))
    return [_question(name, found[name]) for name in heading.checks if found[name]]


def _question(name: str, answers: Sequence[tuple[Result, Mark]]) -> Question:
    marks = [mark for _, mark in answers]
    earned = [mark.earned for mark in marks]
    rests = [sum(mark.earned for mark in one.marks) - mine.earned for one, mine in answers]
    return Question(
        name=name,
        points=marks[0].points,
        hidden=marks[0].hidden,
        written=marks[0].written,
        answers=len(marks),
        full=sum(mark.full for mark in marks),
        mean=statistics.mean(earned),
        discrimination=_correlation(earned, rests),
        seconds=statistics.mean(mark.seconds for mark in marks),
        wrong=tuple(_clusters(answers)),
    )


def _correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return statistics.correlation(first, second)


def _clusters(answers: Iterable[tuple[Result, Mark]]) -> list[Cluster]:
    """Return the most frequent wrong answers by what was said of them, whatever the numbers."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for result, mark in answers:
        if not mark.passed and not mark.written:
            said = ": ".join(filter(None, [mark.reason, mark.details]))
            key = re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", said)
            found[key].append((said, result.submission))
    by_size = sorted(found.values(), key=len, reverse=True)[:MOST_CLUSTERS]
    return [Cluster(those[0][0], tuple(name for _, name in those)) for those in by_size]


def to_csv(found: Iterable[Question]) -> str:
    """Return the statistics as a table."""
    return to_text(COLUMNS, (_row(question) for question in found))


def _row(question: Question) -> dict[str, object]:
    values = (
        question.name,
        question.points,
        question.answers,
        question.full,
        round(question.mean, 3),
        question.correlation,
        round(question.seconds, 2),
        question.remark,
        "\n".join(f"{len(one.submissions)}: {one.said}" for one in question.wrong),
    )
    return dict(zip(COLUMNS, values, strict=True))
