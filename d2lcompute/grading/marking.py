"""Marks by hand: points and comments that people type into a table, over the automatic ones.

`grade` and `report` write `marking.csv` into the folder of results, with a row for each question of
each submission. What somebody types into the columns points, comment and by is read back from it
and from copies of it (`marking-kim.csv`) and is kept in `marking.jsonl`, to which lines are only
added: with who, when, and what had been typed before by others. So two people can mark at once, and
nothing that either typed is ever lost.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import os
import secrets
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from .formats import read_table, shown, to_number, to_text, visible, write
from .results import Heading, Mark, Result, whole_lines

TABLE, KEPT = "marking.csv", "marking.jsonl"
ANONYMOUS, KEY = "anonymous", "anonymous.key"
MARK = "\ufeff"  # without it a spreadsheet takes Chinese names for other letters
OVERALL = "(overall)"  # a question's id has no parentheses
TYPED = ("points", "comment", "by")
COLUMNS = (
    "question", "submission", "of", "automatic", *TYPED, "answer", "rubric", "history", "seen",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What a person typed for a question of a submission: points, if any, and a comment.

    `answer` is the digest of what was marked. `seen` is how many entries there were when the table
    was written in which it was typed.
    """

    submission: str
    question: str
    points: float | None
    comment: str
    by: str
    at: str
    answer: str
    seen: int
    number: int = 0


Entries = Mapping[tuple[str, str], Sequence[Entry]]


@dataclass(frozen=True)
class Marking:
    """All entries in a folder; `seen` is what each table held when it was read."""

    folder: Path
    entries: Entries
    count: int
    seen: Mapping[Path, bytes]

    def apply(self, results: Iterable[Result]) -> list[Result]:
        """Return the results with what people gave, where it was given for the same answers."""
        return [self._apply(result) for result in results]

    def _apply(self, result: Result) -> Result:
        marks = [self._mark(result, mark) for mark in result.marks]
        overall = self._last(result, OVERALL)
        if overall is not None:
            result = replace(result, extra=overall.points or 0.0, comment=overall.comment)
        return replace(result, marks=tuple(marks))

    def _mark(self, result: Result, mark: Mark) -> Mark:
        entry = self._last(result, mark.check)
        if entry is None:
            return mark
        given = entry.points
        return replace(mark, given=given, comment=entry.comment, by=entry.by, at=entry.at)

    def _last(self, result: Result, question: str) -> Entry | None:
        known = self.entries.get((result.submission, question))
        return known[-1] if known and known[-1].answer == _answer(result, question) else None

    def notes(self, results: Iterable[Result]) -> Iterator[str]:
        """Yield a line for each question on which people differ, or whose answer has changed."""
        for result in results:
            for question in _questions(result):
                known = self.entries.get((result.submission, question), ())
                where = f"{result.submission}, {question}"
                if known and self._last(result, question) is None:
                    said = "; ".join(map(_told, disputed(known) or known[-1:]))
                    yield f"{where}: the answer has changed since it was marked: {said}"
                elif len({_values(entry) for entry in disputed(known)}) > 1:
                    said = "; ".join(map(_told, disputed(known)))
                    yield f"{where}: two people differ, the last counts: {said}"

    def write(
        self, heading: Heading, results: Sequence[Result], codes: Mapping[str, str] | None = None
    ) -> Path:
        """Write the table, unless somebody saved it meanwhile; return its path.

        With `codes` in place of names it is another one, for blind marking.
        """
        path = self.folder / (ANONYMOUS if codes else "") / TABLE
        now = path.read_bytes() if path.is_file() else None
        if now == self.seen.get(path):
            rows = list(self._rows(heading, results))
            if codes:
                rows = [{**row, "submission": codes[str(row["submission"])]} for row in rows]
            order = {question: place for place, question in enumerate(_order(heading))}
            rows.sort(key=lambda row: (order[str(row["question"])], row["submission"]))
            write(path, MARK + to_text(COLUMNS, rows))
        return path

    def _rows(self, heading: Heading, results: Sequence[Result]) -> Iterator[Mapping[str, object]]:
        for question in _order(heading):
            for result in results:
                mark = next((one for one in result.marks if one.check == question), None)
                if mark is not None or question == OVERALL:
                    yield self._row(heading, result, question, mark)

    def _row(
        self, heading: Heading, result: Result, question: str, mark: Mark | None
    ) -> Mapping[str, object]:
        known = self.entries.get((result.submission, question), ())
        answer = "" if mark is None else mark.said
        if mark is not None and mark.waits:
            answer = visible(result.sources[question])
        return {
            "question": question,
            "submission": result.submission,
            "of": mark.points if mark else "",
            "automatic": mark.automatic if mark and not mark.written else "",
            **dict(zip(TYPED, _cells(known, _answer(result, question)), strict=True)),
            "answer": answer,
            "rubric": heading.written.get(question, ""),
            "history": "; ".join(map(_told, known)),
            "seen": f"{self.count} {_answer(result, question)}",
        }


