"""How well a kernel can be isolated here: the ladder, what each rung lacks, and the limits.

A boxed kernel has no network, sees Python and the system's libraries and can write to a private
folder in memory only, sees no process but its own, is not root, cannot become it, and ends with
all it started. Three rungs, best first:

* `bubblewrap` raises the walls for an ordinary kernel;
* `namespaces`: the kernel raises the same walls itself, the only way for a forked (warm) one;
* `limits`: memory, processes, file size and time only. Files and the network are open to the
  student's code: it is not isolated.
"""

from __future__ import annotations

import functools
import json
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .bubblewrap import wrapper
from .sandbox import filter as syscalls
from .sandbox.box import Box
from .servers import send_request, start_server
from .visible import links, shown

RUNGS = ("bubblewrap", "namespaces", "limits")
MB = 1 << 20
TRIAL_SECONDS = 20.0
KEPT_VARIABLES = (
    "PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a kernel may use, boxed or not, before it is ended.

    >>> from d2lcompute.notebooks.isolation import Limits
    >>> Limits(seconds=60).seconds
    60

    `memory_mb` is for all processes and the files in the private folders together, `scratch_mb` for
    the files of each of the two; `processes` counts threads; `file_mb` is the size of one file;
    `output_mb` is for one cell; `seconds` are wall-clock time from the start of the kernel to its
    end. Memory, processes and files are limited in a box only.
    """

    memory_mb: int = 2048
    processes: int = 256
    file_mb: int = 64
    scratch_mb: int = 256
    output_mb: float = 8.0
    seconds: float = 600.0


@dataclass(frozen=True)
class Isolation:
    """The rung that was reached, and `missed`: why each better one was not."""

    rung: str
    missed: Mapping[str, str]

    @property
    def isolated(self) -> bool:
        """Whether student code can reach neither files nor network nor other processes."""
        return self.rung != "limits"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What this rung does not hold back, in words for a report."""
        found = []
        if not self.isolated:
            found += ["the network is open", "files of this user can be read and written"]
            found += ["other processes of this user can be seen and ended"]
        if not syscalls.program():
            found.append("dangerous system calls are not filtered on this machine")
        return tuple(found)

    def box(self, limits: Limits) -> Box:
        """Return the walls for one kernel."""
        return Box(
            rung=self.rung,
            memory=limits.memory_mb * MB,
            processes=limits.processes,
            file=limits.file_mb * MB,
            scratch=limits.scratch_mb * MB,
            user=_spare_user() if os.getuid() == 0 else None,
            show=shown() if self.isolated else {},
            links=links() if self.isolated else {},
        )


def clean_environment() -> dict[str, str]:
    """Return the environment that student code may see: no token, no secret, no name."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"USER": "student", "LOGNAME": "student", "PYTHONDONTWRITEBYTECODE": "1"}


def find_isolation(warm: bool = False) -> Isolation:
    """Return the best isolation that works here, each rung tried by using it.

    `warm` prefers the rung that a forked kernel can have. Raises `RuntimeError` where not even
    limits can be set.
    """
    missed: dict[str, str] = {}
    for rung in ("namespaces", "bubblewrap", "limits") if warm else RUNGS:
        reason = why_not(rung)
        if reason is None:
            return Isolation(rung, missed)
        missed[rung] = reason
    reasons = "; ".join(f"{rung}: {reason}" for rung, reason in missed.items())
    raise RuntimeError(f"student code can not be held back on this machine ({reasons})")


@functools.cache
def why_not(rung: str) -> str | None:
    """Return why a rung of the ladder cannot be had here, None where it works.

    >>> from d2lcompute.notebooks.isolation import why_not
    >>> why_not("ladder")
    Traceback (most recent call last):
    ValueError: `rung` must be one of bubblewrap, namespaces, limits, got 'ladder'
    """
    if rung not in RUNGS:
        raise ValueError(f"`rung` must be one of {', '.join(RUNGS)}, got {rung!r}")
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    if rung == "limits" and os.getuid() == 0 and not _open_to_all(sys.executable):
        return "root must become another user, and only root can read this Python"
    with tempfile.NamedTemporaryFile() as outside:
        hidden = [outside.name] if rung != "limits" else []
        return _try(Isolation(rung, {}).box(Limits()), hidden)


def _open_to_all(path: str) -> bool:
    real = Path(path).resolve()
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (real, *real.parents))


def _try(box: Box, hidden: list[str]) -> str | None:
    """Raise the walls around a process that only looks for `hidden`; return why it failed."""
    request = {
        "box": asdict(box), "connection": None, "arguments": [], "folder": "/",
        "environment": clean_environment() | {"HOME": "/tmp"}, "must_be_hidden": hidden,
    }  # fmt: skip
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, tempfile.TemporaryFile() as errors:
        try:
            prefix = wrapper(box) if box.rung == "bubblewrap" else []
            process, server = start_server((), clean_environment(), prefix, errors)
        except OSError as error:
            return str(error)
        with process, server:
            send_request(server, request, theirs)
            theirs.close()  # or the end of all others could not be noticed
            ours.settimeout(TRIAL_SECONDS)
            try:
                words = ours.recv(1 << 16)
            except TimeoutError:
                process.kill()
                return f"no answer within {TRIAL_SECONDS:g} s"
        end = json.loads(words) if words else {"text": _last_line(errors)}
    return None if end.get("code") == 0 else str(end.get("text", end))


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "it ended without a word"


def _spare_user() -> int:
    """Return a user that nobody is, drawn anew: processes are counted by user."""
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    end = min(2**31, max(int(start) + int(count) for start, _, count in map(str.split, lines)))
    return end - 2 - secrets.randbelow(end // 2)
