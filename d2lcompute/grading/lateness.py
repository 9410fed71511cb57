"""When an attempt came, which one of a student's counts, and what lateness takes."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .formats import read_table
from .platforms import read_time

if TYPE_CHECKING:
    from .results import Heading, Result

EXTENSIONS = "extensions.csv"
UNITS = {"minute": 60.0, "hour": 3600.0, "day": 86400.0, "week": 604800.0}
NUMBER, UNIT = r"(?P<number>\d+(?:\.\d+)?)", rf"(?P<unit>{'|'.join(UNITS)})s?"
CLAUSES = {
    "step": re.compile(rf"{NUMBER} ?(?P<kind>%|points?) (?:an?|per) {UNIT}"),
    "most": re.compile(rf"at most {NUMBER} ?(?P<kind>%|points?)"),
    "end": re.compile(rf"nothing after {NUMBER} {UNIT}"),
    "free": re.compile(rf"{NUMBER} {UNIT} free"),
    "lenient": re.compile("a syntax error is no attempt"),
}


@dataclass(frozen=True)
class Rule:
    """What lateness takes: points, or percents of what was earned, for each time that has begun.

    Not more than `most`, everything after `end` seconds, nothing up to `free` seconds. With
    `lenient` an attempt with a syntax error counts only where there is no other.
    """

    step: tuple[float, str] = (0.0, "%")
    unit: float = math.inf
    most: tuple[float, str] = (100.0, "%")
    end: float = math.inf
    free: float = 0.0
    lenient: bool = False

    def take(self, earned: float, seconds: float) -> float:
        """Return the points that are lost of those that were earned."""
        if seconds <= self.free:
            return 0.0
        if seconds > self.end:
            return earned
        amount, kind = self.step
        lost = _points((amount * math.ceil(seconds / self.unit), kind), earned)
        return min(lost, _points(self.most, earned), earned)


def read_rule(text: str) -> Rule:
    """Return the rule that a line says.

    >>> from d2lcompute.grading.lateness import read_rule
    >>> rule = read_rule("10 % a day, at most 50 %, nothing after 7 days, 15 minutes free")
    >>> [rule.take(20.0, hours * 3600) for hours in (0.25, 1, 25, 24 * 6, 24 * 8)]
    [0.0, 2.0, 4.0, 10.0, 20.0]

    Raises `ValueError` for a line that is none.
    """
    rule, seen = Rule(), set()
    for clause in filter(None, (part.strip() for part in text.split(","))):
        name, match = next(
            ((name, match) for name in CLAUSES if (match := CLAUSES[name].fullmatch(clause))),
            ("", None),
        )
        if match is None or name in seen:
            raise ValueError(
                f"`late` must be a rule, got {text!r}; do '10 % a day' or '2 points an hour', "
                "and after commas 'at most 50 %', 'nothing after 3 days', '15 minutes free', "
                "'a syntax error is no attempt'"
            )
        seen.add(name)
        if name == "lenient":
            rule = replace(rule, lenient=True)
            continue
        number, unit = float(match["number"]), UNITS.get(match.groupdict().get("unit", ""), 0.0)
        if name == "step":
            rule = replace(rule, step=(number, match["kind"]), unit=unit)
        elif name == "most":
            rule = replace(rule, most=(number, match["kind"]))
        elif name == "end":
            rule = replace(rule, end=number * unit)
        else:
            rule = replace(rule, free=number * unit)
    return rule


def _points(amount: tuple[float, str], earned: float) -> float:
    number, kind = amount
    return number * earned / 100 if kind == "%" else number


@dataclass(frozen=True)
class Agreed:
    """What a table says about a student: another due time, the time at which they handed in."""

    due: str = ""
    submitted: str = ""


def read_extensions(folder: Path) -> dict[str, Agreed]:
    """Return what `extensions.csv` in a folder says, by student: `student,due[,submitted]`.

    Raises `ValueError` with a line for each time that can not be read.
    """
    path = folder / EXTENSIONS
    if not path.is_file():
        return {}
    found, wrong = {}, []
    for row in read_table(path, ("student", "due")):
        texts = [row["due"], row.get("submitted", "")]
        times = [read_time(text) for text in texts]
        for text, time in zip(texts, times, strict=True):
            if text and not time:
                wrong.append(
                    f"{EXTENSIONS}, line {row['line']}: a time must be as 2026-11-20 23:59, "
                    f"got {text!r}"
                )
        found[row["student"]] = Agreed(*times)
    if wrong:
        raise ValueError("\n".join(wrong))
    return found


def apply(
    heading: Heading,
    results: Iterable[Result],
    agreed: Mapping[str, Agreed],
    times: Mapping[str, str],
) -> tuple[list[Result], list[str]]:
    """Return the results with what lateness takes and which attempts count, and what to look at.

    `times` are when students handed in, by the platform's number.
    """
    rule, unused = read_rule(heading.late), set(agreed)
    timed, notes = [], []
    for result in results:
        names = [result.submission, result.sender.name, result.sender.number]
        own = [agreed[name] for name in names if name and name in agreed]
        unused -= {*names}
        due = next((each.due for each in own if each.due), heading.due)
        told = next((each.submitted for each in own if each.submitted), result.sender.submitted)
        told = told or times.get(result.sender.number, "")
        timed.append(_timed(rule, result, told, due))
        if result.sender.late and not timed[-1].submitted and heading.due:
            notes.append(
                f"{result.submission} is late, and nobody says how much: nothing was taken; "
                f"write when it was submitted into {EXTENSIONS}"
            )
    notes += [f"{EXTENSIONS}: there is no student {name!r}" for name in sorted(unused)]
    counted = [*_counted(timed, rule.lenient)]
    return counted, [*notes, *_several(counted)]


def _timed(rule: Rule, result: Result, submitted: str, due: str) -> Result:
    seconds = _seconds_between(due, submitted) if due and submitted else 0.0
    late = max(0.0, seconds)
    taken = round(rule.take(result.before, late), 6)
    return replace(result, submitted=submitted, due=due, seconds_late=late, taken=taken)


def _seconds_between(due: str, submitted: str) -> float:
    """A time without a zone is in the zone of the other one."""
    first, second = datetime.fromisoformat(due), datetime.fromisoformat(submitted)
    if first.tzinfo is None:
        first = first.replace(tzinfo=second.tzinfo)
    if second.tzinfo is None:
        second = second.replace(tzinfo=first.tzinfo)
    return (second - first).total_seconds()


def _counted(results: Sequence[Result], lenient: bool) -> Iterator[Result]:
    """Say of each of several attempts of a student which one it is and whether it counts.

    Where nobody says which came last, several do.
    """
    attempts: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        attempts[result.sender.key or result.submission].append(result)
    for result in results:
        own = attempts[result.sender.key or result.submission]
        if len(own) == 1 or not all(each.submitted for each in own):
            yield result
            continue
        own = sorted(own, key=lambda each: _seconds_between(own[0].submitted, each.submitted))
        taken = [each for each in own if not (lenient and each.has_syntax_error)] or own
        in_time = [each for each in taken if not each.seconds_late]
        *_, last = in_time or taken
        counts = any(result is each for each in in_time or taken) and not _seconds_between(
            last.submitted, result.submitted
        )
        which = next(number for number, each in enumerate(own, start=1) if each is result)
        yield replace(result, attempt=f"{which} of {len(own)}", counts=counts)


def _several(results: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each student of whom several attempts count."""
    counting: defaultdict[str, list[Result]] = defaultdict(list)
    for result in results:
        if result.counts:
            counting[result.sender.key or result.submission].append(result)
    for own in counting.values():
        if len(own) > 1:
            names = ", ".join(result.submission for result in own)
            yield (
                f"{own[0].sender.name}: {len(own)} submissions count, {names}; write into "
                f"{EXTENSIONS} when each was submitted, and the last one counts"
            )
