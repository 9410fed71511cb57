import mmap
import os
import struct
import subprocess
import sys

import psutil
import pytest

from d2lcompute.notebooks.isolation import Isolation
from d2lcompute.notebooks.sandbox import guard, linux

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="there are no boxes but on Linux")
ALLOWED, EPERM, ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026


def verdict(program, architecture, number, argument=0):
    """What the filter says to a system call, found by running it as Linux does."""
    words = {0: number, 4: architecture, 16: argument}
    steps = [struct.unpack_from("=HBBI", program, place) for place in range(0, len(program), 8)]
    place = value = 0
    while True:
        code, if_true, if_false, constant = steps[place]
        place += 1
        if code == 0x06:
            return constant
        if code == 0x20:
            value = words[constant]
        else:
            tests = {0x15: value == constant, 0x35: value >= constant, 0x45: value & constant != 0}
            place += if_true if tests[code] else if_false


@pytest.fixture(params=sorted(linux.MACHINES))
def machine(request, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: request.param)
    architecture, clone, denied = linux.MACHINES[request.param]
    return linux.filter_program(), architecture, clone, denied


def test_the_filter_denies_what_it_lists_and_nothing_else(machine):
    program, architecture, clone, denied = machine
    for number in range(600):
        expected = EPERM if number in denied.values() else ALLOWED
        expected = ENOSYS if number == 435 else expected
        assert verdict(program, architecture, number) == expected, number
    assert clone not in denied.values()


def test_processes_may_be_cloned_but_no_namespaces(machine):
    program, architecture, clone, _ = machine
    thread, child = 0x3D0F00, 0x1200011
    assert verdict(program, architecture, clone, thread) == ALLOWED
    assert verdict(program, architecture, clone, child) == ALLOWED
    for new in (0x20000, 0x10000000, 0x20000000, 0x40000000):
        assert verdict(program, architecture, clone, child | new) == EPERM


def test_calls_in_the_way_of_another_architecture_are_denied(machine):
    program, architecture, _, _ = machine
    assert verdict(program, 0x40000003, 4) == EPERM
    assert verdict(program, architecture, 0x40000000 | 1) == EPERM


def test_a_machine_whose_calls_are_unknown_has_no_filter_and_the_report_says_so(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert Isolation("namespaces", {}).gaps == ()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert linux.filter_program() == b""
    assert Isolation("namespaces", {}).gaps == (
        "dangerous system calls are not filtered on this machine",
    )


@needs_linux
def test_the_memory_of_processes_is_what_they_wrote():
    before = guard.memory_in_use([os.getpid()], (), enough=1 << 40)
    kept = mmap.mmap(-1, 50_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # not freed memory
    for page in range(0, len(kept), mmap.PAGESIZE):
        kept[page] = 1
    after = guard.memory_in_use([os.getpid()], (), enough=1 << 40)
    assert 45_000_000 < after - before < 60_000_000
    kept.close()


@needs_linux
def test_what_forks_share_counts_once():
    code = "import os, time; x = bytearray(os.urandom(1)) * 100_000_000; os.fork(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        while not (children := psutil.Process(parent.pid).children()):
            assert parent.poll() is None
        both = [parent.pid, children[0].pid]
        quick = guard.memory_in_use(both, (), enough=1 << 40)
        exact = guard.memory_in_use(both, (), enough=0)
        children[0].kill()
        parent.kill()
    assert quick > 190_000_000 > 140_000_000 > exact > 90_000_000


@needs_linux
def test_a_process_that_is_gone_takes_no_memory():
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert guard.memory_in_use([gone.pid], (), enough=0) == 0
