"""The gradebook file of a learning platform: filled in with marks, by the platform's own ids.

`gradebook.csv` in the folder of results is what Canvas exports as its gradebook or Moodle as an
assignment's grading worksheet; `report` writes `gradebook-filled.csv` beside it, to be imported.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .formats import read_rows, shown, to_csv
from .platforms import read_time
from .results import Heading, Result

GIVEN, FILLED = "gradebook.csv", "gradebook-filled.csv"
CANVAS_IDS = ("Student", "ID", "SIS User ID", "SIS Login ID", "Root Account", "Section")
MOODLE_NEEDS = ("Identifier", "Grade")
MOODLE_IDS = ("Identifier", "Full name", "Email address", "Username", "ID number")
CANVAS_COLUMN = re.compile(r"(?P<title>.+) \(\d+\)")


@dataclass(frozen=True)
class Gradebook:
    """The cells of a platform's file: its first line names the columns, `column` is ours."""

    head: list[str]
    rows: list[list[str]]
    column: str = "Grade"

    @property
    def is_canvas(self) -> bool:
        """Whether it is from Canvas; from Moodle else."""
        return self.head[:2] == ["Student", "ID"]

    def keys(self, row: Sequence[str]) -> set[tuple[str, str]]:
        """By what a row's student is known: the platform's number, names and addresses."""
        columns = CANVAS_IDS[:4] if self.is_canvas else MOODLE_IDS
        return {("number", self.number(row)), *(("name", self.cell(row, each)) for each in columns)}

    def number(self, row: Sequence[str]) -> str:
        """Return the platform's number of a row."""
        return re.sub(r"\D", "", self.cell(row, "ID" if self.is_canvas else "Identifier"))

    def cell(self, row: Sequence[str], name: str) -> str:
        """Return what stands in a column of a row; empty where there is no such column."""
        place = self.head.index(name) if name in self.head else len(row)
        return row[place].strip() if place < len(row) else ""

    @property
    def times(self) -> dict[str, str]:
        """When each student handed in, by number, where the platform says so."""
        told = {
            self.number(row): read_time(self.cell(row, "Last modified (submission)"))
            for row in self.rows
        }
        return {number: time for number, time in told.items() if number and time}


def read(folder: Path, heading: Heading) -> Gradebook | None:
    """Return the gradebook in a folder of results, None if there is none.

    Raises `ValueError` for a file that is neither Canvas's nor Moodle's, and where it is not clear
    which column is the assignment's.
    """
    path = folder / GIVEN
    if not path.is_file():
        return None
    head, *rows = read_rows(path) or [[]]
    found = Gradebook([name.strip() for name in head], [row for row in rows if any(row)])
    if not found.is_canvas and not set(MOODLE_NEEDS) <= set(found.head):
        raise ValueError(
            f"`{GIVEN}` must be Canvas's gradebook, which begins with Student and ID, or Moodle's "
            f"grading worksheet, which has Identifier and Grade, got {', '.join(found.head)[:200]}"
        )
    return replace(found, column=_canvas_column(found, heading)) if found.is_canvas else found


def fill(book: Gradebook, heading: Heading, results: Sequence[Result]) -> tuple[str, list[str]]:
    """Return the file with the marks in it, and a line for what could not be filled in.

    Of Canvas's columns it has those that say who and the assignment's, so that importing it
    changes nothing else.
    """
    column = book.column
    wanted = [result for result in results if result.counts]
    filled, notes = [], []
    known: set[str] = set()
    by_key: defaultdict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in wanted:
        for key in _keys(result):
            by_key[key].append(result)
    for row in book.rows:
        found = [result for key in book.keys(row) for result in by_key[key]]
        own = list({result.submission: result for result in found}.values())
        known |= {result.submission for result in own}
        if len(own) > 1:
            notes.append(f"{GIVEN}: {row[0]} has {len(own)} submissions; none was filled in")
        filled.append(_filled(book, row, own[0] if len(own) == 1 else None))
    notes += _points(book, heading)
    for result in wanted:
        if result.submission not in known:
            notes.append(f"{GIVEN}: {result.submission} is not in it")
        elif not _is_final(result):
            notes.append(f"{GIVEN}: {result.submission} is not marked yet and was left out")
    names = [*(name for name in CANVAS_IDS if name in book.head), column]
    kept = [book.head.index(name) for name in names] if book.is_canvas else range(len(book.head))
    rows = [[row[place] for place in kept] for row in [book.head, *filled]]
    return to_csv(rows), notes


def _keys(result: Result) -> set[tuple[str, str]]:
    """By what a student is looked for: the platform's number, or else name or address."""
    if result.sender.number:
        return {("number", result.sender.number)}
    names = {result.submission, result.sender.name, result.sender.key} - {""}
    return {("name", name) for name in names}


def _canvas_column(book: Gradebook, heading: Heading) -> str:
    titles = {
        match["title"].strip().casefold(): name
        for name in book.head
        if (match := CANVAS_COLUMN.fullmatch(name))
    }
    found = titles.get(heading.title.strip().casefold())
    if found is None and len(titles) == 1:
        (found,) = titles.values()
    if found is None:
        raise ValueError(
            f"`{GIVEN}` must have a column for {heading.title!r}, "
            f"got {', '.join(titles.values())}; "
            "do keep only this assignment's column, or call it by the reference's first heading"
        )
    return found


def _points(book: Gradebook, heading: Heading) -> Iterator[str]:
    """Say where the platform has other points for the whole."""
    name = book.column if book.is_canvas else "Maximum Grade"
    rows = [row for row in book.rows if not book.is_canvas or row[0].strip() == "Points Possible"]
    for text in {book.cell(row, name) for row in rows} - {""}:
        if text.replace(",", ".").rstrip("0").rstrip(".") != f"{heading.points:g}":
            yield f"{GIVEN}: {text} points in the platform, {heading.points:g} here; not scaled"


def _is_final(result: Result) -> bool:
    return not result.trouble and not any(mark.waits for mark in result.marks)


def _filled(book: Gradebook, row: Sequence[str], result: Result | None) -> list[str]:
    cells = [*row, *[""] * (len(book.head) - len(row))]
    if result is not None and _is_final(result):
        cells[book.head.index(book.column)] = shown(result.earned)
        if "Feedback comments" in book.head:
            cells[book.head.index("Feedback comments")] = shown("\n".join(feedback(result)))
    return cells


def feedback(result: Result) -> Iterator[str]:
    """Yield the lines that a student may read: of each question, what it gave and why."""
    yield from filter(None, [result.comment, result.lateness, result.fault])
    for mark in result.marks:
        yield f"{mark.check}: {mark.earned:g} of {mark.points:g}: {mark.feedback}"
