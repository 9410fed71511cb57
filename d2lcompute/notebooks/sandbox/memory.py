"""How much memory a box takes, on whatever way its processes took it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

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
