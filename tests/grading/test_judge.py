import os
import pickle
import threading

import pytest
import torch
from fakekernel import FakeKernel

from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import expect, grade_submission
from d2lcompute.grading.submissions import Submission

ASSIGNMENT = Assignment(
    (
        Cell("import torch"),
        Cell("twice = 2.0", "solution", "twice"),
        Cell("answer(twice)", "check", "shown", 1.0),
        Cell("answer([twice, 'secret'])", "hidden-check", "hidden", 2.0),
        Cell("half = 0.5", "solution", "half"),
        Cell("answer(half)", "check", "last", 4.0, (0.0, 0.1)),
    )
)
HONEST = {"twice": "twice = 2.0", "half": "half = 0.55"}


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())


def graded(solutions=HONEST, fault="", name="ada"):
    conditions = Conditions(allow_unisolated=True)
    expected = expect(ASSIGNMENT, conditions, "secret")
    return grade_submission(ASSIGNMENT, expected, conditions, Submission(name, solutions, fault))


def test_an_honest_submission_earns_all_points():
    result = graded()
    assert [(mark.check, mark.earned) for mark in result.marks] == [
        ("shown", 1.0),
        ("hidden", 2.0),
        ("last", 4.0),
    ]
    assert (result.submission, result.trouble, result.warm) == ("ada", "", True)
    assert result.digest == Submission("ada", HONEST).digest
    assert [outcome.state for outcome in result.outcomes] == ["done", "done"]


def test_marks_are_given_by_check():
    result = graded({"twice": "twice = 2.1", "half": "half = 0.5"})
    assert [mark.passed for mark in result.marks] == [False, False, True]
    assert result.earned == 4.0
    assert result.marks[0].reason == "the answer has other values"
    assert "Expected 2.0 but got 2.1" in result.marks[0].details
    assert result.marks[1].feedback == "not passed"


def test_a_submission_that_could_not_be_read_fails_with_the_reason():
    result = graded({}, fault="the file is not a notebook")
    assert {mark.reason for mark in result.marks} == {"the file is not a notebook"}
    assert (result.fault, result.earned, result.trouble) == ("the file is not a notebook", 0.0, "")


def test_no_words_spoken_after_a_hidden_check_reach_the_student():
    spy = "raise ValueError('answer([twice, ' + repr('secret'))"
    result = graded({"twice": "twice = 2.0", "half": spy})
    assert result.outcomes[1].details == "ValueError: answer([twice, 'secret'"
    assert result.marks[2].details == "NameError: name 'half' is not defined"
    assert result.outcomes[1].feedback == "failed"
    assert result.marks[2].feedback == "the check ended in an error"


def test_a_wrong_answer_carries_nothing_out():
    result = graded({"twice": "twice = 2.0", "half": "half = 123456.789"})
    assert "123456.789" in result.marks[2].details
    assert result.marks[2].feedback == "the answer has other values"


def test_trouble_with_kernels_is_not_the_students(monkeypatch):
    expected = expect(ASSIGNMENT, Conditions(allow_unisolated=True), "secret")

    def broken(self):
        raise RuntimeError("no kernel today")

    monkeypatch.setattr(Conditions, "start", broken)
    conditions = Conditions(allow_unisolated=True)
    result = grade_submission(ASSIGNMENT, expected, conditions, Submission("ada", HONEST))
    assert result.trouble == "RuntimeError: no kernel today"


def test_every_check_has_a_seed_of_its_own_that_follows_from_the_secret():
    def seeds(secret):
        found = expect(ASSIGNMENT, Conditions(allow_unisolated=True), secret)
        return [each.seed for each in found.values()]

    assert len(set(seeds("one") + seeds("two"))) == 6
    assert seeds("one") == seeds("one")
    assert all(0 <= seed < 2**63 for seed in seeds("one"))


def test_what_is_expected_can_be_sent_to_other_processes():
    expected = expect(ASSIGNMENT, Conditions(allow_unisolated=True), "secret")
    assert pickle.loads(pickle.dumps(expected)) == expected


@pytest.mark.parametrize(
    ("source", "defect"),
    [
        ("1 / 0", "solution x of the reference: ZeroDivisionError: division by zero"),
        ("x = print", "check c fails with the reference: the check ended in an error TypeError: "),
    ],
)
def test_a_reference_that_fails_itself_is_no_reference(source, defect):
    broken = Assignment((Cell(source, "solution", "x"), Cell("answer(x)", "check", "c", 1.0)))
    with pytest.raises(AssignmentError, match=defect) as caught:
        expect(broken, Conditions(allow_unisolated=True), "secret")
    again = pickle.loads(pickle.dumps(caught.value))  # it crosses processes
    assert again.defects == caught.value.defects


def test_the_judges_own_random_numbers_are_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    graded()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_reference_whose_own_cells_take_too_long_is_no_reference():
    slow = "fail(CellTimeoutError('the cell took longer than 30 s'), dies=False)"
    solution, check = Cell("x = 1", "solution", "x"), Cell("answer(x)", "check", "c", 1.0)
    for cells in (Cell(slow), solution, check), (Cell(slow, "check", "c", 1.0), solution):
        with pytest.raises(AssignmentError, match=r"check c fails with the reference: .* longer"):
            expect(Assignment(cells), Conditions(allow_unisolated=True), "secret")


def test_nothing_is_printed_and_nothing_stays(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = dict(os.environ)
    assert graded().earned == 7.0
    assert graded({}).earned == 0.0
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert dict(os.environ) == environment


@pytest.mark.parametrize("name", ["../../ada", "a/b", "陈省身 (1)", "x" * 300, "[a]::b", "-x"])
def test_a_name_is_only_a_name(name):
    result = graded(name=name)
    assert (result.submission, result.earned) == (name, 7.0)


def test_submissions_can_be_graded_in_threads():
    results = []
    threads = [threading.Thread(target=lambda: results.append(graded())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.earned for result in results] == [7.0] * 4
