"""What the commands show and say in a terminal."""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..notebooks.console import fail

if TYPE_CHECKING:
    from .grade import Progress
    from .results import Journal, Result


@contextmanager
def examination_bar() -> Iterator[Callable[[float], None]]:
    """Show a bar, and give what moves it: a part of the whole."""
    from rich import progress

    columns = progress.TextColumn("examining"), progress.BarColumn(), progress.TaskProgressColumn()
    with progress.Progress(*columns) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def progress_bar() -> Iterator[Callable[[Progress], None]]:
    """Show how far a run is, and give what tells it."""
    from rich import progress

    columns = (
        progress.TextColumn("grading"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[failures]} failed"),
        progress.TextColumn("{task.fields[left]}"),
    )
    with progress.Progress(*columns) as bar:
        task = bar.add_task("", total=None, failures=0, left="")

        def show(state: Progress) -> None:
            minutes, seconds = divmod(round(state.left), 60)
            left = f"{minutes}:{seconds:02} left" if state.done else "running the reference"
            failures = state.failures
            bar.update(task, total=state.total, completed=state.done, failures=failures, left=left)

        yield show


def among(names: list[str], wanted: list[str] | None, option: str) -> list[str]:
    """Return the names that are wanted, all if none is; raises `ValueError` for unknown ones."""
    for name in wanted or ():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
            raise ValueError(
                f"`{option}` must be one of {len(names)} names, got {name}; do {' or '.join(near)}"
            )
    return wanted or names


def lacking(journal: Journal) -> list[str]:
    """Return a line where submissions lack marks for the assignment as it is now."""
    results = journal.results
    names = [one.submission for one in results if journal.left(one.submission, one.digest)]
    if not names:
        return []
    told = f"marks of {len(names)} of {len(results)} submissions are missing or not up to date"
    return [f"{told}, the first is {names[0]}; do grade"]


def say_gone(journal: Journal, names: Container[str]) -> None:
    """Say whose results stay, though they are not among the submissions any more."""
    known = [one.submission for one in journal.results]
    gone = [name for name in known if name not in names]
    if gone:
        told = f"{len(gone)} of {len(known)} results are not of these submissions and stay"
        print(f"note: {told}, the first is {gone[0]}", file=sys.stderr)


def say_notes(notes: Sequence[str]) -> int:
    """Say what people should look at again, and return the exit status."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return 1 if notes else 0


def sum_up(journal: Journal, results: Sequence[Result]) -> int:
    """Say what came out, and return the exit status."""
    troubled = [result for result in results if result.trouble]
    graded = [result.earned for result in results if not result.trouble]
    mean = f", mean {sum(graded) / len(graded):.1f} of {journal.heading.points:g}" if graded else ""
    print(f"{journal.path}: {len(graded)} graded{mean}")
    for (level, gaps), count in Counter((one.isolation, one.gaps) for one in results).items():
        if gaps:
            told = f"note: {count} of {len(results)} had isolation {level!r} only"
            print(f"{told}: {'; '.join(gaps)}", file=sys.stderr)
    if journal.heading.forgeable:
        checks = ", ".join(journal.heading.forgeable)
        told = f"{checks} can be forged: asserts run beside the student's code; do answer(...)"
        print(f"note: {told}", file=sys.stderr)
    waiting = sum(mark.waits for result in results for mark in result.marks)
    if waiting:
        print(f"{journal.path.with_name('marking.csv')}: {waiting} written answers to be marked")
    for result in troubled:
        print(f"error: {result.submission} was not graded: {result.trouble}", file=sys.stderr)
    return 1 if troubled else 0


@contextmanager
def defects() -> Iterator[None]:
    """End with a line for each defect where the reference has any."""
    from .assignment import AssignmentError

    try:
        yield
    except AssignmentError as error:
        fail(*error.defects, status=1)
