"""The results for other programs: CSV, JSON, JUnit and Gradescope; and the page for people."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .page import render, tag
from .results import Heading, Journal, Mark, Result

LONGEST_NAME = 200


def write_reports(journal: Journal, folder: Path) -> list[Path]:
    """Write every report into `folder`, each file whole or not at all; return their paths."""
    heading, results = journal.heading, journal.results
    files = {
        "report.html": render(heading, results),
        "marks.csv": to_csv(heading, results),
        "report.json": to_json(heading, results),
        "junit.xml": to_junit(heading, results),
    }
    for result in results:
        if not result.trouble:
            files[_free_name(result.submission, files)] = to_gradescope(result)
    return [_write(folder / name, text) for name, text in files.items()]


def to_csv(heading: Heading, results: list[Result]) -> str:
    """Return a table with a row for each submission: what it earned in all, and by check."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["submission", "earned", "points", "state", *heading.checks])
    for result in results:
        earned = {mark.check: f"{mark.earned:g}" for mark in result.marks}
        total = "" if result.trouble else f"{result.earned:g}"
        row = [_cell(result.submission), total, f"{heading.points:g}", result.state]
        table.writerow([*row, *(earned.get(check, "") for check in heading.checks)])
    return text.getvalue()


def to_json(heading: Heading, results: list[Result]) -> str:
    """Return all that is known; of it, `feedback` is what students may read."""
    submissions = []
    for result in results:
        marks = [asdict(mark) | {"feedback": mark.feedback} for mark in result.marks]
        outcomes = [asdict(outcome) | {"feedback": outcome.feedback} for outcome in result.outcomes]
        totals = {"earned": result.earned, "state": result.state}
        submissions.append(asdict(result) | totals | {"marks": marks, "outcomes": outcomes})
    content = {"title": heading.title, "points": heading.points, "submissions": submissions}
    return json.dumps(content, indent=1) + "\n"


def to_junit(heading: Heading, results: list[Result]) -> str:
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
        failures=str(sum(not mark.passed for mark in result.marks)),
        errors=str(int(bool(result.trouble))),
        time=f"{sum(mark.seconds for mark in result.marks if not mark.hidden):.3f}",
    )


def _case(submission: str, mark: Mark) -> Element:
    failure = None if mark.passed else tag("failure", message=mark.feedback)
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
            "status": "passed" if mark.passed else "failed",
            "output": mark.feedback,
            "output_format": "text",
            "visibility": "visible",
        }
        for mark in result.marks
    ]
    outcomes = [f"{outcome.solution}: {outcome.feedback}" for outcome in result.outcomes]
    content = {
        "score": result.earned,
        "output": "\n".join(filter(None, [result.fault, *result.notes, *outcomes])),
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


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking a student's file name for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return path
