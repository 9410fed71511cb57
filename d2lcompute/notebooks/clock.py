"""How long a cell has run: the time that a busy machine makes it wait does not count."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .isolation import count_cores
from .sandbox.guard import descendants

AT_FIRST = 1.0
MOST_WAITING = 20


class Clock:
    """Counts the seconds since it was started, as the process of the kernel sees them.

    It stands still while a thread of `kernel` could run and no core is free for it (one computes,
    another sends what comes of it), but not where the processes below `root` keep all cores busy
    themselves; and it never goes slower than `MOST_WAITING` times. Where nobody knows who waits for
    a core, it is the wall's.
    """

    def __init__(self, root: int | None = None, kernel: int | None = None) -> None:
        self._root, self._kernel = root, kernel
        self._started = time.monotonic()
        self._before, self._waited = _waiting(kernel), 0.0
        self._used: float | None = None

    def elapsed(self) -> float:
        """Return the seconds so far."""
        wall = time.monotonic() - self._started
        if wall < AT_FIRST or self._root is None:
            return wall
        used = _work(self._root)
        if self._used is None:
            self._used = used
        # A thread takes along, when it ends, how long it waited.
        self._waited = max(self._waited, _waiting(self._kernel) - self._before)
        busy = (used - self._used) / count_cores()
        return min(wall, max(wall - self._waited, busy, wall / MOST_WAITING))


def find_kernel(root: int, generations: int) -> int | None:
    """Return the process that is so many generations below `root`, None where nobody knows."""
    process = root
    for _ in range(generations):
        try:
            path = Path("/proc", str(process), "task", str(process), "children")
            process = int(path.read_text(encoding="ascii").split()[0])
        except (OSError, IndexError):
            return None
    return process


def _waiting(process: int | None) -> float:
    """Return the seconds that the threads of a process could have run and did not, added up."""
    nanoseconds = 0
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(process), "task").iterdir():
            with contextlib.suppress(OSError, IndexError):  # one may end meanwhile
                nanoseconds += int((thread / "schedstat").read_bytes().split()[1])
    return nanoseconds / 1e9


def _work(root: int) -> float:
    """Return the processor time of a process and its descendants, in seconds."""
    ticks = 0
    for process in (root, *descendants(root)):
        try:
            stat = Path("/proc", str(process), "stat").read_bytes()
        except OSError:
            continue
        # The name, in parentheses, may hold anything.
        ticks += sum(map(int, stat.rpartition(b")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
