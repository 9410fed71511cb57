"""One submission's attempt: the reference's cells in the reference's order, with its solutions."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..notebooks.cell import (
    CellError,
    CellTimeoutError,
    KernelDiedError,
    KernelError,
    MemoryLimitError,
    NotebookTimeoutError,
    ProtocolError,
    Result,
)
from ..notebooks.errors import plain
from ..notebooks.isolation import Isolation, Limits, clean_environment, find_isolation
from ..notebooks.kernel import Kernel, start_kernel
from ..notebooks.warm import PRELOAD, NotWarmError, WarmProcess
from .answers import MIME
from .assignment import SOLUTION, Assignment, Cell
from .results import Outcome
from .submissions import NEXT_CELL

# Before the student's code can leave no memory for it.
PREPARE = "from d2lcompute.grading.answers import prepare as _; _()"
PUT = "from d2lcompute.grading.answers import put as _; _({files!r})"
WATCH = "from d2lcompute.grading.rules import watch as _; _({answers!r})"
MODULE = "from d2lcompute.grading.answers import put_module as _; _({name!r}, {source!r})"
ASK = "from d2lcompute.grading.answers import ask as _; _({seeds}, {source!r}, {go_on})"
TRIES = 2
HAND_IN = "hand the file in together with the notebook"


class NoAnswerError(Exception):
    """A check gave no value; `details` are what the kernel said about it."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


class OwnCodeError(RuntimeError):
    """A cell was not run to its end though no code of the submission was there to prevent it."""


