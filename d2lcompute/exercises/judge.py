"""Judge an answer: run an exercise's checks on it, and find the cause of the first failure."""

from __future__ import annotations

import linecache
import random
import re
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from ..passes.random_states import random_states_kept
from ..words.language import _
from .exercise import Check, Exercise, NotYetError, expect
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
    r"same dtype|expected scalar type|did not match (Float|Double)": "two types",
    r"numpy\(\) on Tensor that requires grad": "numpy of a graph",
    r"(Missing|Unexpected) key|size mismatch|\d misfit": "keys",
    r"uninitialized parameter|UninitializedParameter": "still lazy",
    r"is not a Module subclass": "not called",
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
# What holds for a whole notebook: how it is read, and how it is set.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "torch.is_grad_enabled()": (torch.is_grad_enabled, torch.set_grad_enabled),
    "torch.get_default_dtype()": (torch.get_default_dtype, torch.set_default_dtype),
    "torch.get_default_device()": (torch.get_default_device, torch.set_default_device),
}


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
    cases = 0
    for claim, check in exercise.steps.items():
        try:
            _check_kind(exercise, answer)
            for case in range(exercise.cases):
                _run_case(check, answer, seed, case)
                cases += 1
        except Exception as error:
            if cases and _remembers(exercise, answer, seed):
                fact = _("What your code did at first, on the same inputs, it does no more.")
                return Verdict(tuple(passed), claim, "remembers", fact)
            return Verdict(tuple(passed), claim, *_blame(error))
        passed.append(claim)
    return Verdict(tuple(passed))


def _check_kind(exercise: Exercise, answer: Any) -> None:
    if answer is None:
        raise NotYetError("nothing given", _("Your answer is None."))
    if not exercise.pair:
        fact = _("A function, a class or a layer is wanted, your answer is {answer}.",
                 answer=shown(answer))  # fmt: skip
        expect(callable(answer), "nothing given", fact)
        return
    if not (isinstance(answer, tuple | list) and len(answer) == 2 and all(map(callable, answer))):
        fact = _("Two functions are wanted, your answer is {answer}.", answer=shown(answer))
        raise NotYetError("not a pair", fact)


def _run_case(check: Check, answer: Any, seed: int, case: int, draw: int = 0) -> None:
    """Try one case, and again with other numbers as long as it can fail by ill luck."""
    number = 1_000 * seed + 100 * draw + case
    try:
        with random_states_kept(), _settings_kept():
            torch.manual_seed(number)
            check(answer, random.Random(number))
    except NotYetError as error:
        if error.cause not in _BY_ILL_LUCK or draw + 1 == _DRAWS:
            raise
        _run_case(check, answer, seed, case, draw + 1)


def _remembers(exercise: Exercise, answer: Any, seed: int) -> bool:
    """Whether the very first case, which was passed, fails whenever it is tried again."""
    check = next(iter(exercise.steps.values()))
    for _again in range(_DRAWS):
        try:
            _run_case(check, answer, seed, 0)
        except Exception:
            continue
        return False
    return True


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Expect the settings of torch to be the same afterwards, and put them back."""
    before = {name: read() for name, (read, _set) in _SETTINGS.items()}
    try:
        yield
        for name, (read, _set) in _SETTINGS.items():
            found = read()
            fact = _("`{name}` gives {found} after your code, and {before} before it.",
                     name=name, found=found, before=before[name])  # fmt: skip
            expect(found == before[name], "setting changed", fact)
    finally:
        for name, (read, set_back) in _SETTINGS.items():
            if read() != before[name]:  # to set a default device costs each call of torch a look
                set_back(before[name])


def _blame(error: Exception) -> tuple[str, str, str]:
    """Return the cause, what was seen and the line, also for an error that no check foresaw."""
    if isinstance(error, NotYetError):
        return error.cause, error.fact, ""
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
