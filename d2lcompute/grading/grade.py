"""Grade many submissions; one's fault never stops the rest."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
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
from functools import partial
from multiprocessing.connection import Connection

from ..notebooks.cell import plain
from ..notebooks.isolation import count_cores
from .assignment import Assignment
from .attempt import Conditions
from .judge import expect, grade_submission
from .results import Journal, Result
from .submissions import Submission

Task = Callable[[Submission], Result]


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
    results = _grade_all(assignment, waiting, conditions, workers)
    for done, result in enumerate(results, start=1):
        journal.add(result)
        failures += bool(result.fault or result.trouble)
        left = (time.monotonic() - start) / done * (total - done)
        on_progress(Progress(done, total, failures, left))


def _grade_all(
    assignment: Assignment, waiting: deque[Submission], conditions: Conditions, workers: Workers
) -> Iterator[Result]:
    """Yield results as they come. Who was being graded as a process died is graded again, alone."""
    suspects: deque[Submission] = deque()
    with ExitStack() as stack:
        executor = stack.enter_context(workers.start())
        secret = secrets.token_hex(16)
        expected = executor.submit(expect, assignment, conditions, secret).result()
        task = partial(grade_submission, assignment, expected, conditions)
        while waiting or suspects:
            alone = bool(suspects)
            lost = yield from _run(
                executor, task, suspects or waiting, 1 if alone else workers.width
            )
            if lost is None:
                continue
            executor = stack.enter_context(workers.start())
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


def _begin(watched: Connection, threads: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who waits for the results
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()


def _end_with_parent(watched: Connection) -> None:
    with contextlib.suppress(OSError):
        watched.poll(None)
    os._exit(1)
