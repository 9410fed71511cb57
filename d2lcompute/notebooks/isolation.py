"""How well a kernel can be isolated here: the levels, what each lacks, and the limits.

A boxed kernel has no network, can read Python and the system's libraries and write to a private
folder, can reach no process but its own, is not root, cannot become it, and ends with all it
started. Four levels, best first:

* `bubblewrap` builds the box for an ordinary kernel;
* `namespaces`: the kernel builds the same box itself, the only way for a forked (warm) one;
* `landlock`, for containers that allow neither: the kernel gives up its rights to files, sockets
  and other processes for good. It still sees that those exist;
* `limits`: memory, processes, file size and time only. Files and the network are open to the
  student's code: it is not isolated.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .cgroup import find_place
from .sandbox import filter as syscalls
from .sandbox import linux
from .sandbox.box import SCRATCH, STUDENT, Box, masked
from .warm import send_request, start_server

LEVELS = ("bubblewrap", "namespaces", "landlock", "limits")
MB = 1 << 20
TRIAL_SECONDS = 120.0  # a busy machine is no reason to give up a level
KEPT_VARIABLES = (
    "PATH", "LANG", "LC_ALL", "TZ", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
)  # fmt: skip


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """What a kernel may use, boxed or not, before it is ended.

    >>> from d2lcompute.notebooks.isolation import Limits
    >>> Limits(seconds=60).seconds
    60

    `memory_mb` is for all processes and the files in the private folders together, `scratch_mb` for
    the files of each of the two; `processes` counts threads; `file_mb` is the size of one file;
    `output_mb` is for one cell; `seconds` are for all cells together, without the time that a busy
    machine makes them wait. Memory, processes and files are limited in a box only.
    """

    memory_mb: int = 2048
    processes: int = 256
    file_mb: int = 64
    scratch_mb: int = 256
    output_mb: float = 8.0
    seconds: float = 600.0


@dataclass(frozen=True)
class Isolation:
    """The level that was reached, and `missed`: why each better one was not."""

    level: str
    missed: Mapping[str, str]

    @property
    def isolated(self) -> bool:
        """Whether student code can reach neither files nor network nor other processes."""
        return self.level != "limits"

    @property
    def name(self) -> str:
        """The level, and how memory is limited, in words for a report."""
        place = find_place()
        return f"{self.level}, memory {f'by cgroup v{place.version}' if place else 'counted'}"

    @property
    def gaps(self) -> tuple[str, ...]:
        """What this level does not hold back, in words for a report."""
        found = []
        if not self.isolated:
            found += ["the network is open", "files of this user can be read and written"]
            found += ["other processes of this user can be seen and ended"]
        if self.level == "landlock":
            found += ["names, sizes and rights of files can be looked up"]
            found += ["what runs at the same time can be noticed"]
        if not syscalls.program():
            found.append("dangerous system calls are not filtered on this machine")
        return tuple(found)

    def box(self, limits: Limits) -> Box:
        """Return the walls for one kernel."""
        return Box(
            level=self.level,
            memory=limits.memory_mb * MB,
            processes=limits.processes,
            file=limits.file_mb * MB,
            scratch=limits.scratch_mb * MB,
            user=_spare_user() if _can_change_user() else None,
            show=shown() if self.isolated else {},
            links=links() if self.isolated else {},
        )


def clean_environment() -> dict[str, str]:
    """Return the environment that student code may see: no token, no secret, no name."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    kept |= {"USER": "student", "LOGNAME": "student", "PYTHONDONTWRITEBYTECODE": "1"}
    if PACKAGE.parent.name not in PACKAGE_FOLDERS:  # as from a checkout by PYTHONPATH
        kept["PYTHONPATH"] = str(PACKAGE.parent)
    return kept


def find_isolation(warm: bool = False) -> Isolation:
    """Return the best isolation that works here, each level tried by using it.

    `warm` prefers the level that a forked kernel can have. Raises `RuntimeError` with the reasons
    where not even limits can be set.
    """
    missed: dict[str, str] = {}
    bubblewrap, namespaces, *others = LEVELS
    for level in (namespaces, bubblewrap, *others) if warm else LEVELS:
        reason = why_not(level)
        if reason is None:
            return Isolation(level, missed)
        missed[level] = reason
    raise RuntimeError("; ".join(f"{level}: {reason}" for level, reason in missed.items()))


@functools.cache
def why_not(level: str) -> str | None:
    """Return why a level of the ladder cannot be had here, None where it works.

    >>> from d2lcompute.notebooks.isolation import why_not
    >>> why_not("ladder")
    Traceback (most recent call last):
    ValueError: `level` must be one of bubblewrap, namespaces, landlock, limits, got 'ladder'
    """
    if level not in LEVELS:
        raise ValueError(f"`level` must be one of {', '.join(LEVELS)}, got {level!r}")
    if sys.platform != "linux":
        return f"needs Linux, this is {sys.platform}"
    reason = _why_not_here(level)
    if reason is not None:
        return reason
    with tempfile.NamedTemporaryFile() as outside:
        Path(outside.name).chmod(0o644)
        hidden = [outside.name] if level != "limits" else []
        return _try(Isolation(level, {}).box(Limits()), hidden)


def _why_not_here(level: str) -> str | None:
    """Return what speaks against a level before it is tried."""
    changes_user = _can_change_user()
    if level in ("landlock", "limits") and changes_user and not _open_to_all(sys.executable):
        return f"root must become another user, and only root can read {sys.executable}"
    if level == "landlock":
        version = linux.landlock_version()
        wanted = 1 if changes_user else linux.HOLDS_SIGNALS
        if version < wanted:
            return f"needs version {wanted} of landlock, this Linux has {version or 'none'}"
        if not syscalls.program():
            return "system calls cannot be filtered on this machine"
    return None


