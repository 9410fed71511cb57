"""A process walls itself in, and leaves a guard outside the student's reach.

The guard is the first process of the box. It ends everything in the box when the kernel ends, when
too much memory is used, or when the grader goes away, and says on the status socket why.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import filter as syscalls
from . import linux, namespaces
from .guard import guard

OPEN_FILES = 1024


@dataclass(frozen=True)
class Box:
    """The walls of one kernel. Sizes are in bytes; `user` is whom root becomes, None keeps it.

    `show` maps paths inside to the paths outside that are seen there, `links` are symbolic links
    inside, and `scratch` is the size of the only writable folders.
    """

    rung: str
    memory: int
    processes: int
    file: int
    scratch: int
    user: int | None
    show: Mapping[str, str]
    links: Mapping[str, str]


def enter(box: Box, status: socket.socket, sockets: Sequence[int]) -> None:
    """Put this process into `box`; returns in a child, which may then run foreign code.

    `sockets` are the kernel's, closed in the processes around it. Raises `OSError` where the walls
    cannot be raised.
    """
    if box.rung == "namespaces":
        namespaces.leave_host()
        first = os.fork()
        if first:
            _close(sockets)
            _end_with(first, status)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        user = namespaces.STUDENT if box.user is None else box.user
        namespaces.build_root(box.show, box.links, user, box.scratch)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # or a student of the same user could trace the guard
    kernel = os.fork()
    if kernel:
        _close(sockets)
        guard(kernel, box.memory, () if box.rung == "limits" else namespaces.SCRATCH, status)
    _tighten(box)


def _end_with(child: int, status: socket.socket) -> None:
    status.close()
    os.waitpid(child, 0)
    os._exit(0)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _tighten(box: Box) -> None:
    os.setsid()
    if box.user is not None:
        os.setgroups([])
        os.setresgid(box.user, box.user, box.user)
        os.setresuid(box.user, box.user, box.user)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # changing the user clears it
    linux.drop_capabilities()
    _set_limits(box)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")  # the first to go
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    code = syscalls.program()
    if code:
        linux.install_filter(code)


def _set_limits(box: Box) -> None:
    import resource

    for limit, value in [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, box.file),
        (resource.RLIMIT_NPROC, box.processes + _threads_so_far()),
        (resource.RLIMIT_DATA, box.memory + _data_so_far()),
    ]:
        resource.setrlimit(limit, (value, value))


def _threads_so_far() -> int:
    """Return how many threads this user has: all of them count, those outside a box too."""
    user = os.getuid()
    mine = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    threads = 0
    for process in mine:
        with contextlib.suppress(OSError):
            if process.stat().st_uid == user:
                threads += len([*(process / "task").iterdir()])
    return threads


def _data_so_far() -> int:
    """Return the bytes of private data that this process has mapped, touched or not."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[5]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
