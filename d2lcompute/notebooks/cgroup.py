"""A control group for each box, where one can be made: then Linux itself limits its memory.

The guard of a box counts, and says what was too much; the group, which is given a quarter more,
holds what no count sees, such as what Linux keeps for a process in its own memory.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "d2lcompute-"
END_SECONDS = 5.0
# The counts, by version, that say that a group came to its limit and that a process was ended.
SHORTAGE = {
    1: (("memory.failcnt", ""), ("memory.oom_control", "oom_kill")),
    2: (("memory.events", "oom"), ("memory.events", "oom_kill")),
}


@dataclass(frozen=True)
class Group:
    """A group of processes, in a tree of `version` 1 or 2."""

    folder: Path
    version: int

    def limit(self, memory: int, processes: int) -> None:
        """Limit the bytes of all its processes, and where it can how many there are.

        Raises `OSError`.
        """
        if self.version == 1:
            self._write("memory.limit_in_bytes", memory)  # what is swapped out is counted
        else:
            self._write("memory.max", memory)
            self._write_if_there("memory.swap.max", 0)
            self._write_if_there("memory.oom.group", 1)
            self._write_if_there("pids.max", processes)

    def add(self, process: int) -> None:
        """Move a process into the group, where its children will be too; raises `OSError`."""
        self._write("cgroup.procs", process)

    def has_killed(self) -> bool:
        """Say whether Linux ended a process of the group since there was no memory left in it.

        Where the whole machine has none left, that is no fault of the group.
        """
        with contextlib.suppress(OSError):
            return all(self._count(*each) for each in SHORTAGE[self.version])
        return False

    def remove(self) -> None:
        """Remove the group, and end what may be left in it."""
        deadline = time.monotonic() + END_SECONDS
        while not _removed(self.folder) and time.monotonic() < deadline:
            self._kill()
            time.sleep(0.001)

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if self.version == 2:
                self._write_if_there("cgroup.kill", 1)
            for line in (self.folder / "cgroup.procs").read_text(encoding="ascii").split():
                os.kill(int(line), signal.SIGKILL)

    def _count(self, file: str, name: str) -> int:
        words = (self.folder / file).read_text(encoding="ascii").split()
        return int(words[words.index(name) + 1 if name else 0])

    def _write(self, file: str, value: int) -> None:
        # Never a new file: outside of a tree of groups there is none.
        with (self.folder / file).open("r+", encoding="ascii") as opened:
            opened.write(str(value))

    def _write_if_there(self, file: str, value: int) -> None:
        with contextlib.suppress(OSError):
            self._write(file, value)


def group_of(process: int, memory: int, processes: int) -> Group | None:
    """Return a new group that holds `process` alone; None where no group can be made.

    It may have a quarter more than so many bytes of `memory` and `processes`.
    """
    place = find_place()
    return place and _make(place, process, memory + memory // 4, processes + processes // 4)


@functools.cache
def find_place() -> Group | None:
    """Return the group in which this process may make others, None where it may not.

    It is tried with a process. What a grader that was killed has left there is removed.
    """
    for place in _places(Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")):
        _sweep(place.folder)
        with (
            contextlib.suppress(OSError),
            subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process,
        ):  # it ends with its input
            group = _make(place, process.pid, 1 << 30, 16)
            process.communicate()
            if group is not None:
                group.remove()
                return place
    return None


def _make(place: Group, process: int, memory: int, processes: int) -> Group | None:
    # A box can read its name, which must not tell how many there were before.
    folder = place.folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    group = Group(folder, place.version)
    try:
        folder.mkdir()
        group.limit(memory, processes)
        group.add(process)
    except OSError:
        _removed(folder)
        return None
    return group


def _removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def _sweep(folder: Path) -> None:
    """Remove the groups of graders that are gone, before the first of this one."""
    for group in folder.glob(f"{PREFIX}*"):
        owner = group.name.removeprefix(PREFIX).partition("-")[0]
        if owner == str(os.getpid()) or not Path("/proc", owner).exists():
            _removed(group)


def _places(own: Path, mounts: Path) -> Iterator[Group]:
    """Yield the groups in which one with a limit of memory might be made, nearest first.

    In the first version that is the own group; in the second, a group with processes cannot hand
    memory on, and the one around it can. `own` and `mounts` are files of /proc.
    """
    paths: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            paths |= dict.fromkeys(controllers.split(","), path)
    for kind, options, root, mounted in _trees(mounts):
        controller = "memory" if kind == "cgroup" else ""  # the second version has one tree
        path = paths.get(controller, "")
        if controller not in ("", *options) or not _is_below(path, root):
            continue
        folder = Path(mounted, os.path.relpath(path, root))
        if kind == "cgroup":
            yield Group(folder, 1)
        else:
            nearest = (each for each in (folder, folder.parent) if _hands_memory_on(each))
            yield from (Group(each, 2) for each in nearest)


def _trees(mounts: Path) -> Iterator[tuple[str, list[str], str, str]]:
    with contextlib.suppress(OSError):
        for line in mounts.read_text(encoding="utf-8").splitlines():
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            if kind in ("cgroup", "cgroup2"):
                root, mounted = before.split(" ")[3:5]
                yield kind, options.split(","), root, mounted


def _is_below(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _hands_memory_on(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return "memory" in (folder / "cgroup.subtree_control").read_text(encoding="ascii").split()
    return False
