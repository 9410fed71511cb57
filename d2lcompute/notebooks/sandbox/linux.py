"""The Linux calls that Python's standard library lacks, by ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import struct
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


EPERM, ENOSYS = 1, 38
NEW_NAMESPACES = 0x7E020000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_OTHER_ABI = 0x40000000

_X86 = {
    "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68, "semget": 64,
    "unshare": 272, "setns": 308, "mount": 165, "ptrace": 101,
    "process_vm_readv": 310, "process_vm_writev": 311,
    "pidfd_getfd": 438, "kcmp": 312, "add_key": 248, "request_key": 249, "keyctl": 250,
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "open_by_handle_at": 304,
}  # fmt: skip
_ARM = {
    "memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186, "semget": 190,
    "unshare": 97, "setns": 268, "mount": 40, "ptrace": 117,
    "process_vm_readv": 270, "process_vm_writev": 271,
    "pidfd_getfd": 438, "kcmp": 272, "add_key": 217, "request_key": 218, "keyctl": 219,
    "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425,
    "open_by_handle_at": 265,
}  # fmt: skip
_CLONE3 = 435
# machine: (audit number of the architecture, number of clone, the denied calls)
MACHINES = {"x86_64": (0xC000003E, 56, _X86), "aarch64": (0xC00000B7, 220, _ARM)}


def filter_program() -> bytes:
    """Return the filter for this machine, empty where its system calls are not known here."""
    if platform.machine() not in MACHINES:
        return b""
    architecture, clone, denied = MACHINES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _FAIL | EPERM),
        (_LOAD, 0, 0, _NUMBER),
        *_when(_AT_LEAST, _OTHER_ABI, EPERM),
        # Its flags lie behind a pointer that a filter cannot follow; libc falls back to clone.
        *_when(_EQUAL, _CLONE3, ENOSYS),
    ]
    for number in denied.values():
        steps += _when(_EQUAL, number, EPERM)
    steps += [
        (_EQUAL, 1, 0, clone),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        *_when(_ANY_BIT, NEW_NAMESPACES, EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _when(test: int, value: int, error: int) -> list[tuple[int, int, int, int]]:
    return [(test, 0, 1, value), (_RETURN, 0, 0, _FAIL | error)]
