"""The Linux calls that Python's standard library lacks, by ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 22, 36, 38
SECCOMP_MODE_FILTER = 2
MNT_DETACH = 2

_SYS_MOUNT_SETATTR = 442
_SYS_LANDLOCK_CREATE, _SYS_LANDLOCK_ADD, _SYS_LANDLOCK_RESTRICT = 444, 445, 446
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION = 0x20080522


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scopes")]


class _PathRule(ctypes.Structure):
    _fields_ = [("allowed", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    result: int = getattr(_libc(), name)(*arguments)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    _call("unshare", flags)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    texts = source.encode(), target.encode(), kind.encode()
    _call("mount", *texts, ctypes.c_ulong(flags), options.encode())


def make_read_only(target: str, recursive: bool) -> None:
    """Make a mount read-only and free of set-user-id programs and devices (Linux 5.12)."""
    attributes = _MountAttributes(set=1 | MS_NOSUID | MS_NODEV)
    depth = _AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    place = _AT_FDCWD, target.encode(), depth
    _call("syscall", _SYS_MOUNT_SETATTR, *place, ctypes.byref(attributes), size)


def pivot_root(new: str, old: str) -> None:
    _call("pivot_root", new.encode(), old.encode())


def unmount(target: str) -> None:
    _call("umount2", target.encode(), MNT_DETACH)


def set_hostname(name: str) -> None:
    _call("sethostname", name.encode(), ctypes.c_size_t(len(name)))


def prctl(option: int, value: int) -> None:
    _call("prctl", option, *(ctypes.c_ulong(word) for word in (value, 0, 0, 0)))


def drop_capabilities() -> None:
    """Give up every capability: a user namespace grants all of them to who enters it."""
    _call("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)())


def install_filter(code: bytes) -> None:
    """Install a program that judges every system call (after `PR_SET_NO_NEW_PRIVS`)."""
    program = _FilterProgram(len(code) // 8, code)
    address = ctypes.c_ulong(ctypes.addressof(program))
    _call("prctl", PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), address)


# Rights that landlock knows, by its version; those from MAKE_CHAR on are given to no file.
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_FIRST_RIGHTS = (1 << 13) - 1
_LATER_RIGHTS = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # move to another folder, truncate, ioctl
_MAKE_DEVICES = 1 << 6 | 1 << 11
_READING = _EXECUTE | _READ | _LIST
_OF_A_FILE = _EXECUTE | _WRITE | _READ | 1 << 14 | 1 << 15
_TCP, _SCOPES = 3, 3  # bind and connect; abstract sockets and signals
HOLDS_SIGNALS = 6


def landlock_version() -> int:
    """Return the version of landlock, 0 where this Linux has none."""
    try:
        return _call("syscall", _SYS_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def restrict_files(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Leave this process and its children these files and folders, and nothing beyond them.

    Other files can not be opened, changed or listed any more; nor can other processes be traced or,
    from version 6 of landlock on, be signalled. Paths that do not exist are passed over.
    """
    version = landlock_version()
    rights = _FIRST_RIGHTS + sum(
        right for since, right in _LATER_RIGHTS.items() if version >= since
    )
    network, scopes = _TCP * (version >= 4), _SCOPES * (version >= HOLDS_SIGNALS)
    ruleset = _Ruleset(rights, network, scopes)
    size = ctypes.c_size_t(8 if version < 4 else 16 if version < HOLDS_SIGNALS else 24)
    place = ctypes.byref(ruleset), size, ctypes.c_uint(0)
    descriptor = _call("syscall", _SYS_LANDLOCK_CREATE, *place)
    for path in readable:
        _allow(descriptor, path, rights & _READING)
    for path in writable:
        _allow(descriptor, path, rights & ~_MAKE_DEVICES)
    _call("syscall", _SYS_LANDLOCK_RESTRICT, descriptor, ctypes.c_uint(0))
    os.close(descriptor)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rights = rights if Path(path).is_dir() else rights & _OF_A_FILE
    rule = _PathRule(rights, descriptor)
    _call("syscall", _SYS_LANDLOCK_ADD, ruleset, 1, ctypes.byref(rule), ctypes.c_uint(0))
    os.close(descriptor)
