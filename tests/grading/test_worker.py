import os
import threading

import pytest
from fakekernel import FakeKernel

from d2lcompute.grading import worker
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.conditions import Conditions
from d2lcompute.grading.judge import expect
from d2lcompute.grading.submissions import Submission

ASSIGNMENT = Assignment((Cell("x = 1", "solution", "x"), Cell("answer(x)", "check", "c", 1.0)))
CONDITIONS = Conditions(allow_unisolated=True)


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())


def graded(name="ada", source="x = 1"):
    expected = expect(ASSIGNMENT, CONDITIONS, "secret")
    return worker.grade_submission(
        ASSIGNMENT, expected, CONDITIONS, Submission(name, {"x": source})
    )


def test_nothing_is_printed_and_nothing_stays(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    assert graded().earned == 1.0
    assert graded(source="x = 2").earned == 0.0
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == environment


@pytest.mark.parametrize("name", ["../../ada", "a/b", "陈省身 (1)", "x" * 300, "[a]::b", "-x"])
def test_a_name_is_only_a_name(name):
    result = graded(name)
    assert (result.submission, result.earned) == (name, 1.0)


def test_a_configuration_around_it_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    assert graded().earned == 1.0


def test_threads_wait_for_each_other():
    results = []
    threads = [threading.Thread(target=lambda: results.append(graded())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.earned for result in results] == [1.0] * 4


def test_where_pytest_cannot_run_the_submission_is_not_graded(monkeypatch):
    monkeypatch.setattr(worker, "OPTIONS", ("--no-such-option",))
    assert graded().trouble.startswith("pytest could not run: ")
