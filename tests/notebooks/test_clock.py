import os
import subprocess
import sys
import time

import pytest

from d2lcompute.notebooks.clock import MOST_WAITING, Clock, _threads, find_kernel

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who waits")
BUSY = "while True: pass"
BUSY_BESIDE = f"import threading; threading.Thread(target=exec, args=({BUSY!r},)).start()"
BUSY_ALL = f"{BUSY_BESIDE}\n{BUSY}"


@pytest.fixture(params=[BUSY, BUSY_BESIDE, BUSY_ALL], ids=["main", "another", "both"])
def crowded(request):
    """A busy process that shares one core with seven others."""
    core = {min(os.sched_getaffinity(0))}
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, core)
    command = [sys.executable, "-c", request.param]
    processes = [subprocess.Popen(command) for _ in range(8)]
    os.sched_setaffinity(0, all_cores)
    yield processes[0].pid
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def wait_until(clock, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        clock.elapsed()


@needs_linux
def test_time_in_which_others_have_the_core_does_not_count(crowded):
    clock, start, before = Clock(crowded, crowded), time.monotonic(), _threads(crowded)
    wait_until(clock, 3)
    elapsed, wall = clock.elapsed(), time.monotonic() - start
    assert 0.9 * wall / MOST_WAITING < elapsed < 0.7 * wall
    main = str(crowded)
    assert elapsed > 0.9 * (_threads(crowded)[main][0] - before[main][0])


@needs_linux
def test_sleep_counts():
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        clock = Clock(sleeper.pid, sleeper.pid)
        wait_until(clock, 2)
        assert clock.elapsed() > 1.5
        sleeper.kill()


@needs_linux
def test_who_keeps_the_cores_busy_itself_does_not_stop_the_clock(monkeypatch):
    def always_waiting(process):
        return {str(process): (0.0, time.monotonic())}

    monkeypatch.setattr("d2lcompute.notebooks.clock._threads", always_waiting)
    monkeypatch.setattr("d2lcompute.notebooks.clock.count_cores", lambda: 1)
    work = iter(range(1000))
    monkeypatch.setattr("d2lcompute.notebooks.clock._work", lambda _: 0.5 * next(work))
    monkeypatch.setattr("d2lcompute.notebooks.clock.AT_FIRST", 0)
    clock = Clock(1, 1)
    time.sleep(0.3)
    assert clock.elapsed() < 0.1
    assert clock.elapsed() > 0.2  # half a second of work, at most what the wall says


@needs_linux
def test_where_nobody_knows_it_is_the_walls():
    clock = Clock(None, None)
    time.sleep(0.2)
    assert clock.elapsed() >= 0.2
    assert Clock(os.getpid(), None).elapsed() < 1


@needs_linux
def test_the_kernel_is_found_below_what_was_started():
    nested = "import subprocess; subprocess.run(['sleep', '60'])"
    with subprocess.Popen([sys.executable, "-c", nested]) as outer:
        while (inner := find_kernel(outer.pid, 1)) is None:
            time.sleep(0.01)
        assert find_kernel(outer.pid, 0) == outer.pid
        assert find_kernel(outer.pid, 2) is None
        os.kill(inner, 9)
        outer.wait()
