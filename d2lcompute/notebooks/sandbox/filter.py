"""A filter over system calls: what no honest exercise needs, and what the limits cannot see.

Denied are memory that counts for no limit, new namespaces (in which a student would be root), parts
of Linux that sandboxes commonly close because defects in them were ways out, and all by which two
boxes could talk: both see the same files, so locks, leases, watches and futexes on them meet. Calls
that honest code makes now and then, such as locking a file of its own, only seem to succeed.
"""

from __future__ import annotations

import errno
import platform
import struct
from itertools import chain

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_OTHER_ABI = 0x40000000
_NEW_NAMESPACES, _WITH_A_PIDFD = 0x7E020000, 0x1000
_FUTEX_PRIVATE, _FUTEX_COMMAND = 128, 127
_NOWAIT = 8  # reads only what is in the page cache
_COLD, _PAGE_OUT = 20, 21  # take pages out of the page cache
_MERGEABLE = 12  # lets Linux find pages that others have too
_OF_SOCKETS, _SEND_BUFFER, _RECEIVE_BUFFER = 1, 7, 8
_SOCKET_FILTERS = (26, 50, 51)
# Options of prctl: filters of one's own, cores and pages that are shared by groups, a table of
# locks that may be as large as one likes.
_FILTERS, _CORES, _MERGING, _FUTEX_TABLE = 22, 62, 67, 78
_ANONYMOUS, _HUGE, _SHARED, _SHARED_TOO, _SHARING = 0x20, 0x40000, 1, 3, 15

