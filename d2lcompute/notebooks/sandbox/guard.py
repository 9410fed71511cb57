"""The first process of a box: it watches the kernel, and nothing outlives it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

PULSE = 0.1
SLOW_PULSES = 10
MANY_PROCESSES = 16
BYTES_PER_FILE = 1536
BYTES_PER_SOCKET = 212_992  # the most that waits in one unread
# Of one descriptor by another: epoll's. It takes a fifth of that, but who is not root shares with
# the grader what a user may have of them.
BYTES_PER_WATCH = 1024
BYTES_PER_MAPPING = 200
BYTES_PER_PIPE = 8192  # of what a user may have beyond the first 64 MB in pipes
FREE_DESCRIPTORS = 2048


def guard(kernel: int, memory: int, counted: MemoryCount, status: socket.socket) -> NoReturn:
    """Wait until the kernel process must end, say why on `status`, and leave no process behind.

    `memory` is the most, in bytes, of what is `counted`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would let it in
    end = _watch(kernel, memory, counted, status)
    with contextlib.suppress(OSError):
        status.send(json.dumps(end).encode())
    if os.getpid() != 1:  # the end of a namespace's first process ends all others at once
        _kill_descendants()
    os._exit(0)


def _kill_descendants() -> None:
    while processes := descendants(os.getpid()):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _reap()


def _watch(
    kernel: int, memory: int, counted: MemoryCount, status: socket.socket
) -> dict[str, object]:
    while True:
        if select.select([status], [], [], PULSE)[0]:
            return {"end": "closed"}  # the grader closed its side, or is gone
        codes = _reap()
        if kernel in codes:
            return {"end": "exited", "code": codes[kernel]}
        if counted.bytes(descendants(os.getpid()), enough=memory) > memory:
            return {"end": "memory"}


def _reap() -> dict[int, int]:
    """Collect the children that ended, orphans too: process -> exit code, negative for a signal."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            codes[found[0]] = os.waitstatus_to_exitcode(found[1])
    return codes


def descendants(ancestor: int) -> list[int]:
    """Return the descendants of a process, parents before children, zombies too."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may hold anything; state and parent follow it.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = [ancestor]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


class MemoryCount:
    """Counts how much memory a box takes, in whatever way its processes took it.

    `scratch` are the box's own file systems in memory, `folder` is where it writes without them.
    What Linux charges to no process is counted by what it may hold: page tables, pipes, sockets,
    the records of mappings.
    """

    def __init__(self, scratch: Sequence[str] = (), folder: str | None = None) -> None:
        self._scratch, self._folder = scratch, folder
        self._slow, self._pulse = 0, 0

    def bytes(self, processes: Sequence[int], enough: int) -> int:
        """Return the bytes that `processes` and what they wrote take.

        Forks share memory, and it takes time to count that once: it is done only where the quick
        answer is more than `enough`.
        """
        states = [_status(process) for process in processes]
        tables, quick = (sum(state[place] for state in states) for place in (0, 1))
        descriptors = [state[2] for state in states]
        rest = tables + _held_by(descriptors)
        # Where the file systems are the host's the sockets are too, and cannot be told apart.
        rest += sum(map(_files, self._scratch)) + (_sockets() if self._scratch else 0)
        if self._pulse % SLOW_PULSES == 0:
            self._slow = _records(processes) + (_size(self._folder) if self._folder else 0)
        self._pulse += 1
        rest += self._slow
        if quick + rest <= enough:
            return quick + rest
        exact = sum(map(_proportional, processes))
        return rest + (exact or quick)  # another user's memory may not be known exactly


def _held_by(descriptors: Sequence[int]) -> int:
    """Return the bytes that the descriptors of processes may hold, where they are many."""
    many = max(0, sum(descriptors) - FREE_DESCRIPTORS)
    watches = sum((each // 2) ** 2 for each in descriptors) if many else 0
    return BYTES_PER_PIPE * many + BYTES_PER_WATCH * watches


def own_memory() -> int:
    """Return the bytes that this process takes."""
    return sum(_status(os.getpid())[:2])


def _status(process: int) -> tuple[int, int, int]:
    """Return the bytes of page tables and of memory of a process, and its descriptors."""
    found = {}
    for line in _lines(process, "status"):
        name, _, value = line.partition(b":")
        found[name] = value
    tables, private, shared, swapped, descriptors = (
        int(found.get(name, b"0").split()[0])
        for name in (b"VmPTE", b"RssAnon", b"RssShmem", b"VmSwap", b"FDSize")
    )
    return 1024 * tables, 1024 * (private + shared + swapped), descriptors


def _records(processes: Sequence[int]) -> int:
    """Return the bytes of the records of mappings: a few, unless there are many processes."""
    if len(processes) < MANY_PROCESSES:
        return 0
    return BYTES_PER_MAPPING * sum(len(_lines(process, "maps")) for process in processes)


def _proportional(process: int) -> int:
    """Return the bytes of a process, shared ones divided by those who share them."""
    lines = _lines(process, "smaps_rollup")
    wanted = (b"Pss_Anon", b"Pss_Shmem", b"SwapPss")
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(wanted))


def _lines(process: int, file: str) -> list[bytes]:
    try:
        return Path("/proc", str(process), file).read_bytes().splitlines()
    except OSError:
        return []


def _files(folder: str) -> int:
    used = os.statvfs(folder)
    files = used.f_files - used.f_ffree
    return (used.f_blocks - used.f_bfree) * used.f_frsize + files * BYTES_PER_FILE


def _size(folder: str) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += BYTES_PER_FILE + 512 * Path(top, name).lstat().st_blocks
    return total


def _sockets() -> int:
    used = Path("/proc/net/sockstat").read_text(encoding="ascii").split()[2]
    return int(used) * BYTES_PER_SOCKET
