import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from fakekernel import FakeKernel
from waiting import PATIENCE, wait_for_the_end_of

from d2lcompute.grading import grade as grading
from d2lcompute.grading.assignment import Assignment, Cell, load
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.grade import (
    Workers,
    cluster,
    count_threads,
    find_reference,
    grade,
    keep_reference,
    processes,
    replay,
)
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.results import Journal, Mark, Result
from d2lcompute.grading.submissions import NEXT_CELL, Submission
from d2lcompute.notebooks.isolation import count_cores

HOMEWORK = Assignment((Cell("x", "solution", "x"), Cell("answer(x)", "check", "c", 3.0)))
TWO_THREADS = partial(ThreadPoolExecutor, 2)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Grade submissions by name with a function in place of a kernel, and return the results."""

    def results_of(
        names, task, start=TWO_THREADS, width=2, on_progress=lambda _: None, expected=dict
    ):
        def expect(assignment, conditions, seeds):
            results_of.asked.append(len(seeds))
            return [expected(own) for own in seeds]

        results_of.asked = []
        monkeypatch.setattr(grading, "expect", expect)
        monkeypatch.setattr(grading, "grade_submission", lambda a, c, one, answers: task(one))
        journal = Journal.start(tmp_path, HOMEWORK)
        submissions = [Submission(name) for name in names]
        grade(HOMEWORK, submissions, journal, Conditions(), Workers(start, width), on_progress)
        return Journal.open(tmp_path).results

    return results_of


def passed(submission):
    mark = Mark("c", 3.0, True, False, version=HOMEWORK.versions["c"])
    return Result(submission.name, submission.digest, (mark,))


def test_every_submission_is_graded_and_written(run):
    results = run("abcdefg", passed)
    assert [result.submission for result in results] == list("abcdefg")
    assert all(result.earned == 3.0 for result in results)


def test_progress_counts_and_ends_at_nothing_left(run):
    seen = []
    results = {"b": {"fault": "no notebook"}, "c": {"trouble": "no kernel"}}
    run("abc", lambda one: Result(one.name, one.digest, **results.get(one.name, {})),
        width=1, on_progress=seen.append)  # fmt: skip
    assert [state.done for state in seen] == [0, 1, 2, 3]
    assert [state.failures for state in seen] == [0, 0, 1, 2]
    assert {state.total for state in seen} == {3}
    assert seen[-1].left == 0


def test_what_was_graded_is_not_graded_again(run):
    graded = []

    def task(submission):
        graded.append(submission.name)
        return passed(submission)

    run("abc", task)
    run("abcd", task)
    assert sorted(graded) == list("abcd")


def test_an_exception_costs_its_submission_alone(run):
    def task(submission):
        return passed(submission) if submission.name != "b" else 1 / 0

    results = run("abc", task)
    assert [result.trouble for result in results] == ["", "ZeroDivisionError: division by zero", ""]


class Fragile(Executor):
    """Runs tasks in threads, and breaks as a process pool does where a process dies."""

    def __init__(self, workers):
        self.pool = ThreadPoolExecutor(workers)
        self.lock = threading.Lock()
        self.futures, self.broken = [], False

    def submit(self, function, *arguments):
        if self.broken:
            raise BrokenExecutor
        future = Future()
        self.futures.append(future)
        self.pool.submit(self.run, future, function, *arguments)
        return future

    def run(self, future, function, *arguments):
        try:
            result = function(*arguments)
        except SystemExit:
            self.broken = True
            error = BrokenExecutor()
            for each in self.futures:
                with self.lock, contextlib.suppress(Exception):
                    each.set_exception(error)
        else:
            with self.lock, contextlib.suppress(Exception):
                future.set_result(result)

    def shutdown(self, wait=True, *, cancel_futures=False):
        self.pool.shutdown(wait=wait)


def test_a_process_that_dies_costs_a_retry_and_not_a_mark(run):
    deaths = iter([True])

    def task(submission):
        if submission.name == "c" and next(deaths, False):
            raise SystemExit
        return passed(submission)

    results = run("abcdef", task, start=partial(Fragile, 2))
    assert [result.earned for result in results] == [3.0] * 6
    assert not any(result.trouble for result in results)


def test_a_submission_that_kills_every_process_is_not_graded_and_the_others_are(run):
    def task(submission):
        if submission.name == "c":
            raise SystemExit
        return passed(submission)

    results = run("abcdef", task, start=partial(Fragile, 3), width=3)
    troubles = {result.submission: result.trouble for result in results if result.trouble}
    assert troubles == {"c": "the grading process died twice"}
    assert sum(result.earned for result in results) == 15.0


def test_the_reference_that_takes_its_process_down_is_asked_again_for_each_alone(run):
    deaths = iter([True])

    def expected(seeds):
        if next(deaths, False):
            raise SystemExit
        return seeds

    results = run("abcd", passed, start=partial(Fragile, 2), expected=expected)
    assert [result.earned for result in results] == [3.0] * 4


def test_a_reference_that_always_does_grades_nobody_and_comes_to_an_end(run):
    def expected(seeds):
        raise SystemExit

    results = run("abc", passed, start=partial(Fragile, 2), expected=expected)
    assert {result.trouble for result in results} == {"the grading process died twice"}


@pytest.mark.parametrize(
    ("width", "asked"), [(1, [25, 25, 10]), (2, [25, 25, 10]), (5, [12] * 5), (1000, [1] * 60)]
)
def test_the_reference_runs_a_few_times_for_many(run, width, asked):
    names = [f"{number:03}" for number in range(60)]
    assert len(run(names, passed, width=width)) == 60
    assert run.asked == asked


def test_without_submissions_nothing_is_started(run):
    assert run("", passed, start=None) == []


def test_tasks_run_in_other_processes_which_end_with_the_block():
    with processes(2) as executor:
        found = {executor.submit(os.getpid).result() for _ in range(4)}
        assert os.getpid() not in found
    wait_for_the_end_of(found)


def test_a_core_has_one_thread_where_every_core_has_a_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with processes(count_cores()) as executor:
        assert executor.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"


def test_a_process_that_dies_breaks_the_executor():
    with processes(1) as executor:
        future = executor.submit(os._exit, 3)
        assert isinstance(future.exception(), BrokenExecutor)


def test_an_error_ends_what_still_runs():
    def interrupted():
        with processes(1) as executor:
            executor.submit(time.sleep, 10**6)
            raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        interrupted()


SCRIPT = """
import os, time
from d2lcompute.grading.grade import processes
if __name__ == "__main__":
    with processes(2) as executor:
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
    assert found
    wait_for_the_end_of(found)


