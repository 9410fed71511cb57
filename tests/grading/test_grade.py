import contextlib
import threading
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial

import pytest

from d2lcompute.grading import grade as grading
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.conditions import Conditions
from d2lcompute.grading.grade import Crew, grade
from d2lcompute.grading.journal import Journal
from d2lcompute.grading.results import Mark, Result
from d2lcompute.grading.submissions import Submission

HOMEWORK = Assignment((Cell("x", "solution", "x"), Cell("answer(x)", "check", "c", 3.0)))
TWO_THREADS = partial(ThreadPoolExecutor, 2)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Grade submissions by name with a function in place of a kernel, and return the results."""

    def start(names, task, hire=TWO_THREADS, width=2, on_progress=lambda _: None):
        monkeypatch.setattr(grading, "expect", lambda *_: {})
        monkeypatch.setattr(grading, "grade_submission", lambda a, e, c, one: task(one))
        journal = Journal.start(tmp_path, HOMEWORK)
        submissions = [Submission(name) for name in names]
        grade(HOMEWORK, submissions, journal, Conditions(), Crew(hire, width), on_progress)
        return Journal.open(tmp_path).results

    return start


def passed(submission):
    return Result(submission.name, submission.digest, (Mark("c", 3.0, True, False),))


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

    results = run("abcdef", task, hire=partial(Fragile, 2))
    assert [result.earned for result in results] == [3.0] * 6
    assert not any(result.trouble for result in results)


def test_a_submission_that_kills_every_process_is_not_graded_and_the_others_are(run):
    def task(submission):
        if submission.name == "c":
            raise SystemExit
        return passed(submission)

    results = run("abcdef", task, hire=partial(Fragile, 3), width=3)
    troubles = {result.submission: result.trouble for result in results if result.trouble}
    assert troubles == {"c": "the grading process died twice"}
    assert sum(result.earned for result in results) == 15.0


def test_without_submissions_nothing_is_started(run):
    assert run("", passed, hire=None) == []
