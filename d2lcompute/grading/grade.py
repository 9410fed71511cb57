"""Grade many submissions, where one's fault never stops the rest; grade one again, as it was."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from ..notebooks.errors import plain
from ..notebooks.isolation import count_cores
from .assignment import Assignment, load
from .attempt import Conditions
from .formats import write
from .judge import Expected, Seeds, draw_seeds, expect, grade_submission
from .results import Journal, Mark, Result
from .submissions import Submission

CHUNK = 25  # submissions whose seeds one run of the reference answers


@dataclass(frozen=True)
class Progress:
    """How far a run is: `failures` could not be read or graded, `left` is in seconds."""

    done: int
    total: int
    failures: int
    left: float


@dataclass(frozen=True)
class Workers:
    """Who grades: `start` gives an executor that takes up to `width` submissions at a time."""

    start: Callable[[], AbstractContextManager[Executor]]
    width: int


def grade(
    assignment: Assignment,
    submissions: Sequence[Submission],
    journal: Journal,
    conditions: Conditions,
    workers: Workers,
    on_progress: Callable[[Progress], None],
    only: Sequence[str] = (),
    force: bool = False,
) -> None:
    """Grade what `journal` does not have yet of the submissions, and write the results into it.

    That is all of a new or changed submission, what changed in the assignment, and who ran out of a
    limit that is longer now; of these, `only` some questions if there are any; with `force` also
    what the journal has. `on_progress` is called at the start and after each.

    Raises `AssignmentError` where the reference fails and `NotIsolatedError` as `Conditions` does.
    """
    chosen = tuple(only or assignment.versions)
    left = {
        each.name: chosen if force else journal.left(each.name, each.digest, conditions.seconds)
        for each in submissions
    }
    wanted = {name: tuple(each for each in left[name] if each in chosen) for name in left}
    waiting = deque(each for each in submissions if wanted[each.name])
    partial = {name: some for name, some in wanted.items() if some != tuple(assignment.versions)}
    total, failures, start = len(waiting), 0, time.monotonic()
    on_progress(Progress(0, total, failures, 0.0))
    if not total:
        return
    task = _Task(assignment, conditions, secrets.token_hex(16), partial)
    results = _grade_all(task, waiting, workers)
    for done, result in enumerate(results, start=1):
        journal.add(result)
        failures += bool(result.fault or result.trouble)
        seconds = (time.monotonic() - start) / done * (total - done)
        on_progress(Progress(done, total, failures, seconds))


@dataclass(frozen=True)
class _Task:
    """What a worker is asked to do; `key` is the run's secret, from which all seeds follow.

    `partial` names the checks of those submissions of which only some are wanted.
    """

    assignment: Assignment
    conditions: Conditions
    key: str
    partial: Mapping[str, Sequence[str]]

    def expect(self, submissions: Sequence[Submission]) -> list[Expected]:
        return expect(self.assignment, self.conditions, [self._seeds(each) for each in submissions])

    def _seeds(self, submission: Submission) -> Seeds:
        seeds = draw_seeds(self.assignment, self.key, submission)
        wanted = self.partial.get(submission.name, seeds)
        return {check: seeds[check] for check in seeds if check in wanted}

    def grade(self, submission: Submission, expected: Expected) -> Result:
        return grade_submission(self.assignment, self.conditions, submission, expected)


def _grade_all(task: _Task, waiting: deque[Submission], workers: Workers) -> Iterator[Result]:
    """Yield results as they come.

    Where a process dies, the submissions that were being graded are graded again, each alone.
    """
    suspects: deque[Submission] = deque()
    with ExitStack() as stack:
        while waiting or suspects:
            executor = stack.enter_context(workers.start())
            if suspects:
                lost = yield from _Run(executor, task, suspects, width=1, chunk=1).results()
                yield from (_trouble(each, "the grading process died twice") for each in lost)
            else:
                suspects.extend((yield from _Run(executor, task, waiting, workers.width).results()))


class _Run:
    """Empties `queue` with an executor, or until that breaks.

    The reference answers the seeds of some submissions ahead, while others are graded.
    """

    def __init__(
        self,
        executor: Executor,
        task: _Task,
        queue: deque[Submission],
        width: int,
        chunk: int = CHUNK,
    ) -> None:
        self.executor, self.task, self.queue, self.width = executor, task, queue, width
        self.chunk = min(chunk, math.ceil(len(queue) / width))
        self.asked: dict[Future[list[Expected]], list[Submission]] = {}
        self.ready: deque[tuple[Submission, Expected]] = deque()
        self.graded: dict[Future[Result], Submission] = {}

    def results(self) -> Generator[Result, None, list[Submission]]:
        """Yield results; return the submissions that were being graded as the executor broke."""
        try:
            while self.queue or self.asked or self.ready or self.graded:
                self._submit()
                futures: list[Future[Any]] = [*self.asked, *self.graded]
                done, _ = wait(futures, return_when=FIRST_COMPLETED)
                for future in done & self.asked.keys():
                    answers = future.result()
                    self.ready.extend(zip(self.asked.pop(future), answers, strict=True))
                for future in done & self.graded.keys():
                    yield self._result(future)
        except BrokenExecutor:
            waiting = [each for each, _ in self.ready]
            waiting += [each for submissions in self.asked.values() for each in submissions]
            # With nobody being graded, the reference itself took the process down.
            if not self.graded:
                return waiting
            self.queue.extendleft(reversed(waiting))
        return list(self.graded.values())

    def _submit(self) -> None:
        ahead = len(self.ready) + sum(map(len, self.asked.values()))
        while self.queue and ahead < self.width * self.chunk:
            size = min(self.chunk, len(self.queue))
            submissions = [self.queue[number] for number in range(size)]
            self.asked[self.executor.submit(self.task.expect, submissions)] = submissions
            for _ in submissions:
                self.queue.popleft()
            ahead += size
        while self.ready and len(self.graded) < self.width:
            submission, expected = self.ready[0]
            future = self.executor.submit(self.task.grade, submission, expected)
            self.graded[future] = submission
            self.ready.popleft()

    def _result(self, future: Future[Result]) -> Result:
        error = future.exception()
        if isinstance(error, BrokenExecutor):
            raise error
        submission = self.graded.pop(future)
        return (
            _trouble(submission, f"{type(error).__name__}: {error}") if error else future.result()
        )


def _trouble(submission: Submission, reason: str) -> Result:
    return Result(submission.name, submission.digest, trouble=plain(reason))


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """Give an executor over `jobs` processes, which end with the `with` block or this process."""
    context = multiprocessing.get_context("spawn")  # a fork of torch's threads would hang
    watched, held = context.Pipe(duplex=False)
    threads = max(1, count_cores() // jobs)
    executor = ProcessPoolExecutor(jobs, context, _begin, (watched, threads))
    try:
        yield executor
        executor.shutdown()
    finally:
        held.close()
        executor.shutdown(cancel_futures=True)
        watched.close()


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Executor]:
    """Give an executor over the Dask cluster whose scheduler is at `address`.

    A task whose worker dies is given to another one. Raises `OSError` where nobody answers.
    """
    from distributed import Client

    with Client(address) as client, client.get_executor(pure=False) as executor:
        yield executor


def count_threads(address: str) -> int:
    """Return how much the Dask cluster at `address` does at once; raises `OSError` as `cluster`."""
    from distributed import Client

    with Client(address) as client:
        return sum(client.ncores().values()) or 1


def _begin(watched: Connection, threads: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who waits for the results
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()


def _end_with_parent(watched: Connection) -> None:
    with contextlib.suppress(OSError):
        watched.poll(None)
    os._exit(1)


KEPT = "reference"


@dataclass(frozen=True)
class Again:
    """The mark of one check as it was, and as it is again under the same seeds."""

    before: Mark
    now: Mark

    @property
    def agrees(self) -> bool:
        """Whether it is the same mark for the same reason."""
        return (self.before.passed, self.before.reason) == (self.now.passed, self.now.reason)

    def __str__(self) -> str:
        mark, seeds = self.before, ", ".join(map(str, self.before.seeds))
        told = f"{mark.check}: {mark.automatic:g} of {mark.points:g}, {mark.reason or 'passed'}"
        if self.agrees:
            return f"{told}; the same again (seeds {seeds})"
        return f"{told}; now {self.now.automatic:g}, {self.now.reason or 'passed'} (seeds {seeds})"


def keep_reference(reference: Path, assignment: Assignment, folder: Path) -> Path:
    """Keep a copy of the reference and what lies beside it with the results; return its path."""
    for name, content in assignment.beside_reference.items():
        path = folder / KEPT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    text = reference.read_text(encoding="utf-8")
    return write(folder / KEPT / f"{KEPT}{reference.suffix}", text)


def find_reference(folder: Path, journal: Journal) -> Assignment:
    """Return the assignment that the results in `folder` are for.

    Raises `ValueError` where no reference is kept there, or another one.
    """
    for path in sorted(Path(folder, KEPT).glob(f"{KEPT}.*")):
        assignment = load(path)
        if assignment.digest == journal.heading.assignment:
            return assignment
    raise ValueError(
        f"`results` must hold the reference that they were made with, got {folder}, which has "
        "none; do grade again, which keeps it"
    )


def replay(assignment: Assignment, conditions: Conditions, result: Result) -> Iterator[Again]:
    """Yield each check's mark and the same mark made again, from the answers that were kept.

    Raises `ValueError` where the submission could not be read or graded, `RuntimeError` for trouble
    that is not its fault.
    """
    if result.fault or result.trouble:
        raise ValueError(
            f"`student` must have been graded, got {result.submission}: "
            f"{result.fault or result.trouble}"
        )
    answers = {
        name: result.sources[name] for name in result.sources if name in assignment.solutions
    }
    before = {mark.check: mark for mark in result.marks if mark.seeds}
    seeds = {check: before[check].seeds for check in assignment.checks if check in before}
    (expected,) = expect(assignment, conditions, [seeds])
    submission = Submission(result.submission, answers)
    again = grade_submission(assignment, conditions, submission, expected)
    if again.trouble:
        raise RuntimeError(again.trouble)
    yield from (Again(before[mark.check], mark) for mark in again.marks if mark.check in before)
