import json
from dataclasses import asdict

import pytest

from d2lcompute.grading.results import Mark, Result, Work

PASSED = Mark("a", 2.0, True, False)
FAILED = Mark("b", 3.0, False, False, "the check ended in an error", "NameError: x")
HIDDEN = Mark("c", 5.0, False, True, "the answer must be 3", "words", True, 0.2)


def test_only_what_passed_earns():
    assert [mark.earned for mark in (PASSED, FAILED, HIDDEN)] == [2.0, 0.0, 0.0]
    assert Result("ada", "d", (PASSED, FAILED, HIDDEN)).earned == 2.0


@pytest.mark.parametrize(
    ("mark", "feedback"),
    [
        (PASSED, "passed"),
        (FAILED, "the check ended in an error: NameError: x"),
        (Mark("b", 3.0, False, False, "no answer", "NameError: x", True), "no answer"),
        (Mark("b", 3.0, False, False, "no answer"), "no answer"),
        (HIDDEN, "not passed"),
        (Mark("c", 5.0, True, True), "passed"),
    ],
)
def test_students_read_of_a_check_what_they_may(mark, feedback):
    assert mark.feedback == feedback


@pytest.mark.parametrize(
    ("work", "feedback"),
    [
        (Work("a", "done"), "done"),
        (Work("a", "failed", "NameError: x"), "failed: NameError: x"),
        (Work("a", "failed", "NameError: x", True), "failed"),
    ],
)
def test_students_read_of_a_solution_what_they_may(work, feedback):
    assert work.feedback == feedback


@pytest.mark.parametrize(
    ("result", "state"),
    [
        (Result("ada", "d"), "graded"),
        (Result("ada", "d", fault="no notebook"), "unreadable"),
        (Result("ada", "d", fault="no notebook", trouble="no kernel"), "not graded"),
    ],
)
def test_the_state_says_whether_marks_can_be_relied_upon(result, state):
    assert result.state == state


def test_a_result_survives_json():
    works = (Work("a", "failed", "x", True),)
    result = Result(
        "ada", "d", (PASSED, HIDDEN), works, "f", "t", "limits", ("network",), True, 1.5
    )
    assert Result.from_dict(json.loads(json.dumps(asdict(result)))) == result