class Attempt:
    """Runs the cells of an assignment with the solutions of one submission.

    `solutions` maps ids to source; one that breaks a rule is not run. `start` starts a kernel.
    Checks that students see come first, in kernels that never see a hidden check; hidden ones run
    in new kernels.

    A cell may take `seconds`, all cells of a kernel together ten times as long (`total`). A cell
    that takes its kernel down costs itself alone: it has a second try in a new kernel, for who
    knows what else happened on the machine; then the others run without it.
    """

    def __init__(
        self,
        assignment: Assignment,
        solutions: Mapping[str, str],
        start: Callable[[], Kernel],
        seconds: float,
        total: float | None = None,
    ) -> None:
        self.assignment = assignment
        known = {
            name: _pieces(assignment.solutions[name], source)
            for name, source in solutions.items()
            if name in assignment.solutions
        }
        self._breaches = {name: assignment.find_breaches(name, known) for name in known}
        self.solutions = {name: solutions[name] for name in known if not self._breaches[name]}
        self.warm = True
        self.has_seen_hidden = False
        self.ran_out = False
        self._start = start
        self._seconds = seconds
        self._total = 10 * seconds if total is None else total
        self._spent = 0.0
        self._kernel: Kernel | None = None
        self._position = 0
        self._previous = -1
        self._failed: dict[int, Outcome] = {}
        self._fatal: set[int] = set()
        self._ends: Counter[int] = Counter()
        self._places = {cell.id: i for i, cell in enumerate(assignment.cells) if cell.is_check}

    def ask(self, check: Cell, seeds: Sequence[int], go_on: bool = False) -> list[object]:
        """Run what stands before `check`, then the check under each seed; return its answers.

        Nobody has read them yet. `seconds` are for as many draws as a check has. With `go_on` a
        draw that fails gives None, instead of ending all.

        Raises `NoAnswerError`; `OwnCodeError` and other `RuntimeError`s are not the submission's
        fault.
        """
        if check.hidden and not self.has_seen_hidden:
            self.finish()
            self.close()
            self.has_seen_hidden, self._spent = True, 0.0
        place, result = self._places[check.id], None
        code = ASK.format(seeds=list(seeds), source=check.source, go_on=go_on)
        try:
            while result is None:
                self._advance(place)
                result = self._run(place, code, math.ceil(len(seeds) / check.draws))
        except ProtocolError as error:
            raise NoAnswerError("the kernel sent nonsense", _details(error)) from error
        except KernelError as error:
            raise NoAnswerError(f"no answer: {error}") from error
        if result.error is not None and result.error.name == "MemoryError":
            self.close()  # which may still hold so much that nothing else would run in it
        return _read(result, len(seeds), go_on)

    def finish(self) -> None:
        """Run what stands behind the last check, so that each solution's outcome is known."""
        if not self.has_seen_hidden:
            try:
                self._advance(len(self.assignment.cells))
            except NotebookTimeoutError:
                return

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each solution, in kernels that had seen no hidden check."""
        cells = enumerate(self.assignment.cells)
        return tuple(self._outcome(place, cell) for place, cell in cells if cell.tag == SOLUTION)

    def failures(self) -> list[str]:
        """Return what failed of the assignment's own cells that are no checks, a line each."""
        return [
            f"the cell {self.assignment.cells[place].source.strip().partition(chr(10))[0][:40]!r} "
            f"failed: {outcome.details}"
            for place, outcome in sorted(self._failed.items())
            if self.assignment.cells[place].tag != SOLUTION
        ]

    def close(self) -> None:
        """End the kernel; the next check runs in a new one."""
        if self._kernel is not None:
            self._kernel.close()
        self._kernel, self._position, self._previous = None, 0, -1

    def __enter__(self) -> Attempt:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _advance(self, end: int) -> None:
        """Run the cells up to `end`; a new kernel begins with the first."""
        while self._position < end:
            place, cell = self._position, self.assignment.cells[self._position]
            self._position += 1
            if cell.is_check or place in self._fatal:
                continue
            for source in self._sources(cell):
                if self._position != place + 1 or place in self._fatal:
                    break  # all began anew, or goes on without this cell
                details = self._details_of(place, source)
                # What code says that could have seen a hidden check is kept from its student.
                if details and not self.has_seen_hidden:
                    self._failed.setdefault(place, Outcome(cell.id, "failed", details))

    def _details_of(self, place: int, source: str) -> str:
        """Run what is no check, and return what failed."""
        try:
            result = self._run(place, source)
        except NotebookTimeoutError:
            raise
        except KernelError as error:
            self._fatal.add(place)
            return _details(error)
        return _details(result.error) if result else ""

    def _run(self, place: int, code: str, times: int = 1) -> Result | None:
        """Run a cell; None where its kernel ended and all begins anew."""
        if self._spent > self._total:
            self.ran_out = True
            self.close()
            raise NotebookTimeoutError(f"the notebook took longer than {self._total:g} s")
        kernel = self._kernel or self._start_kernel()
        before = kernel.spent
        try:
            result = kernel.run(code, times * self._seconds)
        except KernelError as error:
            self.ran_out |= isinstance(error, CellTimeoutError)
            previous = self._previous
            if not kernel.is_alive():
                self.close()
            if self._begins_anew(error, place if error.began else previous):
                return None
            if not self._has_submitted_code(place):
                raise OwnCodeError(f"the assignment's own code failed: {error}") from error
            raise
        finally:
            self._spent += kernel.spent - before
        self._previous = place
        return result

    def _begins_anew(self, error: KernelError, culprit: int) -> bool:
        """Say whether the end of a kernel is no reason yet to give up the cell that was running.

        Where the kernel ended before that cell began, the one before it is the `culprit`: what it
        started ended the kernel a moment later.
        """
        if not isinstance(error, KernelDiedError) or isinstance(error, MemoryLimitError):
            return False
        self._ends[culprit] += 1
        if error.began:
            return self._ends[culprit] < TRIES
        if self._ends[culprit] >= TRIES and culprit >= 0:
            self._give_up(culprit, error)
        return self._ends[culprit] <= TRIES

    def _give_up(self, place: int, error: KernelError) -> None:
        cell = self.assignment.cells[place]
        if cell.tag == SOLUTION:
            self._fatal.add(place)
            if not self.has_seen_hidden:
                self._failed[place] = Outcome(cell.id, "failed", _details(error))

    def _has_submitted_code(self, end: int) -> bool:
        """Whether a solution of the submission stands among the cells that run, up to `end`."""
        cells = enumerate(self.assignment.cells[: end + 1])
        return any(cell.id in self.solutions for place, cell in cells if place not in self._fatal)

    def _start_kernel(self) -> Kernel:
        kernel = start_prepared(self._start, self.assignment, self._seconds, self.solutions)
        self._kernel, self.warm = kernel, self.warm and kernel.why_cold is None
        return kernel

    def _sources(self, cell: Cell) -> list[str]:
        if cell.tag != SOLUTION:
            return [cell.source]
        source = self.solutions.get(cell.id)
        return [] if source is None else to_run(cell, source)

    def _outcome(self, place: int, cell: Cell) -> Outcome:
        if self._breaches.get(cell.id):
            return Outcome(cell.id, "not allowed", "; ".join(self._breaches[cell.id]))
        if cell.id not in self.solutions:
            return Outcome(cell.id, "missing", HAND_IN if cell.module else "")
        if self.solutions[cell.id].split() == cell.stub.split():
            return Outcome(cell.id, "untouched")
        return self._failed.get(place, Outcome(cell.id, "done"))


def to_run(cell: Cell, source: str) -> list[str]:
    """Return the code that runs an answer, by cells: a module is written where it is imported."""
    if cell.module:
        return [MODULE.format(name=cell.id, source=source)]
    return _pieces(cell, source)