def test_a_cluster_is_given_as_much_as_it_does_at_once(local_cluster):
    assert count_threads(local_cluster.scheduler_address) == 2


def test_a_worker_of_a_cluster_that_dies_costs_a_retry(local_cluster):
    def square(number):
        time.sleep(0.2)
        return number**2

    with cluster(local_cluster.scheduler_address) as found:
        futures = [found.submit(square, number) for number in range(8)]
        time.sleep(0.3)
        os.kill(next(iter(local_cluster.workers.values())).pid, signal.SIGKILL)
        assert [future.result(PATIENCE) for future in futures] == [number**2 for number in range(8)]


ASSIGNMENT = Assignment(
    (
        Cell("import random"),
        Cell("def twice(x): return 2 * x", "solution", "twice"),
        Cell("answer(twice(random.random()))", "check", "shown", 1.0),
        Cell("answer(twice(random.random()) > 1)", "hidden-check", "lucky", 2.0, draws=1),
    )
)
CONDITIONS = Conditions()


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())


def graded(source, key="key"):
    submission = Submission("ada", {"twice": source})
    (expected,) = expect(ASSIGNMENT, CONDITIONS, [draw_seeds(ASSIGNMENT, key, submission)])
    return grade_submission(ASSIGNMENT, CONDITIONS, submission, expected)


@pytest.mark.parametrize(
    "source",
    [
        "def twice(x): return x + x",
        "def twice(x): return 0",
        f"y = 2{NEXT_CELL}def twice(x): return y * x",
        "def twice(x): return unknown",
    ],
)
def test_the_same_marks_come_again_for_the_same_reasons(source):
    for key in "abcdef":
        result = graded(source, key)
        found = list(replay(ASSIGNMENT, CONDITIONS, result))
        assert [again.before.check for again in found] == ["shown", "lucky"]
        assert all(again.agrees for again in found)
        assert [again.now.seeds for again in found] == [mark.seeds for mark in result.marks]


def test_a_mark_that_is_another_one_now_is_told():
    result = graded("def twice(x): return 2 * x")
    forged = replace(result, sources={"twice": "def twice(x): return 3 * x"})
    again = next(replay(ASSIGNMENT, CONDITIONS, forged))
    assert not again.agrees
    assert str(again).startswith("shown: 1 of 1, passed; now 0, the answer has other values (seeds")


def test_who_was_not_graded_has_nothing_to_replay():
    with pytest.raises(ValueError, match=r"`student` must have been graded, got ada: no notebook"):
        next(replay(ASSIGNMENT, CONDITIONS, replace(graded("x"), fault="no notebook")))


REFERENCE = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
d2lcompute: {files: [data.csv]}
---

```{code-cell} ipython3
:tags: [solution]
:d2lcompute: {"id": "x"}
x = 1.5
```

```{code-cell} ipython3
:tags: [check]
:d2lcompute: {"id": "c", "points": 3}
answer(x)
```
"""


def test_the_reference_stays_with_the_results(tmp_path):
    reference, results = tmp_path / "homework.md", tmp_path / "results"
    reference.write_text(REFERENCE, encoding="utf-8")
    (tmp_path / "data.csv").write_bytes(b"1,2")
    assignment = load(reference)
    journal = Journal.start(results, assignment)
    with pytest.raises(ValueError, match="must hold the reference that they were made with, got"):
        find_reference(results, journal)
    assert keep_reference(reference, assignment, results).name == "reference.md"
    assert find_reference(results, journal) == assignment
    assert assignment.files == (("data.csv", "MSwy"),)
