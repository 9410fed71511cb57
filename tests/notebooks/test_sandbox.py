import errno
import mmap
import os
import struct
import subprocess
import sys

import psutil
import pytest

from d2lcompute.notebooks.isolation import Isolation
from d2lcompute.notebooks.sandbox import filter as syscalls
from d2lcompute.notebooks.sandbox import guard

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="there are no boxes but on Linux")
ALLOWED, FAILS = 0x7FFF0000, 0x00050000


def verdict(program, architecture, number, *arguments):
    """What the filter says to a system call, found by running it as Linux does."""
    words = {0: number, 4: architecture}
    words |= {16 + 8 * place: word for place, word in enumerate(arguments)}
    steps = [struct.unpack_from("=HBBI", program, place) for place in range(0, len(program), 8)]
    place = value = 0
    while True:
        code, if_true, if_false, constant = steps[place]
        place += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            value = words.get(constant, 0)
        elif code == 0x54:
            value &= constant
        else:
            tests = {0x15: value == constant, 0x35: value >= constant, 0x45: value & constant != 0}
            place += if_true if tests[code] else if_false


@pytest.fixture(params=sorted(syscalls.MACHINES))
def judge(request, monkeypatch):
    """What the filter of a machine says to a call by its name, or by its number."""
    monkeypatch.setattr("platform.machine", lambda: request.param)
    architecture, column = syscalls.MACHINES[request.param]

    def say(call, *arguments, beside_others=False):
        if isinstance(call, str):
            call = (syscalls.DENIED | syscalls.JUDGED)[call][column]
        answer = verdict(syscalls.program(beside_others), architecture, call, *arguments)
        return "allowed" if answer == ALLOWED else errno.errorcode.get(answer - FAILS, "done")

    say.architecture, say.column = architecture, column
    return say


@pytest.mark.parametrize("beside_others", [False, True])
def test_the_filter_denies_what_it_lists_and_nothing_else(judge, beside_others):
    listed = syscalls.DENIED | (syscalls.DENIED_BESIDE_OTHERS if beside_others else {})
    denied = {entry[judge.column]: entry[2] for entry in listed.values()}
    judged = {entry[judge.column] for entry in syscalls.JUDGED.values()} - set(denied)
    for number in set(range(600)) - judged:
        expected = errno.errorcode.get(denied[number], "done") if number in denied else "allowed"
        assert judge(number, beside_others=beside_others) == expected, number


@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("clone", [0x3D0F00], "allowed"),  # a thread
        ("clone", [0x1200011], "allowed"),  # a process
        *[("clone", [0x1200011 | new], "EPERM") for new in (0x20000, 0x10000000, 0x40000000)],
        *[("socket", [family], "allowed") for family in (1, 16)],
        *[("socket", [family], "ENETUNREACH") for family in (2, 10)],
        *[("socket", [family], "EAFNOSUPPORT") for family in (0, 3, 17, 30, 31, 38, 40, 44)],
        ("socketpair", [1], "allowed"),
        ("socketpair", [30], "EAFNOSUPPORT"),
        *[("fcntl", [0, command], "allowed") for command in (0, 1, 2, 3, 4, 5, 1030, 1031, 1034)],
        *[("fcntl", [0, lock], "done") for lock in (6, 7, 37, 38)],
        *[("fcntl", [0, shared], "EINVAL") for shared in (1024, 1026, 1035, 1036, 1037, 1038)],
        *[("futex", [0, 128 | command], "allowed") for command in range(14)],
        *[("futex", [0, command], "EAGAIN") for command in (0, 9, 256, 265)],
        *[("futex", [0, command], "done") for command in (1, 3, 4, 5, 10)],
        *[("futex", [0, command], "ENOSYS") for command in (6, 7, 8, 11, 12, 13)],
        *[("madvise", [0, 4096, advice], "allowed") for advice in (0, 3, 4, 8, 14)],
        *[("madvise", [0, 4096, advice], "done") for advice in (20, 21)],
        ("madvise", [0, 4096, 12], "EINVAL"),
        *[("prctl", [option], "allowed") for option in (1, 4, 15, 38, 77, 79)],
        *[("prctl", [option], "EINVAL") for option in (22, 62, 67, 78)],
        *[("setsockopt", [0, 1, option], "done") for option in (7, 8)],
        *[("setsockopt", [0, 1, option], "EPERM") for option in (26, 50, 51)],
        *[("setsockopt", [0, 1, option], "allowed") for option in (2, 9, 16)],
        *[("setsockopt", [0, level, 7], "allowed") for level in (0, 6, 41)],
        ("prlimit64", [0, 7], "allowed"),
        ("prlimit64", [1234, 7], "EPERM"),
        ("preadv2", [0, 0, 1, 0, 0, 0], "allowed"),
        ("preadv2", [0, 0, 1, 0, 0, 8], "ENOTSUP"),
        *[("mmap", [0, 1, 3, flags], "allowed") for flags in (1, 2, 0x22, 0x4022, 0x20022)],
        *[("mmap", [0, 1, 3, flags], "EPERM") for flags in (0x21, 0x23, 0x4021, 0x40022)],
    ],
)
def test_some_calls_are_judged_by_what_they_are_about(judge, call, arguments, answer):
    assert judge(call, *arguments) == answer


