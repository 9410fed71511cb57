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

from .memory import memory_in_use

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
