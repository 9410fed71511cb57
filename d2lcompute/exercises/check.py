"""What a reader calls: check an answer, list the exercises, see another way; predict and reveal."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from ..arguments import flag, one_of
from ..tables import Shown, Table, printable
from ..words.language import _, marks
from .exercise import (
    SECTIONS,
    SOLUTION,
    Exercise,
    Prediction,
    exercises,
    find,
    hints_for,
    predictions,
)
from .judge import Verdict, judge

# The causes where it helps to read once more what is wanted.
_UNCLEAR = {
    "nothing given", "not a pair", "nothing returned", "not callable", "call", "a None", "unusable",
}  # fmt: skip
_failures: Counter[tuple[str, str]] = Counter()  # by exercise and cause: hints grow with it
_guesses: dict[str, int] = {}  # of this process alone: a notebook that is run anew begins anew


def check(name: str, answer: Any = ..., *, _seed: int = 0) -> None:
    """Check one exercise and print what passed, or what did not, with a hint.

    >>> d2c.check("blocks.factory", lambda make, times: nn.Sequential(*[make()] * times))
    blocks.factory
      fail  runs all blocks in a row
      found  One block ran 5 times.
      hint 1/3  The same block stands at several places, with one set of parameters.
    >>> d2c.check("blocks.factory", ...)
    blocks.factory
      wanted  a function: `repeat(make, times)` is a net of `times` blocks in a row, from `make()`

    `name` is `"section.exercise"`; `answer` is what the exercise asks for, usually a function or
    a class, and `...` asks what that is. The answer is tried on random cases; nothing is compared
    with a stored solution. Each time the same thing is wrong the hint comes closer to the answer.
    What passed is remembered for `progress`, and opens `solution(name)`.

    Raises `ValueError` for an exercise that does not exist.
    """
    exercise = find(name)
    print(exercise.name)
    if answer is ... or (isinstance(answer, tuple) and any(one is ... for one in answer)):
        _say(_("wanted"), _(exercise.material.wanted))
        return
    verdict = judge(exercise, answer, _seed)
    for claim in verdict.passed:
        _say(_("pass"), _(claim))
    if verdict.failed:
        _explain(exercise, verdict)
    else:
        _note(passed=name)
        _lead_on(exercise)


def list_exercises() -> Table:
    """Return the table of all exercises and of what each one wants as its answer.

    >>> d2c.list_exercises().rows[0][0]
    'blocks.list'
    """
    rows = [(one.name, Shown(one.material.wanted, _(one.material.wanted))) for one in exercises()]
    return Table(marks("exercise", "wanted"), rows)


def _explain(exercise: Exercise, verdict: Verdict) -> None:
    _say(_("fail"), _(verdict.failed))
    _say(_("found"), verdict.fact)
    if verdict.line:
        _say(_("line"), verdict.line)
    if verdict.cause in _UNCLEAR:
        _say(_("wanted"), _(exercise.material.wanted))
    hints = hints_for(exercise.name, verdict.cause)
    key = exercise.name, verdict.cause
    step = min(_failures[key], len(hints) - 1)
    _failures[key] += 1
    _say(_("hint {step}/{steps}", step=step + 1, steps=len(hints)), _(hints[step]))


def _lead_on(exercise: Exercise) -> None:
    """Say where another way can be seen, and what comes next."""
    _say(_("see"), _("`solution({name!r})` shows another way", name=exercise.name))
    names = [one.name for one in exercises()]
    done = _passed()
    place = names.index(exercise.name)
    left = [name for name in (*names[place:], *names[:place]) if name not in done]
    if left:
        _say(_("next"), f"{left[0]}")
    else:
        _say(_("next"), _("nothing: you have passed all {count} exercises", count=len(names)))


def _say(label: str, text: str) -> None:
    print(printable(f"  {label}  {text}"))


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
    done = _passed()
    rows = [
        (one.name, Shown("passed", _("passed")) if one.name in done else None)
        for one in exercises()
    ]
    count = sum(state is not None for _name, state in rows)
    notes = [_("{count} of {total} exercises passed", count=count, total=len(rows))]
    guesses = _predicted()
    if guesses:
        right = sum(guesses.values())
        notes.append(_("{count} of {total} predictions right", count=right, total=len(guesses)))
    return Table(marks("exercise", "state"), rows, notes=notes)


def _passed() -> set[str]:
    """Return the names of the exercises that passed."""
    return {str(one["passed"]) for one in _notes() if "passed" in one}


def _predicted() -> dict[str, bool]:
    """Return for every prediction that was made whether the first guess was right."""
    first: dict[str, bool] = {}
    for one in _notes():
        if "predicted" in one:
            first.setdefault(str(one["predicted"]), bool(one["right"]))
    return first


def _note(**facts: object) -> None:
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


@dataclass(frozen=True, repr=False)
class Solution:
    """Code that solves an exercise; a notebook shows it in colours."""

    name: str
    code: str

    def __repr__(self) -> str:
        return printable(self.code.rstrip())

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}```"


def solution(name: str) -> Solution | None:
    """Return another way to solve an exercise that you have passed.

    >>> d2c.solution("blocks.factory")
    blocks.factory is not passed yet: `check("blocks.factory", ...)` gives hints that lead there.

    `name` is `"section.exercise"`. The code is one of many right answers, to compare with yours.

    Returns a `Solution` that shows itself, and None, with a word on it, before the exercise is
    passed. Raises `ValueError` for an exercise that does not exist.
    """
    exercise = find(name)
    if name not in _passed():
        text = _("{name} is not passed yet: `check({name!r}, ...)` gives hints that lead there.",
                 name=name)  # fmt: skip
        print(printable(text.replace("'", '"')))
        return None
    return Solution(name, exercise.material.answers[SOLUTION][0])


def predict(name: str, guess: Any = ...) -> None:
    """Show the choices of a prediction, or note one of them, before you run a cell.

    >>> d2c.predict("blocks.children", ...)
    blocks.children  What does `NaiveSequential(p, p, p)` give for 0, where `p` adds one?
      a  3.0
      b  1.0
      c  an error
    >>> d2c.predict("blocks.children", "a")

    `name` is `"section.prediction"`; `guess` is the letter of a choice, and `...` shows them. The
    next cell ends in `reveal`. The first guess counts in `progress`.

    Raises `ValueError` for a prediction or a choice that does not exist.
    """
    one = _prediction(name)
    if guess is ...:
        _guesses.pop(name, None)
        print(printable(f"{name}  {_(one.question)}"))
        for letter, choice in zip(ascii_lowercase, one.choices, strict=False):
            print(printable(f"  {letter}  {_(choice)}"))
        return
    letters = ascii_lowercase[: len(one.choices)]
    guess = guess.lower() if isinstance(guess, str) else guess
    _guesses[name] = letters.index(one_of("guess", guess, letters, what="the letter of a choice"))
    _note(predicted=name, right=_guesses[name] == one.right)


def reveal(name: str, value: Any) -> None:
    """Show what came, which choice was right, and why.

    >>> d2c.predict("blocks.children", "a")
    >>> d2c.reveal("blocks.children", 1.0)
    blocks.children
      came  1.0
      your guess  a: not this time
      right  b  1.0
      why  `children()` gives each module once, so `p` runs once and not three times.

    `name` is that of the prediction, `value` what the cell has computed.

    Raises `ValueError` for a prediction that does not exist.
    """
    one = _prediction(name)
    print(name)
    _say(_("came"), str(value))
    guess = _guesses.get(name)
    if guess is not None:
        verdict = _("right") if guess == one.right else _("not this time")
        _say(_("your guess"), f"{ascii_lowercase[guess]}: {verdict}")
    _say(_("right"), f"{ascii_lowercase[one.right]}  {_(one.choices[one.right])}")
    _say(_("why"), _(one.why))


def _prediction(name: str) -> Prediction:
    known = {key: one for section in SECTIONS for key, one in predictions(section).items()}
    return known[one_of("name", name, known, what="a prediction")]
