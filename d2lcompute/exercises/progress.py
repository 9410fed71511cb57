"""Which exercises a reader has passed, and what they predicted: remembered for the person."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ..arguments import flag
from ..tables import Shown, Table
from ..words.language import _, marks
from .exercise import exercises


def progress(*, reset: bool = False) -> Table:
    """Return the table of all exercises and of those that passed, in any notebook or language.

    >>> d2c.progress()
    exercise                    state
    --------------------------  -------
    blocks.list
    blocks.parallel
    ...
    0 of 41 exercises passed

    It counts for the person: what passed is remembered in the user's data folder, wherever a
    notebook stands. `reset` forgets all of it. Predictions are counted apart.
    """
    if flag("reset", reset):
        _file().unlink(missing_ok=True)
    done = passed()
    rows = [
        (one.name, Shown("passed", _("passed")) if one.name in done else None)
        for one in exercises()
    ]
    count = sum(state is not None for _name, state in rows)
    notes = [_("{count} of {total} exercises passed", count=count, total=len(rows))]
    guesses = predicted()
    if guesses:
        right = sum(guesses.values())
        notes.append(_("{count} of {total} predictions right", count=right, total=len(guesses)))
    return Table(marks("exercise", "state"), rows, notes=notes)


def passed() -> set[str]:
    """Return the names of the exercises that passed."""
    return {str(one["passed"]) for one in _notes() if "passed" in one}


def predicted() -> dict[str, bool]:
    """Return for every prediction that was made whether the first guess was right."""
    first: dict[str, bool] = {}
    for one in _notes():
        if "predicted" in one:
            first.setdefault(str(one["predicted"]), bool(one["right"]))
    return first


def note(**facts: object) -> None:
    """Remember that something passed or was predicted; where that is impossible, go on."""
    file = _file()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as opened:  # a line at once: notebooks share the file
            opened.write(json.dumps(facts) + "\n")
    except OSError as error:
        print(_("Your progress could not be written down: {error}", error=error))


def _notes() -> list[Mapping[str, object]]:
    """Return what was remembered; a line that was cut off or tampered with is left out."""
    try:
        lines = _file().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    return [read for line in lines if isinstance(read := _read(line), dict)]


def _read(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _file() -> Path:
    """Return the file in the user's data folder, where the operating system has it."""
    home = Path.home()
    folders = {
        "win32": Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"),
        "darwin": home / "Library" / "Application Support",
    }
    usual = folders.get(sys.platform, home / ".local" / "share")
    return Path(os.environ.get("XDG_DATA_HOME") or usual, "d2lcompute", "progress.jsonl")
