"""The Linux calls that Python's standard library lacks, by ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
from typing import Any

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
PR_SET_SECCOMP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 22, 36, 38
SECCOMP_MODE_FILTER = 2
MNT_DETACH = 2

_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION = 0x20080522


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc(), name)(*arguments) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


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