def _open_to_all(path: str) -> bool:
    real = Path(path).resolve()
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (real, *real.parents))


def _try(box: Box, hidden: list[str]) -> str | None:
    """Raise the walls around a process that only looks for `hidden`; return why it failed."""
    request = {
        "box": asdict(box), "connection": None, "arguments": [], "folder": "",
        "environment": clean_environment() | {"HOME": "/tmp"}, "must_be_hidden": hidden,
    }  # fmt: skip
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as errors:
        request["folder"] = "/tmp" if box.has_own_root else folder
        if box.user is not None:
            os.chown(folder, box.user, box.user)
        try:
            prefix = wrapper(box) if box.level == "bubblewrap" else []
            process, server = start_server((), clean_environment(), prefix, errors)
        except OSError as error:
            return str(error)
        with process, server:
            # Where it ended at once, as bubblewrap does without permission, its own words say why.
            with contextlib.suppress(OSError):
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


def _can_change_user() -> bool:
    """Say whether this process is root, and there are other users that it may become."""
    return os.getuid() == 0 and _end_of_users() > 2


def _spare_user() -> int:
    """Return a user that nobody is, drawn anew: processes are counted by user."""
    end = _end_of_users()
    return end - 2 - secrets.randbelow(end // 2)


def _end_of_users() -> int:
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    return min(2**31, max(int(start) + int(count) for start, _, count in map(str.split, lines)))


def wrapper(box: Box) -> list[str]:
    """Return the command that runs another one in `box`.

    Who runs it is the first process inside and keeps its user: `sandbox.box.enter` sets the limits
    and changes the user. Raises `FileNotFoundError` where there is no bubblewrap that can limit
    the size of a folder in memory (it can since 0.5).
    """
    program = find_program()
    command = [program, "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts"]
    command += ["--as-pid-1", "--new-session", "--hostname", "box", "--cap-drop", "ALL"]
    if box.user is None:
        command += ["--unshare-user", "--uid", str(STUDENT), "--gid", str(STUDENT)]
    else:  # root: what it takes to become another user, and to see how much memory that one uses
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"):
            command += ["--cap-add", capability]
    command += ["--dev", "/dev", "--dev-bind", "/dev/full", "/dev/zero"]
    for folder in SCRATCH:
        command += ["--perms", "1777", "--size", str(box.scratch), "--tmpfs", folder]
    for folder in _parents(box.show):
        command += ["--perms", "755", "--dir", folder]
    for inside, outside in box.show.items():
        command += ["--ro-bind", outside, inside]
    for path, target in box.links.items():
        command += ["--symlink", target, path]
    command += ["--proc", "/proc"]
    for path in (f"/proc/{name}" for name in masked()):
        hide = ["--tmpfs", path, "--remount-ro", path]
        command += hide if Path(path).is_dir() else ["--dev-bind", "/dev/null", path]
    return [*command, "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def _parents(paths: Iterable[str]) -> list[str]:
    """Return the folders that hold `paths`, outermost first: root's bubblewrap makes them 700."""
    parents = (str(parent) for path in paths for parent in reversed(Path(path).parents))
    return [folder for folder in dict.fromkeys(parents) if folder not in ("/", *SCRATCH)]


@functools.cache
def find_program() -> str:
    """Return the path of a bubblewrap that can be used; raises `FileNotFoundError`."""
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    options = subprocess.run([program, "--help"], capture_output=True, check=False).stdout
    if b"--size" not in options:
        raise FileNotFoundError("bubblewrap is too old: it has no --size")
    return program


# Not all of /usr or of a prefix: people keep data there too, courses among it.
SYSTEM = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64",
    "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec",
    "/usr/share/fonts", "/usr/share/zoneinfo",
    *(f"/sys/devices/system/cpu/{name}" for name in ("online", "possible", "present")),
    "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
OF_A_PREFIX = ("bin", "lib", "lib32", "lib64", "pyvenv.cfg")
PACKAGE_FOLDERS = ("site-packages", "dist-packages")
PACKAGE = Path(__file__).absolute().parent.parent  # d2lcompute itself, wherever it lies


@functools.cache
def shown() -> dict[str, str]:
    """Return what a box shows, read-only: path inside -> path outside.

    >>> from d2lcompute.notebooks.isolation import shown
    >>> all(Path(outside).exists() for outside in shown().values())
    True
    """
    wanted = {path for path in _wanted() if path.exists()}
    wanted |= {path.resolve() for path in wanted if path.is_dir()}
    found: list[Path] = []
    for path in sorted(wanted, key=lambda path: (len(path.parts), path)):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return {str(path): str(path.resolve()) for path in found}


@functools.cache
def links() -> dict[str, str]:
    """Return the symbolic links that stand at the root, such as /lib -> usr/lib."""
    return {path: str(Path(path).readlink()) for path in SYSTEM if _is_root_link(Path(path))}


def is_hidden(path: str | os.PathLike[str]) -> bool:
    """Say whether a file or folder is out of sight for a boxed kernel.

    >>> from d2lcompute.notebooks.isolation import is_hidden
    >>> is_hidden(os.__file__), is_hidden("/etc/shadow")
    (False, True)
    """
    real = Path(path).resolve()
    return not any(real.is_relative_to(folder) for folder in shown().values())


def _wanted() -> Iterator[Path]:
    yield from (Path(path) for path in SYSTEM if not _is_root_link(Path(path)))
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        yield from (Path(prefix, part) for part in OF_A_PREFIX)
    yield from (Path(path) for path in sys.path if Path(path).name in PACKAGE_FOLDERS)
    yield PACKAGE


def _is_root_link(path: Path) -> bool:
    return len(path.parts) == 2 and path.is_symlink()
