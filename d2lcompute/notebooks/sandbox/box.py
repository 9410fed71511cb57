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
from . import linux
from .guard import MemoryCount, guard

SIGNALS = 1024
# Who is not root shares with the grader what a user may have on the way between processes, which is
# as many as one may open; a grader may mostly open 1,024.
OPEN_FILES = 512


@dataclass(frozen=True)
class Box:
    """The walls of one kernel. Sizes are in bytes; `user` is whom root becomes, None keeps it.

    `show` maps paths inside to the paths outside that are seen there, `links` are symbolic links
    inside, and `scratch` is the size of the only writable folders.
    """

    level: str
    memory: int
    processes: int
    file: int
    scratch: int
    user: int | None
    show: Mapping[str, str]
    links: Mapping[str, str]

    @property
    def has_own_root(self) -> bool:
        """Whether the file system inside is another one."""
        return self.level in ("bubblewrap", "namespaces")


def enter(box: Box, folder: str, status: socket.socket, sockets: Sequence[int]) -> None:
    """Put this process into `box`; returns in a child, which may then run foreign code.

    `folder` is where it may write on a level without a file system of its own. `sockets` are the
    kernel's, closed in the processes around it. Raises `OSError` where the walls cannot be raised.
    """
    if box.level == "namespaces":
        _leave_host(as_user=box.user is None)
        first = os.fork()
        if first:
            _close(sockets)
            _end_with(first, status)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        user = STUDENT if box.user is None else box.user
        _build_root(box.show, box.links, user, box.scratch)
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # or a student of the same user could trace the guard
    kernel = os.fork()
    if kernel:
        _close(sockets)
        counted = MemoryCount(SCRATCH) if box.has_own_root else MemoryCount(folder=folder)
        guard(kernel, box.memory, counted, status)
    _tighten(box, folder)


def _end_with(child: int, status: socket.socket) -> None:
    status.close()
    os.waitpid(child, 0)
    os._exit(0)


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


def _tighten(box: Box, folder: str) -> None:
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
    if box.level == "landlock":
        devices = [f"/dev/{name}" for name in DEVICES]
        linux.restrict_files([*box.show, *PROCESS_FILES], [folder, *devices])
    code = syscalls.program(beside_others=box.level == "landlock")
    if code:
        _remember_memory()
        linux.install_filter(code)


def _remember_memory() -> None:
    """Keep the size of the machine's memory, which no call tells any more, for who asks Python."""
    pages = os.sysconf_names["SC_PHYS_PAGES"], os.sysconf_names["SC_AVPHYS_PAGES"]
    ask, size = os.sysconf, os.sysconf("SC_PHYS_PAGES")

    def sysconf(name: str | int, /) -> int:
        return size if os.sysconf_names.get(str(name), name) in pages else ask(name)

    os.sysconf = sysconf


def _set_limits(box: Box) -> None:
    import resource

    for limit, value in [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),  # what a socket holds without a copy counts for it
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_SIGPENDING, SIGNALS),  # and timers
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


NEW_MOUNTS, NEW_HOSTNAME, NEW_IPC = 0x20000, 0x4000000, 0x8000000
NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
DEVICES = ("null", "full", "random", "urandom")
# What can be read of /proc without one's own: of this process, and of the machine.
PROCESS_FILES = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version")
# What stays of /proc in one's own; the rest tells of all that runs on the machine.
OF_NOBODY = {"cmdline", "cpuinfo", "devices", "filesystems", "version"}
OF_ITSELF = {"self", "thread-self", "mounts", "net"}
MEMORY, MEMORY_TEXT = "/.memory", "MemTotal: {0} kB\nMemFree: {0} kB\nMemAvailable: {0} kB\n"
SCRATCH = ("/tmp", "/dev/shm")
STUDENT = 1000
TERMINALS = 64
HOST = "/host"


