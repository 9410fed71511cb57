"""The same submissions have the same marks: in every run, on every kind of worker."""

import contextlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from d2lcompute.grading.assignment import parse, read_notebook
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.grade import Workers, cluster, grade, processes
from d2lcompute.grading.results import Journal
from d2lcompute.grading.submissions import find

ATTACKS = Path(__file__).parents[1] / "attacks"
# Right ones, wrong ones, and what ends or spoils its kernel.
EARNED = {
    "honest": 15, "exit_at_the_end": 15, "reset_last": 15, "counts_its_calls": 15,
    "metadata_dropped": 15, "answer_zeros": 12, "nearly": 12, "os_exit": 12, "crash": 12,
    "sys_exit_in_check": 12, "stopped_loop": 12, "no_answer_at_all": 0,
}  # fmt: skip
SOME = ("honest", "exit_at_the_end", "nearly", "os_exit")


@pytest.fixture(scope="module")
def assignment():
    return parse(read_notebook(ATTACKS / "reference.md"))


@pytest.fixture
def graded(assignment, tmp_path):
    """Grade submissions so many times, and return the marks of each time."""

    def run(start, width, names=EARNED, times=1):
        files = [str(ATTACKS / f"{name}.ipynb") for name in names]
        (tmp_path / "list.txt").write_text("\n".join(files), encoding="utf-8")
        submissions = find(tmp_path / "list.txt", assignment).submissions
        found = []
        for number in range(times):
            journal = Journal.start(tmp_path / str(number), assignment)
            conditions = Conditions(allow_unisolated=True)
            grade(assignment, submissions, journal, conditions, Workers(start, width), print)
            assert not any(result.trouble for result in journal.results)
            found.append({result.submission: result.earned for result in journal.results})
        return found

    return run


@contextlib.contextmanager
def busy_machine(count):
    """Keep processes busy that have nothing to do with grading."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_twenty_times_on_a_busy_machine(graded):
    with busy_machine(2), processes(2) as executor:
        found = graded(lambda: contextlib.nullcontext(executor), 2, SOME, times=20)
    assert found == [{name: EARNED[name] for name in SOME}] * 20


def test_in_one_process(graded):
    assert graded(partial(processes, 1), 1) == [EARNED]


def test_on_a_cluster(graded, local_cluster):
    assert graded(partial(cluster, local_cluster.scheduler_address), 4) == [EARNED]