# What a denied call answers; 0 seems to succeed.
_SEEMS_DONE = 0
# name: (number on x86-64, on arm64; None where there is no such call), what it answers
DENIED: dict[str, tuple[int | None, int | None, int]] = {
    "memfd_create": (319, 279, errno.EPERM), "memfd_secret": (447, 447, errno.EPERM),
    "shmget": (29, 194, errno.EPERM), "msgget": (68, 186, errno.EPERM),
    "semget": (64, 190, errno.EPERM), "mq_open": (240, 180, errno.EPERM),
    "unshare": (272, 97, errno.EPERM), "setns": (308, 268, errno.EPERM),
    "mount": (165, 40, errno.EPERM), "ptrace": (101, 117, errno.EPERM),
    "process_vm_readv": (310, 270, errno.EPERM), "process_vm_writev": (311, 271, errno.EPERM),
    "pidfd_getfd": (438, 438, errno.EPERM), "kcmp": (312, 272, errno.EPERM),
    "add_key": (248, 217, errno.EPERM), "request_key": (249, 218, errno.EPERM),
    "keyctl": (250, 219, errno.EPERM), "bpf": (321, 280, errno.EPERM),
    "perf_event_open": (298, 241, errno.EPERM), "userfaultfd": (323, 282, errno.EPERM),
    "io_uring_setup": (425, 425, errno.EPERM), "open_by_handle_at": (304, 265, errno.EPERM),
    # Devices belong to all, and keep the time that anybody gives them.
    "utime": (132, None, _SEEMS_DONE), "utimes": (235, None, _SEEMS_DONE),
    "futimesat": (261, None, _SEEMS_DONE), "utimensat": (280, 88, _SEEMS_DONE),
    # Its flags lie behind a pointer that a filter cannot follow; libc falls back to clone.
    "clone3": (435, 435, errno.ENOSYS),
    # One byte in a pipe keeps a huge page that nobody maps any more, and is charged to nobody.
    "vmsplice": (278, 75, errno.EPERM),
    # Their inodes are numbered over the whole machine: they count what others start.
    "pidfd_open": (434, 434, errno.ENOSYS),
    # What another box does: to its files, to the kernel's log and counters.
    "inotify_init": (253, None, errno.ENOSYS), "inotify_init1": (294, 26, errno.ENOSYS),
    "fanotify_init": (300, 262, errno.ENOSYS), "syslog": (103, 116, errno.EPERM),
    "sysinfo": (99, 179, errno.EPERM), "io_setup": (206, 0, errno.ENOSYS),
    "cachestat": (451, 451, errno.ENOSYS), "mincore": (27, 232, errno.ENOSYS),
    "process_madvise": (440, 440, errno.EPERM),
    "flock": (73, 32, _SEEMS_DONE), "fadvise64": (221, 223, _SEEMS_DONE),
    "readahead": (187, 213, _SEEMS_DONE), "futex_waitv": (449, 449, errno.ENOSYS),
    "futex_wake": (454, 454, errno.ENOSYS), "futex_wait": (455, 455, errno.ENOSYS),
    "futex_requeue": (456, 456, errno.ENOSYS),
    # Each answers for memory of Linux itself that nobody is charged for: lists of rights of a file,
    # rules, programs.
    "setxattr": (188, 5, errno.EPERM), "lsetxattr": (189, 6, errno.EPERM),
    "fsetxattr": (190, 7, errno.EPERM), "setxattrat": (463, 463, errno.EPERM),
    "landlock_create_ruleset": (444, 444, errno.ENOSYS),
    "landlock_add_rule": (445, 445, errno.ENOSYS), "seccomp": (317, 277, errno.ENOSYS),
    # Of the whole machine, for as long as it takes.
    "sync": (162, 81, _SEEMS_DONE), "syncfs": (306, 267, _SEEMS_DONE),
}  # fmt: skip
# In a box without namespaces: files of this user that it can not open could still be renamed, aged
# or locked away, and other processes of this user slowed down or limited to death.
DENIED_BESIDE_OTHERS: dict[str, tuple[int | None, int | None, int]] = {
    "chmod": (90, None, _SEEMS_DONE), "fchmod": (91, 52, _SEEMS_DONE),
    "fchmodat": (268, 53, _SEEMS_DONE), "fchmodat2": (452, 452, _SEEMS_DONE),
    "chown": (92, None, _SEEMS_DONE), "fchown": (93, 55, _SEEMS_DONE),
    "lchown": (94, None, _SEEMS_DONE), "fchownat": (260, 54, _SEEMS_DONE),
    "removexattr": (197, 14, errno.EPERM), "lremovexattr": (198, 15, errno.EPERM),
    "fremovexattr": (199, 16, errno.EPERM), "removexattrat": (466, 466, errno.EPERM),
    "socket": (41, 198, errno.EPERM), "setpriority": (141, 140, _SEEMS_DONE),
    "ioprio_set": (251, 30, _SEEMS_DONE), "sched_setparam": (142, 118, _SEEMS_DONE),
    "sched_setscheduler": (144, 119, _SEEMS_DONE), "sched_setattr": (314, 274, _SEEMS_DONE),
    "sched_setaffinity": (203, 122, _SEEMS_DONE), "setpgid": (109, 154, errno.EPERM),
}  # fmt: skip
# name: (number on x86-64, on arm64), judged by an argument below
JUDGED = {
    "clone": (56, 220), "socket": (41, 198), "socketpair": (53, 199), "fcntl": (72, 25),
    "futex": (202, 98), "preadv2": (327, 286), "mmap": (9, 222), "prlimit64": (302, 261),
    "madvise": (28, 233), "setsockopt": (54, 208), "prctl": (157, 167),
}  # fmt: skip
# machine: (audit number of the architecture, column of its numbers)
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
FAMILIES = {"AF_UNIX": 1, "AF_NETLINK": 16}
# There is no network to reach, and Linux counts their sockets over the whole machine.
OF_A_NETWORK = {"AF_INET": 2, "AF_INET6": 10}
LOCKING = {"F_SETLK": 6, "F_SETLKW": 7, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38}
# Above the commands of POSIX are leases, watches and hints, which belong to the file itself.
FIRST_OF_LINUX = 1024
OF_A_DESCRIPTOR = (1030, 1031, 1032, 1034)  # F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ, its seals

Step = tuple[int, int, int, int]


