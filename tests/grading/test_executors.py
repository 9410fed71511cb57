import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor

import pytest

from d2lcompute.grading import executors


def test_tasks_run_in_other_processes_which_end_with_the_block():
    with executors.processes(2) as executor:
        found = {executor.submit(os.getpid).result() for _ in range(4)}
        assert os.getpid() not in found
    deadline = time.monotonic() + 10
    while any(map(is_running, found)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, found))


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_core_has_one_thread_where_every_core_has_a_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with executors.processes(executors.count_cores()) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_a_process_that_dies_breaks_the_executor():
    with executors.processes(1) as executor:
        future = executor.submit(os._exit, 3)
        assert isinstance(future.exception(), BrokenExecutor)


def test_an_error_ends_what_still_runs():
    def interrupted():
        with executors.processes(1) as executor:
            executor.submit(time.sleep, 1000)
            raise KeyboardInterrupt("stop")

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="stop"):
        interrupted()
    assert time.monotonic() - start < 100


SCRIPT = """
import os, time
from d2lcompute.grading import executors
if __name__ == "__main__":
    with executors.processes(2) as executor:
        print(*{executor.submit(os.getpid).result() for _ in range(4)}, flush=True)
        executor.submit(time.sleep, 1000)
        time.sleep(1000)
"""


def test_processes_end_with_the_one_that_started_them(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as started:
        found = [int(process) for process in started.stdout.readline().split()]
        started.kill()
    deadline = time.monotonic() + 10
    while any(map(is_running, found)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found
    assert not any(map(is_running, found))


def test_a_worker_of_a_cluster_that_dies_costs_a_retry(local_cluster):
    def work(number):
        time.sleep(0.2)
        return number**2

    with executors.cluster(local_cluster.scheduler_address) as found:
        futures = [found.submit(work, number) for number in range(8)]
        time.sleep(0.3)
        os.kill(next(iter(local_cluster.workers.values())).pid, signal.SIGKILL)
        assert [future.result(60) for future in futures] == [number**2 for number in range(8)]
