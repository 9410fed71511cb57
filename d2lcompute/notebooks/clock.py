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

    It stands still while the main thread of `kernel` could run and no core is free for it, or while
    that sleeps and another thread, which sends what came of it, waits for a core. But not where the
    processes below `root` keep all cores busy themselves; and it never goes slower than
    `MOST_WAITING` times. Where nobody knows who waits for a core, it is the wall's.
    """

    def __init__(self, root: int | None = None, kernel: int | None = None) -> None:
        self._root, self._kernel = root, kernel
        self._started = time.monotonic()
        self._before, self._others = _threads(kernel), 0.0
        self._used: float | None = None

    def elapsed(self) -> float:
        """Return the seconds so far."""
        wall = time.monotonic() - self._started
        if wall < AT_FIRST or self._root is None:
            return wall
        used = _work(self._root)
        if self._used is None:
            self._used = used
        busy = (used - self._used) / count_cores()
        return min(wall, max(self._own(wall), busy, wall / MOST_WAITING))

    def _own(self, wall: float) -> float:
        """Return how long the main thread ran, or slept while no other one waited for a core."""
        times = {}
        for name, now in _threads(self._kernel).items():
            before = self._before.get(name, (0.0, 0.0))
            times[name] = now[0] - before[0], now[1] - before[1]
        ran, waited = times.pop(str(self._kernel), (0.0, 0.0))
        # A thread takes along, when it ends, how long it waited.
        self._others = max(self._others, *(waits for _, waits in times.values()), 0.0)
        return ran + max(0.0, wall - ran - waited - self._others)


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


def _threads(process: int | None) -> dict[str, tuple[float, float]]:
    """Return the seconds that each thread of a process ran, and that it could have and did not."""
    found = {}
    with contextlib.suppress(OSError):
        for thread in Path("/proc", str(process), "task").iterdir():
            with contextlib.suppress(OSError, ValueError):  # one may end meanwhile
                ran, waited, *_ = (thread / "schedstat").read_bytes().split()
                found[thread.name] = int(ran) / 1e9, int(waited) / 1e9
    return found


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
