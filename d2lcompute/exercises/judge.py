"""Judge an answer: run an exercise's checks on it, and find the cause of the first failure."""

from __future__ import annotations

import linecache
import random
import re
import sysconfig
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from ..passes.random_states import random_states_kept
from ..words.language import _
from .exercise import Check, Exercise, NotYetError
from .expectations import shown

_LIBRARIES = tuple(
    str(place)
    for place in (
        Path(torch.__file__).parent,
        Path(__file__).parents[1],
        *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    )
)
# What an error's message says, and the cause that it stands for; the first that fits counts.
_ERRORS = {
    r"missing the required \"forward\"": "no forward",
    r"Module\.__init__\(\) call|has no attribute '_(modules|parameters|buffers)'": "no super",
    r"mat1 and mat2 shapes": "widths do not fit",
    r"Sizes of tensors must match|stack expects|must match the size": "sizes to join",
    r"leaf Variable that requires grad": "leaf in place",
    r"does not require grad": "no graph",
    r"same device|not on the expected device": "two devices",
    r"CUDA|cuda": "cuda",
    r"modified by an inplace operation": "changed before backward",
    r"through the graph a second time": "graph used twice",
    r"Boolean value of Tensor": "ambiguous",
    r"same dtype|expected scalar type": "two types",
    r"numpy\(\) on Tensor that requires grad": "numpy of a graph",
    r"(Missing|Unexpected) key|size mismatch": "keys",
    r"uninitialized parameter|UninitializedParameter": "still lazy",
    r"positional argument|unexpected keyword|takes no arguments": "call",
    r"share memory": "tensors share memory",
    r"[Pp]ickl|weights_only": "needs the class",
    r"NoneType": "a None",
    r"is not callable": "not callable",
}
_LONGEST = 200  # letters of an error's message
# What a right answer can meet by ill luck, such as a ReLU that no input wakes: it counts where
# several draws in a row show it.
_BY_ILL_LUCK = {"zero gradient"}
_DRAWS = 5


@dataclass(frozen=True)
class Verdict:
    """What came of an answer: the claims that `passed`, and what is known of the first failure.

    `failed` is the claim that did not hold, "" where all did. `cause` names why in a word, and
    `fact` is what was seen. `line` is the line of the reader's own code that raised an error.
    """

    passed: tuple[str, ...]
    failed: str = ""
    cause: str = ""
    fact: str = ""
    line: str = ""


def judge(exercise: Exercise, answer: Any, seed: int = 0) -> Verdict:
    """Try an answer on random cases; the same `seed` gives the same cases."""
    passed: list[str] = []
    for claim, check in exercise.steps.items():
        try:
            _check_kind(exercise, answer)
            with random_states_kept():
                _run(check, answer, exercise.cases, seed)
        except NotYetError as error:
            return Verdict(tuple(passed), claim, error.cause, error.fact)
        except Exception as error:
            return Verdict(tuple(passed), claim, *_blame(error))
        passed.append(claim)
    return Verdict(tuple(passed))


def _check_kind(exercise: Exercise, answer: Any) -> None:
    if answer is None:
        raise NotYetError("nothing given", _("Your answer is None."))
    if not exercise.pair:
        return
    if not (isinstance(answer, tuple | list) and len(answer) == 2 and all(map(callable, answer))):
        fact = _("Two functions are wanted, your answer is {answer}.", answer=shown(answer))
        raise NotYetError("not a pair", fact)


def _run(check: Check, answer: Any, cases: int, seed: int) -> None:
    for case in range(cases):
        _run_case(check, answer, [1_000 * seed + 100 * draw + case for draw in range(_DRAWS)])


def _run_case(check: Check, answer: Any, numbers: Sequence[int]) -> None:
    """Try one case, and again with the next number as long as it can fail by ill luck."""
    number, *others = numbers
    torch.manual_seed(number)
    try:
        check(answer, random.Random(number))
    except NotYetError as error:
        if error.cause not in _BY_ILL_LUCK or not others:
            raise
        _run_case(check, answer, others)


def _blame(error: Exception) -> tuple[str, str, str]:
    """Return the cause, what was seen and the line for an error that no check foresaw."""
    message = " ".join(f"{type(error).__name__}: {error}".split())
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}..."
    causes = (cause for pattern, cause in _ERRORS.items() if re.search(pattern, message))
    line = _students_line(error.__traceback__)
    if line:
        fact = _("Your code raised {message}", message=message)
        return next(causes, "error"), fact, line
    fact = _("The check could not use what your answer gave: {message}", message=message)
    return next(causes, "unusable"), fact, ""


def _students_line(trace: TracebackType | None) -> str:
    """Return the innermost line that is neither ours nor a library's, with its number."""
    for frame, number in reversed(list(traceback.walk_tb(trace))):
        file = frame.f_code.co_filename
        if not file.startswith((*_LIBRARIES, "<frozen")):
            return f"{number}: {linecache.getline(file, number, frame.f_globals).strip()}"
    return ""