def program(beside_others: bool = False) -> bytes:
    """Return the filter for this machine, empty where its system calls are not known here.

    `beside_others` is for a box without a network and processes of its own: no socket can be made
    then, only pairs of them.
    """
    if platform.machine() not in MACHINES:
        return b""
    architecture, column = MACHINES[platform.machine()]
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, architecture),
        _answer(errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
        *_when(_AT_LEAST, _OTHER_ABI, errno.EPERM),
    ]
    denied = DENIED | DENIED_BESIDE_OTHERS if beside_others else DENIED
    for *numbers, answer in denied.values():
        number = numbers[column]
        if number is not None:
            steps += _when(_EQUAL, number, answer)
    for name, block in _judgements().items():
        steps += [(_EQUAL, 0, len(block), JUDGED[name][column]), *block]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def _judgements() -> dict[str, list[Step]]:
    """Return what is done about each call of `JUDGED`; every block ends in an answer."""
    allowed = (_RETURN, 0, 0, _ALLOW)
    families = [step for number in FAMILIES.values() for step in [(_EQUAL, 0, 1, number), allowed]]
    commands = [step for number in OF_A_DESCRIPTOR for step in [(_EQUAL, 0, 1, number), allowed]]
    networks = (_when(_EQUAL, number, errno.ENETUNREACH) for number in OF_A_NETWORK.values())
    sockets = [*_argument(0), *families, *chain(*networks), _answer(errno.EAFNOSUPPORT)]
    return {
        "clone": [
            *_argument(0),
            *_when(_ANY_BIT, _NEW_NAMESPACES | _WITH_A_PIDFD, errno.EPERM),
            allowed,
        ],
        "socket": sockets,
        "socketpair": sockets,
        "fcntl": [
            *_argument(1),
            *(step for each in LOCKING.values() for step in _when(_EQUAL, each, _SEEMS_DONE)),
            *commands,
            *_when(_AT_LEAST, FIRST_OF_LINUX, errno.EINVAL),
            allowed,
        ],
        # One that other processes may share is found by the file it lies in. Who waits for it tries
        # again at once, so that who wakes it need not.
        "futex": [
            *_argument(1),
            (_ANY_BIT, 0, 1, _FUTEX_PRIVATE),
            allowed,
            (_AND, 0, 0, _FUTEX_COMMAND),
            *(step for each in (0, 9) for step in _when(_EQUAL, each, errno.EAGAIN)),
            *(step for each in (1, 3, 4, 5, 10) for step in _when(_EQUAL, each, _SEEMS_DONE)),
            _answer(errno.ENOSYS),
        ],
        # Pages that nobody maps any more, and huge ones, are charged to no process.
        "mmap": [
            *_argument(3),
            *_when(_ANY_BIT, _HUGE, errno.EPERM),
            (_ANY_BIT, 1, 0, _ANONYMOUS),
            allowed,
            (_AND, 0, 0, _SHARING),
            *(step for each in (_SHARED, _SHARED_TOO) for step in _when(_EQUAL, each, errno.EPERM)),
            allowed,
        ],
        "madvise": [
            *_argument(2),
            *(step for each in (_COLD, _PAGE_OUT) for step in _when(_EQUAL, each, _SEEMS_DONE)),
            *_when(_EQUAL, _MERGEABLE, errno.EINVAL),
            allowed,
        ],
        # How much may wait in a socket is what its count goes by.
        "setsockopt": [
            *_argument(1),
            (_EQUAL, 1, 0, _OF_SOCKETS),
            allowed,
            *_argument(2),
            *_when(_EQUAL, _SEND_BUFFER, _SEEMS_DONE),
            *_when(_EQUAL, _RECEIVE_BUFFER, _SEEMS_DONE),
            *(step for each in _SOCKET_FILTERS for step in _when(_EQUAL, each, errno.EPERM)),
            allowed,
        ],
        "prctl": [
            *_argument(0),
            *(
                step
                for each in (_FILTERS, _CORES, _MERGING, _FUTEX_TABLE)
                for step in _when(_EQUAL, each, errno.EINVAL)
            ),
            allowed,
        ],
        "prlimit64": [*_argument(0), (_EQUAL, 0, 1, 0), allowed, _answer(errno.EPERM)],
        "preadv2": [*_argument(5), *_when(_ANY_BIT, _NOWAIT, errno.EOPNOTSUPP), allowed],
    }


def _argument(place: int) -> list[Step]:
    return [(_LOAD, 0, 0, _ARGUMENTS + 8 * place)]


def _when(test: int, value: int, error: int) -> list[Step]:
    return [(test, 0, 1, value), _answer(error)]


def _answer(error: int) -> Step:
    return (_RETURN, 0, 0, _ERROR | error)
