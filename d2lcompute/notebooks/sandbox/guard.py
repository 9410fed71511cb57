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


def guard(kernel: int, memory: int, scratch: Sequence[str], status: socket.socket) -> NoReturn:
    """Wait until the kernel process must end, say why on `status`, and leave no process behind.

    `memory` is the most, in bytes, for all that `memory_in_use` counts.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Python's handler would let it in
    end = _watch(kernel, memory, scratch, status)
    with contextlib.suppress(OSError):
        status.send(json.dumps(end).encode())
    if os.getpid() != 1:  # the end of a namespace's first process ends all others at once
        _kill_descendants()
    os._exit(0)


def _kill_descendants() -> None:
    while descendants := _descendants():
        for process in descendants:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        _reap()


def _watch(
    kernel: int, memory: int, scratch: Sequence[str], status: socket.socket
) -> dict[str, object]:
    while True:
        if select.select([status], [], [], PULSE)[0]:
            return {"end": "closed"}  # the grader closed its side, or is gone
        codes = _reap()
        if kernel in codes:
            return {"end": "exited", "code": codes[kernel]}
        if memory_in_use(_descendants(), scratch, enough=memory) > memory:
            return {"end": "memory"}


def _reap() -> dict[int, int]:
    """Collect the children that ended, orphans too: process -> exit code, negative for a signal."""
    codes = {}
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            codes[found[0]] = os.waitstatus_to_exitcode(found[1])
    return codes


def _descendants() -> list[int]:
    """Return the descendants of this process, parents before children, zombies too."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name, in parentheses, may hold anything; state and parent follow it.
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                parents[int(entry.name)] = int(fields[1])
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found[1:]


BYTES_PER_FILE = 1024
BYTES_PER_SOCKET = 212_992  # the most that waits in one unread


def memory_in_use(processes: Sequence[int], scratch: Sequence[str], enough: int) -> int:
    """Return the bytes that `processes` and the file systems in memory at `scratch` take.

    Forks share memory, and it takes time to count that once: it is done only where the quick
    answer is more than `enough`.
    """
    # Where the file systems are the host's the sockets are too, and cannot be told apart.
    shared = sum(map(_files, scratch)) + (_sockets() if scratch else 0)
    tables = sum(_field(process, "status", b"VmPTE") for process in processes)
    quick = sum(_field(process, "status", b"RssAnon", b"RssShmem") for process in processes)
    if shared + tables + quick <= enough:
        return shared + tables + quick
    exact = sum(_field(one, "smaps_rollup", b"Pss_Anon", b"Pss_Shmem") for one in processes)
    return shared + tables + (exact or quick)  # another user's memory may not be known exactly


def _files(folder: str) -> int:
    used = os.statvfs(folder)
    files = used.f_files - used.f_ffree
    return (used.f_blocks - used.f_bfree) * used.f_frsize + files * BYTES_PER_FILE


def _sockets() -> int:
    used = Path("/proc/net/sockstat").read_text(encoding="ascii").split()[2]
    return int(used) * BYTES_PER_SOCKET


def _field(process: int, file: str, *names: bytes) -> int:
    with contextlib.suppress(OSError):
        lines = Path("/proc", str(process), file).read_bytes().splitlines()
        return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(names))
    return 0
