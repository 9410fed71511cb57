"""One submission's run: the reference's cells in the reference's order, with its solutions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
from ..notebooks.kernel import Kernel
from . import payload
from .assignment import SOLUTION, Assignment, Cell
from .results import Work

# Nobody reads the tracebacks, and IPython takes long to format them. What answers is imported
# before the student's code can leave no memory for it.
PREPARE = """get_ipython().run_line_magic('xmode', 'Minimal')
__import__('d2lcompute.grading.answers')"""
SEEDED = "from d2lcompute.grading.answers import begin as _; _({seed})\n{source}"


class NoAnswerError(Exception):
    """A check gave no value; `words` are what the kernel said about it."""

    def __init__(self, reason: str, words: str = "") -> None:
        super().__init__(reason)
        self.words = words


class OwnCodeError(RuntimeError):
    """A cell was not run to its end though no code of the submission was there to prevent it."""


class Sitting:
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
        self._failed: dict[int, Work] = {}
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
            raise NoAnswerError("the kernel sent nonsense", _words(error)) from error
        except KernelError as error:
            raise NoAnswerError(f"no answer: {error}") from error
        return _value(result)

    def works(self) -> tuple[Work, ...]:
        """Return what became of each solution cell so far."""
        cells = enumerate(self.assignment.cells)
        return tuple(self._work(place, cell) for place, cell in cells if cell.tag == SOLUTION)

    def close(self) -> None:
        """End the kernel; the next check runs in a new one."""
        if self._kernel is not None:
            self._kernel.close()
        self._kernel = None
        self._position = 0
        self.has_seen_hidden = False

    def __enter__(self) -> Sitting:
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
                words = _words(result.error) if result else ""
            except NotebookTimeoutError:
                raise
            except KernelError as error:
                self._fatal.add(place)
                words = _words(error)
                private &= isinstance(error, ProtocolError)  # other messages are our own
            if words:
                self._failed.setdefault(place, Work(cell.id, "failed", words, private))

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

    def _work(self, place: int, cell: Cell) -> Work:
        if cell.id not in self.solutions:
            return Work(cell.id, "missing")
        if self.solutions[cell.id].split() == cell.stub.split():
            return Work(cell.id, "untouched")
        return self._failed.get(place, Work(cell.id, "done"))


def _value(result: Result) -> Any:
    if result.error is not None:
        raise NoAnswerError("the check ended in an error", _words(result.error))
    shown = [output.data for output in result.outputs if output.output_type == "display_data"]
    answers = [data[payload.MIME] for data in shown if payload.MIME in data]
    if len(answers) != 1:
        raise NoAnswerError("more than one answer was given" if answers else "no answer was given")
    try:
        return payload.decode(answers[0])
    except ValueError as error:
        raise NoAnswerError("no answer could be read", plain(str(error))) from error


def _words(error: CellError | KernelError | None) -> str:
    if isinstance(error, CellError):
        return plain(f"{error.name}: {error.text}")
    return plain(str(error)) if error else ""
