import json
from dataclasses import asdict, replace

import pytest

from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.results import Journal, Mark, Outcome, Result

PASSED = Mark("a", 2.0, True, False)
FAILED = Mark("b", 3.0, False, False, "the check ended in an error", "NameError: x")
HIDDEN = Mark("c", 5.0, False, True, "the answer must be 3", "details", True, 0.2)


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
    ("outcome", "feedback"),
    [
        (Outcome("a", "done"), "done"),
        (Outcome("a", "failed", "NameError: x"), "failed: NameError: x"),
        (Outcome("a", "failed", "NameError: x", True), "failed"),
    ],
)
def test_students_read_of_a_solution_what_they_may(outcome, feedback):
    assert outcome.feedback == feedback


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
    outcomes = (Outcome("a", "failed", "x", True),)
    result = Result(
        "ada", "d", (PASSED, HIDDEN), outcomes, "f", "t", "limits", ("network",), True, 1.5
    )
    assert Result.from_dict(json.loads(json.dumps(asdict(result)))) == result


CELLS = (Cell("x", "solution", "x"), Cell("answer(x)", "check", "c", 3.0))
HOMEWORK = Assignment(CELLS, "Homework")
VERSION = HOMEWORK.versions["c"]


def result(name, digest="d", **more):
    return Result(name, digest, (Mark("c", 3.0, True, False, version=VERSION),), **more)


def test_what_was_written_is_read_again(tmp_path):
    journal = Journal.start(tmp_path, HOMEWORK)
    journal.add(result("bob"))
    journal.add(result("ada"))
    again = Journal.open(tmp_path)
    assert again.results == [result("ada"), result("bob")]
    assert (again.heading.title, again.heading.points) == ("Homework", 3.0)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    Journal.start(tmp_path, HOMEWORK).add(result("ada"))
    journal = Journal.start(tmp_path, HOMEWORK)
    assert journal.left("ada", "d") == []
    assert journal.left("ada", "another digest") == ["c"]
    assert journal.left("bob", "d") == ["c"]


def test_a_longer_limit_is_for_those_who_ran_out_of_one(tmp_path):
    journal = Journal.start(tmp_path, HOMEWORK)
    journal.add(result("ada", ran_out_of=10.0))
    assert journal.left("ada", "d", 10.0) == []
    assert journal.left("ada", "d", 11.0) == ["c"]


def test_who_ran_out_of_a_limit_is_known_while_the_mark_of_then_stays(tmp_path):
    check = Cell("answer(2 * x)", "check", "d", 1.0)
    journal = Journal.start(tmp_path, replace(HOMEWORK, cells=(*CELLS, check)))
    journal.add(result("ada", ran_out_of=10.0))
    other = Mark("d", 1.0, True, False, version=journal.heading.versions["d"])
    journal.add(Result("ada", "d", (other,)))
    assert journal.left("ada", "d", 10.0) == []
    assert journal.left("ada", "d", 11.0) == ["c", "d"]
    journal.add(replace(result("ada"), marks=(*result("ada").marks, other)))
    assert journal.left("ada", "d", 11.0) == []


def test_what_was_not_graded_is_graded_again(tmp_path):
    journal = Journal.start(tmp_path, HOMEWORK)
    journal.add(result("ada", trouble="no kernel"))
    assert journal.left("ada", "d") == ["c"]
    journal.add(result("ada"))
    assert Journal.open(tmp_path).results == [result("ada")]


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_line_that_was_cut_off_costs_itself(tmp_path, cut):
    journal = Journal.start(tmp_path, HOMEWORK)
    journal.add(result("ada"))
    journal.add(result("bob"))
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-cut])
    journal = Journal.start(tmp_path, HOMEWORK)
    assert journal.results == [result("ada")]
    journal.add(result("bob"))
    assert journal.path.read_bytes() == data


def test_a_heading_that_was_cut_off_is_written_again(tmp_path):
    path = Journal.start(tmp_path, HOMEWORK).path
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    Journal.start(tmp_path, HOMEWORK)
    assert path.read_bytes() == whole


def test_a_changed_check_is_left_and_nothing_else(tmp_path):
    check = Cell("answer(1)", "check", "d", 1.0)
    before = Assignment((*CELLS, check), "Homework")
    marks = [Mark(name, 1.0, True, False, version=before.versions[name]) for name in "cd"]
    Journal.start(tmp_path, before).add(Result("ada", "d", tuple(marks)))
    changed = Assignment((*CELLS, replace(check, source="answer(2)")), "Homework")
    journal = Journal.start(tmp_path, changed)
    assert journal.left("ada", "d") == ["d"]
    mark = Mark("d", 1.0, False, False, version=changed.versions["d"])
    journal.add(Result("ada", "d", (mark,)))
    (found,) = Journal.open(tmp_path).results
    assert [(mark.check, mark.passed) for mark in found.marks] == [("c", True), ("d", False)]
    assert journal.left("ada", "d") == []


@pytest.mark.parametrize("place", [0, 1])
def test_a_change_of_what_runs_before_a_check_touches_it(place):
    cells = [Cell("import torch"), *CELLS]
    before = Assignment(tuple(cells)).versions
    cells[place] = replace(cells[place], source="y")
    assert Assignment(tuple(cells)).versions != before


def test_what_a_check_is_worth_may_change_without_running_anything(tmp_path):
    Journal.start(tmp_path, HOMEWORK).add(result("ada"))
    journal = Journal.start(tmp_path, Assignment((CELLS[0], replace(CELLS[1], points=5.0))))
    assert journal.left("ada", "d") == []
    assert [each.earned for each in journal.results] == [5.0]
    assert Journal.open(tmp_path).heading.points == 5.0


def test_results_of_another_assignment_are_not_mixed(tmp_path):
    Journal.start(tmp_path, HOMEWORK).add(result("ada"))
    other = Assignment((CELLS[0], Cell("answer(1)", "check", "d", 1.0)), "Homework")
    with pytest.raises(ValueError, match=r"results for another one; do --to ANOTHER-FOLDER"):
        Journal.start(tmp_path, other)
    assert Journal.open(tmp_path).results == [result("ada")]


def test_without_results_there_is_nothing_to_open(tmp_path):
    with pytest.raises(
        ValueError, match=r"`results` must be a folder with a results.jsonl, got .*"
    ):
        Journal.open(tmp_path)
