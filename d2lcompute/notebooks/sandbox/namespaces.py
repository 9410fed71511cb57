"""Own namespaces: a root of its own, no network, nobody else's processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from . import linux

NEW_MOUNTS, NEW_HOSTNAME, NEW_IPC = 0x20000, 0x4000000, 0x8000000
NEW_USER, NEW_PROCESSES, NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
DEVICES = ("null", "zero", "full", "random", "urandom")
SCRATCH = ("/tmp", "/dev/shm")
STUDENT = 1000
HOST = "/host"


def leave_host() -> None:
    """Enter new namespaces; the next child is the first process of its own process namespace.

    An ordinary user needs a user namespace for it. Root does not: there, foreign code loses root
    for good by becoming another user.
    """
    user, group = os.getuid(), os.getgid()
    new = NEW_MOUNTS | NEW_HOSTNAME | NEW_IPC | NEW_PROCESSES | NEW_NETWORK
    if user == 0:
        linux.unshare(new)
        return
    linux.unshare(new | NEW_USER)
    for name, text in [
        ("setgroups", "deny"),
        ("uid_map", f"{STUDENT} {user} 1"),
        ("gid_map", f"{STUDENT} {group} 1"),
    ]:
        Path("/proc/self", name).write_text(text, encoding="ascii")


def build_root(show: Mapping[str, str], links: Mapping[str, str], user: int, scratch: int) -> None:
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
    Path("/dev/pts").mkdir()
    flags = linux.MS_NOSUID | linux.MS_NOEXEC
    linux.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=666,mode=620")
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


def _name_the_student(user: int) -> None:
    Path("/etc").mkdir(exist_ok=True)
    line = f"student:x:{user}:{user}::/tmp:/bin/sh\n"
    Path("/etc/passwd").write_text(line, encoding="ascii")