def _pieces(cell: Cell, source: str) -> list[str]:
    return [source] if cell.module else source.split(NEXT_CELL)


def watch_over(assignment: Assignment, answers: Mapping[str, str]) -> list[str]:
    """Return the code that has to run before answers to questions that forbid names, if any do."""
    watched: list[tuple[str, bool, dict[str, str]]] = []
    for name, source in answers.items():
        cell = assignment.solutions[name]
        if terms := assignment.not_to_be_called(name) if cell.forbids else {}:
            texts = [name] if cell.module else _pieces(cell, source)
            watched += [(text, cell.module, terms) for text in texts]
    return [WATCH.format(answers=watched)] if watched else []


def start_prepared(
    start: Callable[[], Kernel], assignment: Assignment, seconds: float, answers: Mapping[str, str]
) -> Kernel:
    """Start a kernel in which answers can be graded; raises `RuntimeError`."""
    try:
        with contextlib.ExitStack() as stack:
            kernel = stack.enter_context(start())
            kernel.run(PREPARE, seconds)
            for code in watch_over(assignment, answers):
                _run_ours(kernel, code, seconds)
            put_files(kernel, assignment, seconds)
            stack.pop_all()
    except KernelError as error:  # not the submission's fault
        raise RuntimeError(f"a kernel could not be started: {error}") from error
    return kernel


def put_files(kernel: Kernel, assignment: Assignment, seconds: float) -> None:
    """Write the assignment's files where a kernel's code runs; raises `RuntimeError`."""
    if assignment.files:
        _run_ours(kernel, PUT.format(files=dict(assignment.files)), seconds)


def _run_ours(kernel: Kernel, code: str, seconds: float) -> None:
    result = kernel.run(code, seconds)
    if result.error is not None:
        raise RuntimeError(f"a kernel could not be prepared: {_details(result.error)}")


def _read(result: Result, count: int, go_on: bool) -> list[object]:
    """Return the answers in what a check showed, in whatever form its kernel gave it."""
    if result.error is not None:
        raise NoAnswerError("the check ended in an error", _details(result.error))
    shown = [output.data for output in result.outputs if output.output_type == "display_data"]
    sent = [data[MIME] for data in shown if MIME in data]
    draws = _parse(sent[0]) if len(sent) == 1 else []
    counts = [len(draw) if isinstance(draw, list) else 0 for draw in draws]
    if len(sent) > 1 or max(counts, default=0) > 1:
        raise NoAnswerError("more than one answer was given")
    if len(counts) != count or (0 in counts and not go_on):
        raise NoAnswerError("no answer was given")
    return [draw[0] if many else None for draw, many in zip(draws, counts, strict=True)]


def _parse(text: object) -> list[Any]:
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("no answer could be read", plain(str(error))) from error
    return found if isinstance(found, list) else []


def _details(error: CellError | KernelError | None) -> str:
    if isinstance(error, CellError):
        return plain(f"{error.name}: {error.text}")
    return plain(str(error)) if error else ""


class NotIsolatedError(RuntimeError):
    """Student code can not be isolated here, and nobody allowed to run it all the same."""


@dataclass(frozen=True)
class Conditions:
    """Whether kernels are forked warm, must be isolated, and the seconds that a cell may take."""

    warm: bool = True
    allow_unisolated: bool = False
    seconds: float = 30.0

    @property
    def isolation(self) -> Isolation | None:
        """The best isolation of this machine, None where not even limits can be set.

        Raises `NotIsolatedError` where student code is not isolated and may not run all the same.
        """
        found, reason = None, ""
        try:
            found = find_isolation(self.warm)
            reason = "; ".join(f"{level}: {why}" for level, why in found.missed.items())
        except RuntimeError as error:
            reason = str(error)
        if self.allow_unisolated or (found and found.isolated):
            return found
        raise NotIsolatedError(
            f"student code can not be isolated here ({reason}); "
            "do --allow-unisolated to run it with your rights"
        )

    @property
    def level(self) -> str:
        """The name of the isolation, and how memory is limited."""
        return self.isolation.name if self.isolation else "none"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What the isolation does not hold back."""
        return self.isolation.gaps if self.isolation else ("student code has all of your rights",)

    def start(self) -> Kernel:
        """Start a kernel; raises `KernelError`."""
        limits = Limits(seconds=math.inf)  # an attempt has a clock of its own
        return start_kernel(self.isolation, _warm_process() if self.warm else None, limits)


@functools.cache
def _warm_process() -> WarmProcess | None:
    """Return this process's warm process, None where there can be none."""
    try:
        warm_process = WarmProcess((*PRELOAD, "d2lcompute.grading.answers"), clean_environment())
    except NotWarmError:
        return None
    atexit.register(warm_process.close)
    return warm_process