def test_without_a_network_of_its_own_a_box_has_no_socket_but_pairs(judge):
    assert {judge("socket", family, beside_others=True) for family in range(50)} == {"EPERM"}
    assert judge("socketpair", 1, beside_others=True) == "allowed"


def test_calls_in_the_way_of_another_architecture_are_denied(judge):
    assert verdict(syscalls.program(), 0x40000003, 4) == FAILS | errno.EPERM
    assert judge(0x40000000 | 1) == "EPERM"


def test_a_machine_whose_calls_are_unknown_has_no_filter_and_the_report_says_so(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert Isolation("namespaces", {}).gaps == ()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert syscalls.program() == b""
    assert Isolation("namespaces", {}).gaps == (
        "dangerous system calls are not filtered on this machine",
    )


@needs_linux
def test_the_memory_of_processes_is_what_they_wrote():
    count = guard.MemoryCount()
    before = count.bytes([os.getpid()], enough=1 << 40)
    kept = mmap.mmap(-1, 50_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # not freed memory
    for page in range(0, len(kept), mmap.PAGESIZE):
        kept[page] = 1
    after = count.bytes([os.getpid()], enough=1 << 40)
    assert 45_000_000 < after - before < 60_000_000
    kept.close()


@needs_linux
def test_what_forks_share_counts_once():
    code = "import os, time; x = bytearray(os.urandom(1)) * 100_000_000; os.fork(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (children := psutil.Process(parent.pid).children()):
            assert parent.poll() is None
        both = [parent.pid, children[0].pid]
        quick = guard.MemoryCount().bytes(both, enough=1 << 40)
        exact = guard.MemoryCount().bytes(both, enough=0)
        children[0].kill()
        parent.kill()
    assert quick > 190_000_000 > 140_000_000 > exact > 90_000_000


@needs_linux
def test_a_process_that_is_gone_takes_no_memory():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert guard.MemoryCount().bytes([gone.pid], enough=0) == 0


@needs_linux
def test_files_count_where_a_box_has_no_file_system_of_its_own(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_bytes(bytes(1_000_000))
    assert 1_000_000 < guard.MemoryCount(folder=str(tmp_path)).bytes([], enough=1 << 40) < 1_100_000


@needs_linux
def test_many_descriptors_count_as_pipes_and_watches_many_processes_as_records(monkeypatch):
    lines = {"status": [b"FDSize:\t1024"], "maps": [b"a mapping"] * 60_000}
    monkeypatch.setattr(guard, "_lines", lambda process, file: lines.get(file, []))
    assert guard.MemoryCount().bytes(range(2), enough=1 << 40) == 0
    many = guard.MemoryCount().bytes(range(100), enough=1 << 40)
    assert many == 8192 * (102_400 - 2048) + 100 * 1024 * 512**2 + 200 * 6_000_000
