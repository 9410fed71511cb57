"""The results for other programs: CSV, JSON, JUnit and Gradescope; and the page for people."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from xml.etree import ElementTree

from . import gradebook, lateness, marking, overview
from .formats import Element, tag, to_text, write
from .marking import Marking
from .overview import Alike, find_alike
from .page import render
from .platforms import NOBODY
from .results import Heading, Journal, Mark, Result

LONGEST_NAME = 200


@dataclass(frozen=True)
class Settled:
    """The results with all that people added, and a line for each that they should look at.

    `alike` are groups of answers, `typed` is what people marked. `gradebook` is the platform's
    file, filled in; None where there was none.
    """

    results: list[Result]
    notes: list[str]
    alike: list[Alike]
    typed: Marking
    gradebook: str | None = None


def settle(journal: Journal, folder: Path) -> Settled:
    """Read what people put into `folder`: marks by hand, extensions, the platform's gradebook.

    The table for marks by hand is written anew. Raises `ValueError` with a line for each cell that
    can not be read; then all stays as it was.
    """
    heading, found = journal.heading, journal.results
    agreed, book = lateness.read_extensions(folder), gradebook.read(folder, heading)
    typed = marking.read(folder, heading, found)
    marked = typed.apply(found)
    results, notes = lateness.apply(heading, marked, agreed, book.times if book else {})
    notes = [*typed.notes(found), *notes]
    filled = None
    if book is not None:
        filled, missing = gradebook.fill(book, heading, results)
        notes += missing
    typed.write(heading, found)
    answers = {each.submission: each.sources for each in results if each.counts}
    code = {
        who: {id_: own[id_] for id_ in own if id_ in heading.ours} for who, own in answers.items()
    }
    return Settled(results, notes, find_alike(code, heading.ours), typed, filled)


def without_names(folder: Path, journal: Journal, settled: Settled) -> tuple[Path, Settled]:
    """Return the same with codes in place of names, and the folder for what is made of it.

    Points and comments that are typed into the table there are read like those in the other one.
    """
    codes = marking.codes(folder, (result.submission for result in settled.results))
    settled.typed.write(journal.heading, journal.results, codes)
    results = [
        replace(result, submission=codes[result.submission], sender=NOBODY)
        for result in settled.results
    ]
    alike = [
        replace(group, submissions=tuple(sorted(codes[name] for name in group.submissions)))
        for group in settled.alike
    ]
    results.sort(key=lambda result: result.submission)
    return folder / marking.ANONYMOUS, replace(
        settled, results=results, alike=alike, notes=[], gradebook=None
    )


def write_reports(heading: Heading, settled: Settled, folder: Path) -> list[Path]:
    """Write every report into `folder`, each file whole or not at all; return their paths."""
    results = settled.results
    files = {
        "report.html": render(heading, results, settled.alike, settled.notes),
        "marks.csv": to_csv(heading, results),
        "questions.csv": overview.to_csv(overview.questions(heading, results)),
        "report.json": to_json(heading, results),
        "junit.xml": to_junit(heading, results),
    }
    for result in results:
        if not result.trouble:
            files[_free_name(result.submission, files)] = to_gradescope(result)
    if settled.gradebook is not None:
        files[gradebook.FILLED] = settled.gradebook
    return [write(folder / name, text) for name, text in files.items()]


def to_csv(heading: Heading, results: Sequence[Result]) -> str:
    """Return a table with a row for each submission: what it earned in all, and by check."""
    own = ["submission", "earned", "points", "state"]
    late = ["submitted", "late", "taken"] if any(result.submitted for result in results) else []
    names = [*own, *late, *heading.checks]
    return to_text(names, (_row(heading, result) for result in results))


def _row(heading: Heading, result: Result) -> dict[str, object]:
    total = {
        "submission": result.submission,
        "earned": "" if result.trouble else result.earned,
        "points": heading.points,
        "state": result.state,
        "submitted": result.submitted,
        "late": result.lateness.partition(":")[0],
        "taken": result.taken or "",
    }
    earned = {mark.check: "" if mark.waits else mark.earned for mark in result.marks}
    return {**earned, **total}


def to_json(heading: Heading, results: Sequence[Result]) -> str:
    """Return all that is known; of it, `feedback` is what students may read."""
    submissions = []
    for result in results:
        marks = [asdict(mark) | {"feedback": mark.feedback} for mark in result.marks]
        outcomes = [asdict(outcome) | {"feedback": outcome.feedback} for outcome in result.outcomes]
        totals = {"earned": result.earned, "state": result.state}
        submissions.append(asdict(result) | totals | {"marks": marks, "outcomes": outcomes})
    content = {
        "title": heading.title,
        "points": heading.points,
        "forgeable": heading.forgeable,
        "submissions": submissions,
    }
    return json.dumps(content, indent=1) + "\n"


def to_junit(heading: Heading, results: Sequence[Result]) -> str:
    """Return a JUnit document: a suite for each submission, a case for each check."""
    root = tag("testsuites", *map(_suite, results), name=heading.title)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(result: Result) -> Element:
    cases = [_case(result.submission, mark) for mark in result.marks]
    if result.trouble:
        error = tag("error", message=result.trouble)
        cases = [tag("testcase", error, classname=result.submission, name="grading")]
    return tag(
        "testsuite",
        *cases,
        name=result.submission,
        tests=str(len(cases)),
        failures=str(sum(not mark.full and not mark.waits for mark in result.marks)),
        skipped=str(sum(mark.waits for mark in result.marks)),
        errors=str(int(bool(result.trouble))),
        time=f"{sum(mark.seconds for mark in result.marks if not mark.hidden):.3f}",
    )


def _case(submission: str, mark: Mark) -> Element:
    kind = "skipped" if mark.waits else "failure"
    failure = None if mark.full else tag(kind, message=mark.feedback)
    # How long a hidden check took is up to the student's code, which has read it.
    time = "0" if mark.hidden else f"{mark.seconds:.3f}"
    return tag("testcase", failure, classname=submission, name=mark.check, time=time)


def to_gradescope(result: Result) -> str:
    """Return the results.json that Gradescope reads for one submission, which its student sees."""
    tests = [
        {
            "name": mark.check,
            "score": mark.earned,
            "max_score": mark.points,
            "status": "passed" if mark.full else "failed",
            "output": mark.feedback,
            "output_format": "text",
            "visibility": "visible",
        }
        for mark in result.marks
    ]
    outcomes = [f"{outcome.solution}: {outcome.feedback}" for outcome in result.outcomes]
    said = [result.comment, result.lateness, result.fault, *result.notes, *outcomes]
    content = {
        "score": result.earned,
        "output": "\n".join(filter(None, said)),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": tests,
    }
    return json.dumps(content, indent=1) + "\n"


def _free_name(submission: str, taken: Collection[str]) -> str:
    stem = re.sub(r"[^\w-]+", "_", submission)
    stem = stem.encode()[:LONGEST_NAME].decode(errors="ignore")  # file systems count bytes
    names = (f"gradescope/{stem}{end}.json" for end in chain([""], map("-{}".format, count(2))))
    return next(name for name in names if name not in taken)