def read(folder: Path, heading: Heading, results: Sequence[Result]) -> Marking:
    """Return what people typed into the tables in `folder`, now and before, and keep it.

    Raises `ValueError` with a line for each cell that can not be read; then nothing is kept.
    """
    entries = _kept(folder)
    tables = sorted(chain(folder.glob("marking*.csv"), (folder / ANONYMOUS).glob("marking*.csv")))
    seen = {table: table.read_bytes() for table in tables}
    names = {result.submission for result in results}
    new: list[Entry] = []
    wrong: list[str] = []
    has_codes = (folder / KEY).is_file()
    coded = {code: name for name, code in codes(folder, names).items()} if has_codes else {}
    for table in tables:
        for row in read_table(table, ("question", "submission", *TYPED, "seen")):
            row["submission"] = coded.get(row["submission"], row["submission"])
            try:
                new += _new(row, entries, table, heading, names)
            except ValueError as error:
                wrong.append(f"{table.name}, line {row['line']}: {error}")
    if wrong:
        raise ValueError("\n".join(wrong))
    with (folder / KEPT).open("ab") as file:
        lines = (json.dumps(asdict(entry)).encode("ascii") + b"\n" for entry in _unique(new))
        file.write(b"".join(lines))
        file.flush()
        os.fsync(file.fileno())
    entries = _kept(folder)
    return Marking(folder, entries, sum(map(len, entries.values())), seen)


def codes(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return a code for each submission, the same every time; who has not the key sees no name."""
    path = folder / KEY
    if not path.is_file():
        write(path, secrets.token_hex(16))
    key = path.read_bytes()
    return {name: hmac.digest(key, name.encode(), "sha256").hex()[:8] for name in names}


def disputed(known: Sequence[Entry]) -> Sequence[Entry]:
    """Return the last entries of a question of which none had seen the other, if they are many."""
    first = len(known) - 1
    while first > 0 and known[-1].seen < known[first - 1].number:
        first -= 1
    return known[first:] if len(known) - first > 1 else ()


def _kept(folder: Path) -> defaultdict[tuple[str, str], list[Entry]]:
    entries: defaultdict[tuple[str, str], list[Entry]] = defaultdict(list)
    for number, line in enumerate(whole_lines(folder / KEPT), start=1):
        entry = Entry(**{**json.loads(line), "number": number})
        entries[entry.submission, entry.question].append(entry)
    return entries


def _new(
    row: Mapping[str, str],
    entries: Entries,
    table: Path,
    heading: Heading,
    results: Container[str],
) -> Iterator[Entry]:
    """Yield what was typed into a row since it was written, unless it is known."""
    seen, answer = _seen(row["seen"])
    given = [row[name] for name in TYPED]
    known = entries.get((row["submission"], row["question"]), ())
    before = [entry for entry in known if entry.number <= seen]
    cells = _cells(before, answer)
    if _same(given, cells):
        return
    submission, question = row["submission"], row["question"]
    if submission not in results:
        raise ValueError(f"there is no submission {submission!r}")
    if question != OVERALL and question not in heading.checks:
        raise ValueError(f"there is no question {question!r}; do {', '.join(heading.checks)}")
    points = before[-1].points if given[0] == cells[0] and before else None
    if given[0] != cells[0]:
        points = _points(given[0], heading.checks.get(question))
    by = given[2] or table.stem.removeprefix("marking").strip("-_ ()")
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    entry = Entry(submission, question, points, given[1], by, at, answer, seen)
    later = [each for each in known if each.number > seen]
    if all(_content(each) != _content(entry) for each in later):
        yield entry


def _points(text: str, most: float | None) -> float | None:
    low, high = (0.0, most) if most is not None else (-math.inf, math.inf)
    try:
        points = to_number(text)
    except ValueError:
        points = math.nan
    if points is not None and not low <= points <= high:
        wanted = "a number" if most is None else f"a number from 0 to {most:g}"
        raise ValueError(f"`points` must be {wanted}, or empty, got {text!r}")
    return points


def _seen(text: str) -> tuple[int, str]:
    count, _, answer = text.partition(" ")
    if not count.isdecimal() or not answer:
        raise ValueError(f"`seen` must be left as it was written, got {text!r}")
    return int(count), answer


def _unique(entries: Iterable[Entry]) -> Iterator[Entry]:
    contents = set()
    for entry in entries:
        key = entry.submission, entry.question, entry.seen, *_content(entry)
        if key not in contents:
            contents.add(key)
            yield entry


def _content(entry: Entry) -> tuple[object, ...]:
    return entry.points, entry.comment, entry.by


def _values(entry: Entry) -> tuple[object, ...]:
    return entry.points, entry.comment


def _cells(known: Sequence[Entry], answer: str) -> tuple[str, str, str]:
    """Return what the table has for an answer in the columns that people type into."""
    if not known or known[-1].answer != answer:
        return "", "", ""
    points = dict.fromkeys(shown(entry.points) for entry in disputed(known) or known[-1:])
    return " or ".join(points), known[-1].comment, known[-1].by


def _same(given: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether cells are as they were written; a spreadsheet may write a number otherwise."""
    try:
        numbers = to_number(given[0]) == to_number(cells[0])
    except ValueError:
        numbers = given[0] == cells[0]
    return numbers and list(cells[1:]) == list(given[1:])


def _told(entry: Entry) -> str:
    points = "no points" if entry.points is None else f"{entry.points:g}"
    said = f" {entry.comment!r}" if entry.comment else ""
    return f"{points}{said} ({entry.by or 'somebody'}, {entry.at})"


def _order(heading: Heading) -> list[str]:
    automatic = [name for name in heading.checks if name not in heading.written]
    return [*heading.written, OVERALL, *automatic]


def _questions(result: Result) -> list[str]:
    return [*(mark.check for mark in result.marks), OVERALL]


def _answer(result: Result, question: str) -> str:
    """Return a digest of what is marked: the text of a written answer, else all that was sent."""
    mark = next((each for each in result.marks if each.check == question), None)
    text = result.sources.get(question, "") if mark and mark.written else result.digest
    return hashlib.sha256(text.encode()).hexdigest()[:16]
