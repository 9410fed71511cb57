"""Grade many submissions; one's fault never stops the rest."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial

from ..notebooks.cell import plain
from .assignment import Assignment
from .conditions import Conditions
from .journal import Journal
from .judge import expect
from .results import Result
from .submissions import Submission
from .worker import grade_submission

Task = Callable[[Submission], Result]


@dataclass(frozen=True)
class Progress:
    """How far a run is: `failures` could not be read or graded, `left` is in seconds."""

    done: int
    total: int
    failures: int
    left: float


@dataclass(frozen=True)
class Crew:
    """Who grades: `hire` gives an executor that takes up to `width` submissions at a time."""

    hire: Callable[[], AbstractContextManager[Executor]]
    width: int


def grade(
    assignment: Assignment,
    submissions: Sequence[Submission],
    journal: Journal,
    conditions: Conditions,
    crew: Crew,
    on_progress: Callable[[Progress], None],
) -> None:
    """Grade the submissions that `journal` does not have yet, and write their results into it.

    `on_progress` is called at the start and after each.

    Raises `AssignmentError` where the reference fails and `NotIsolatedError` as `Conditions` does,
    before anything is graded.
    """
    waiting = deque(each for each in submissions if not journal.has(each.name, each.digest))
    total, failures, start = len(waiting), 0, time.monotonic()
    on_progress(Progress(0, total, failures, 0.0))
    if not total:
        return
    results = _grade_all(assignment, waiting, conditions, crew)
    for done, result in enumerate(results, start=1):
        journal.add(result)
        failures += bool(result.fault or result.trouble)
        left = (time.monotonic() - start) / done * (total - done)
        on_progress(Progress(done, total, failures, left))


def _grade_all(
    assignment: Assignment, waiting: deque[Submission], conditions: Conditions, crew: Crew
) -> Iterator[Result]:
    """Yield results as they come. Who was being graded as a process died is graded again, alone."""
    suspects: deque[Submission] = deque()
    with ExitStack() as stack:
        executor = stack.enter_context(crew.hire())
        secret = secrets.token_hex(16)
        expected = executor.submit(expect, assignment, conditions, secret).result()
        task = partial(grade_submission, assignment, expected, conditions)
        while waiting or suspects:
            alone = bool(suspects)
            lost = yield from _run(executor, task, suspects or waiting, 1 if alone else crew.width)
            if lost is None:
                continue
            executor = stack.enter_context(crew.hire())
            if alone:
                yield from (_trouble(each, "the grading process died twice") for each in lost)
            else:
                suspects.extend(lost)


def _run(
    executor: Executor, task: Task, queue: deque[Submission], width: int
) -> Generator[Result, None, list[Submission] | None]:
    """Empty `queue`; where the executor breaks, return the submissions that were being graded."""
    running: dict[Future[Result], Submission] = {}
    while queue or running:
        while queue and len(running) < width:
            try:
                running[executor.submit(task, queue[0])] = queue[0]
            except BrokenExecutor:
                return list(running.values())
            queue.popleft()
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        lost = []
        for future in done:
            submission, error = running.pop(future), future.exception()
            if isinstance(error, BrokenExecutor):
                lost.append(submission)
            elif error is not None:
                yield _trouble(submission, f"{type(error).__name__}: {error}")
            else:
                yield future.result()
        if lost:
            return [*lost, *running.values()]
    return None


def _trouble(submission: Submission, reason: str) -> Result:
    return Result(submission.name, submission.digest, trouble=plain(reason))
