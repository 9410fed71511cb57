"""Check an answer, and list the exercises."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ..tables import Shown, Table, printable
from ..words.language import _, marks
from .exercise import Exercise, exercises, find, hints_for
from .judge import Verdict, judge
from .progress import note, passed

# The causes where it helps to read once more what is wanted.
_UNCLEAR = {
    "nothing given", "not a pair", "nothing returned", "not callable", "call", "a None", "unusable",
}  # fmt: skip
_failures: Counter[tuple[str, str]] = Counter()  # by exercise and cause: hints grow with it


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
        note(passed=name)
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
    done = passed()
    place = names.index(exercise.name)
    left = [name for name in (*names[place:], *names[:place]) if name not in done]
    if left:
        _say(_("next"), f"{left[0]}")
    else:
        _say(_("next"), _("nothing: you have passed all {count} exercises", count=len(names)))


def _say(label: str, text: str) -> None:
    print(printable(f"  {label}  {text}"))