def _leave_host(as_user: bool) -> None:
    """Enter new namespaces; the next child is the first process of its own process namespace.

    An ordinary user needs a user namespace for it. Root does not: there, foreign code loses root
    for good by becoming another user.
    """
    user, group = os.getuid(), os.getgid()
    new = NEW_MOUNTS | NEW_HOSTNAME | NEW_IPC | NEW_PROCESSES | NEW_NETWORK
    if not as_user:
        linux.unshare(new)
        return
    linux.unshare(new | NEW_USER)
    for name, text in [
        ("setgroups", "deny"),
        ("uid_map", f"{STUDENT} {user} 1"),
        ("gid_map", f"{STUDENT} {group} 1"),
    ]:
        Path("/proc/self", name).write_text(text, encoding="ascii")


def _build_root(show: Mapping[str, str], links: Mapping[str, str], user: int, scratch: int) -> None:
    """Replace the file system: `show` (path inside -> path outside) read-only, and scratch.

    Everything that is not shown is gone, not hidden: the old root is unmounted. `links` are
    symbolic links (path -> target). `scratch` is the size in bytes of each writable folder.
    """
    os.umask(0o022)
    linux.mount("", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("root", "/tmp", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=755,size=1m")
    Path("/tmp" + HOST).mkdir()
    linux.pivot_root("/tmp", "/tmp" + HOST)
    os.chdir("/")
    _add_scratch(scratch)
    _add_devices()
    for path, target in links.items():
        Path(path).symlink_to(target)
    for inside, outside in show.items():
        _bind(inside, outside)
        linux.make_read_only(inside, recursive=True)
    _add_processes()
    _name_the_student(user)
    linux.unmount(HOST)
    Path(HOST).rmdir()
    linux.make_read_only("/", recursive=False)
    linux.set_hostname("box")


def _add_scratch(size: int) -> None:
    for path in SCRATCH:
        Path(path).mkdir(parents=True, exist_ok=True)
        linux.mount(
            "scratch", path, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, f"mode=1777,size={size}"
        )


def _add_devices() -> None:
    for name in DEVICES:
        _bind(f"/dev/{name}", f"/dev/{name}")
    # It gives zeros too, but cannot be mapped: a shared mapping of zeros is charged to nobody.
    _bind("/dev/zero", "/dev/full")
    Path("/dev/pts").mkdir()
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    options = f"newinstance,ptmxmode=666,mode=620,max={TERMINALS}"
    linux.mount("devpts", "/dev/pts", "devpts", flags, options)
    Path("/dev/ptmx").symlink_to("pts/ptmx")
    Path("/dev/fd").symlink_to("/proc/self/fd")


def _bind(inside: str, outside: str) -> None:
    target = Path(inside)
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(HOST + outside).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    linux.mount(HOST + outside, inside, "", linux.MS_BIND | linux.MS_REC)


def _add_processes() -> None:
    Path("/proc").mkdir()
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("proc", "/proc", "proc", flags)
    Path(MEMORY).write_text(MEMORY_TEXT.format(os.sysconf("SC_PHYS_PAGES") * 4), encoding="ascii")
    linux.mount(MEMORY, "/proc/meminfo", "", linux.MS_BIND)
    for name in set(masked()) - {"meminfo"}:
        if Path("/proc", name).is_dir():
            linux.mount("masked", f"/proc/{name}", "tmpfs", flags, "mode=555,size=4k")
            linux.make_read_only(f"/proc/{name}", recursive=False)
        else:
            linux.mount("/dev/null", f"/proc/{name}", "", linux.MS_BIND)


def masked() -> list[str]:
    """Return the entries of /proc that a box hides: counters by which others could be watched."""
    names = (entry.name for entry in Path("/proc").iterdir())
    kept = OF_NOBODY | OF_ITSELF
    return sorted(name for name in names if not name.isdigit() and name not in kept)


def _name_the_student(user: int) -> None:
    Path("/etc").mkdir(exist_ok=True)
    line = f"student:x:{user}:{user}::/tmp:/bin/sh\n"
    Path("/etc/passwd").write_text(line, encoding="ascii")
