"""Predict, then run: note a guess before a cell is run, and see what came."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Any

from ..arguments import one_of
from ..tables import printable
from ..words.language import _
from .check import note
from .exercise import SECTIONS, Prediction, predictions

_guesses: dict[str, int] = {}  # of this process alone: a notebook that is run anew begins anew


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
    one = _find(name)
    if guess is ...:
        _guesses.pop(name, None)
        print(printable(f"{name}  {_(one.question)}"))
        for letter, choice in zip(ascii_lowercase, one.choices, strict=False):
            print(printable(f"  {letter}  {_(choice)}"))
        return
    letters = ascii_lowercase[: len(one.choices)]
    guess = guess.lower() if isinstance(guess, str) else guess
    _guesses[name] = letters.index(one_of("guess", guess, letters, what="the letter of a choice"))
    note(predicted=name, right=_guesses[name] == one.right)


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
    one = _find(name)
    print(name)
    _say(_("came"), str(value))
    guess = _guesses.get(name)
    if guess is not None:
        verdict = _("right") if guess == one.right else _("not this time")
        _say(_("your guess"), f"{ascii_lowercase[guess]}: {verdict}")
    _say(_("right"), f"{ascii_lowercase[one.right]}  {_(one.choices[one.right])}")
    _say(_("why"), _(one.why))


def _find(name: str) -> Prediction:
    known = {key: one for section in SECTIONS for key, one in predictions(section).items()}
    return known[one_of("name", name, known, what="a prediction")]


def _say(label: str, text: str) -> None:
    print(printable(f"  {label}  {text}"))
