"""One submission's run: the reference's cells in the reference's order, with its solutions."""

from __future__ import annotations

import atexit
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..notebooks.cell import (
    CellError,
    KernelError,
    KernelKilledError,
    NotebookTimeoutError,
    ProtocolError,
    Result,
    plain,
)
from ..notebooks.isolation import Isolation, Limits, clean_environment, find_isolation
from ..notebooks.kernel import Kernel, start_kernel
from ..notebooks.warm import PRELOAD, NotWarmError, WarmProcess
from .answers import MIME, decode
from .assignment import SOLUTION, Assignment, Cell
from .results import Outcome

# Nobody reads the tracebacks, and IPython takes long to format them. What answers is imported
# before the student's code can leave no memory for it.
PREPARE = """get_ipython().run_line_magic('xmode', 'Minimal')
__import__('d2lcompute.grading.answers')"""
SEEDED = "from d2lcompute.grading.answers import begin as _; _({seed})\n{source}"


class NoAnswerError(Exception):
    """A check gave no value; `details` are what the kernel said about it."""

    def __init__(self, reason: str, details: str = "") -> None:
        super().__init__(reason)
        self.details = details


class OwnCodeError(RuntimeError):
    """A cell was not run to its end though no code of the submission was there to prevent it."""


class Attempt:
    """Runs the cells of an assignment with the solutions of one submission.

    `solutions` maps ids to source; `start` starts a kernel. A cell may take `seconds`, all
    together ten times as long. A cell that takes its kernel down costs itself alone: the others
    run again in a new kernel, as long as there is time. Where a kernel was killed, the cell itself
    has a second try: the machine may have run out of memory.
    """

    def __init__(
        self,
        assignment: Assignment,
        solutions: Mapping[str, str],
        start: Callable[[], Kernel],
        seconds: float,
    ) -> None:
        self.assignment = assignment
        self.solutions = solutions
        self.warm = True
        self.has_seen_hidden = False
        self._start = start
        self._seconds = seconds
        self._deadline = time.monotonic() + 10 * seconds
        self._kernel: Kernel | None = None
        self._position = 0
        self._failed: dict[int, Outcome] = {}
        self._fatal: set[int] = set()
        self._killed: set[int] = set()

    def ask(self, check: Cell, seed: int) -> Any:
        """Run what stands before `check`, then the check, and return its answer.

        Raises `NoAnswerError`; `OwnCodeError` and other `RuntimeError`s are not the submission's
        fault.
        """
        place = self.assignment.cells.index(check)
        result = None
        try:
            while result is None:
                self._advance(place)
                self.has_seen_hidden |= check.hidden
                result = self._run(place, SEEDED.format(seed=seed, source=check.source))
        except ProtocolError as error:
            raise NoAnswerError("the kernel sent nonsense", _details(error)) from error
        except KernelError as error:
            raise NoAnswerError(f"no answer: {error}") from error
        return _value(result)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what became of each solution cell so far."""
        cells = enumerate(self.assignment.cells)
        return tuple(self._outcome(place, cell) for place, cell in cells if cell.tag == SOLUTION)

    def close(self) -> None:
        """End the kernel; the next check runs in a new one."""
        if self._kernel is not None:
            self._kernel.close()
        self._kernel = None
        self._position = 0
        self.has_seen_hidden = False

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
        while self._position < end:
            place, cell = self._position, self.assignment.cells[self._position]
            self._position += 1
            if cell.is_check or place in self._fatal:
                continue
            private = self.has_seen_hidden
            try:
                result = self._run(place, self._source(cell))
                details = _details(result.error) if result else ""
            except NotebookTimeoutError:
                raise
            except KernelError as error:
                self._fatal.add(place)
                details = _details(error)
                private &= isinstance(error, ProtocolError)  # other messages are our own
            if details:
                self._failed.setdefault(place, Outcome(cell.id, "failed", details, private))

    def _run(self, place: int, code: str) -> Result | None:
        """Run a cell; None where its kernel was killed for the first time: all begins anew."""
        if time.monotonic() > self._deadline:
            self.close()
            raise NotebookTimeoutError(f"the notebook took longer than {10 * self._seconds:g} s")
        kernel = self._kernel or self._start_kernel()
        try:
            return kernel.run(code, self._seconds)
        except KernelError as error:
            if not kernel.is_alive():
                self.close()
            if isinstance(error, KernelKilledError) and place not in self._killed:
                self._killed.add(place)
                return None
            if not self._has_submitted_code(place):
                raise OwnCodeError(f"the assignment's own code failed: {error}") from error
            raise

    def _has_submitted_code(self, end: int) -> bool:
        """Whether a solution of the submission stands among the cells that run, up to `end`."""
        cells = enumerate(self.assignment.cells[: end + 1])
        return any(cell.id in self.solutions for place, cell in cells if place not in self._fatal)

    def _start_kernel(self) -> Kernel:
        try:
            self._kernel = kernel = self._start()
            kernel.run(PREPARE, self._seconds)
        except KernelError as error:  # not the submission's fault
            self.close()
            raise RuntimeError(f"a kernel could not be started: {error}") from error
        self.warm &= kernel.why_cold is None
        return kernel

    def _source(self, cell: Cell) -> str:
        return self.solutions.get(cell.id, "") if cell.tag == SOLUTION else cell.source

    def _outcome(self, place: int, cell: Cell) -> Outcome:
        if cell.id not in self.solutions:
            return Outcome(cell.id, "missing")
        if self.solutions[cell.id].split() == cell.stub.split():
            return Outcome(cell.id, "untouched")
        return self._failed.get(place, Outcome(cell.id, "done"))


def _value(result: Result) -> Any:
    if result.error is not None:
        raise NoAnswerError("the check ended in an error", _details(result.error))
    shown = [output.data for output in result.outputs if output.output_type == "display_data"]
    answers = [data[MIME] for data in shown if MIME in data]
    if len(answers) != 1:
        raise NoAnswerError("more than one answer was given" if answers else "no answer was given")
    try:
        return decode(answers[0])
    except ValueError as error:
        raise NoAnswerError("no answer could be read", plain(str(error))) from error


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
            f"student code can not be isolated on this machine ({reason}); "
            "do --allow-unisolated to run it with your rights"
        )

    @property
    def level(self) -> str:
        """The name of the isolation."""
        return self.isolation.level if self.isolation else "none"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What the isolation does not hold back."""
        return self.isolation.gaps if self.isolation else ("student code has all of your rights",)

    def start(self) -> Kernel:
        """Start a kernel; raises `KernelError`."""
        # Its clock must not ring first: a submission has one of its own, for all its kernels.
        limits = Limits(seconds=20 * self.seconds)
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
