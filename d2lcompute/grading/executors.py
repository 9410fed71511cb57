"""Where submissions are graded: processes on this machine, or a Dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import Connection


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
