import os
import pickle
import threading

import pytest
import torch
from fakekernel import FakeKernel

from d2lcompute.grading.answers import decode
from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
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


CONDITIONS = Conditions(allow_unisolated=True)


def expected(assignment, *submissions, key="secret"):
    seeds = [draw_seeds(assignment, key, submission) for submission in submissions]
    return expect(assignment, CONDITIONS, seeds)


def graded(solutions=HONEST, fault="", name="ada", assignment=ASSIGNMENT):
    submission = Submission(name, solutions, fault)
    (answers,) = expected(assignment, submission)
    return grade_submission(assignment, CONDITIONS, submission, answers)


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


def test_marks_stand_in_the_order_of_the_assignment_though_hidden_checks_run_last():
    ran = Assignment(
        (
            Cell("answer(number)", "hidden-check", "h", 1.0),
            Cell("x = 1", "solution", "x"),
            Cell("answer(number)", "check", "s", 1.0),
        )
    )
    FakeKernel.started = 0
    (answers,) = expected(ran, Submission("ada"))
    assert [decode(answers[name][0].answer) for name in ("s", "h")] == [1, 2]
    assert [mark.check for mark in graded({}, assignment=ran).marks] == ["h", "s"]


def test_no_words_spoken_after_a_hidden_check_reach_anybody_who_should_not_hear_them():
    spy = "if number % 2 == 0: raise ValueError('answer([twice, ' + repr('secret'))"
    FakeKernel.started = 2  # the reference has two kernels, the submission the next two
    result = graded({"twice": "twice = 2.0", "half": "half = 0.5", "spy": spy})
    assert [outcome.state for outcome in result.outcomes] == ["done", "done"]
    assert result.marks[1].feedback == "passed"


def test_what_a_visible_check_says_is_shown_in_full():
    result = graded({"twice": "twice = 2.0", "half": "raise ValueError('my own words')"})
    assert result.outcomes[1].feedback == "failed: ValueError: my own words"
    assert result.marks[2].feedback == (
        "the check ended in an error: NameError: name 'half' is not defined"
    )


LUCKY = Assignment(
    (
        Cell("def sign(x): return 1 if x > 0.5 else -1", "solution", "sign"),
        Cell("answer(sign(draw()))", "check", "c", 1.0, draws=20),
    )
)


def test_one_wrong_draw_is_enough():
    right = {"sign": "def sign(x): return 1 if x > 0.5 else -1"}
    assert graded(right, assignment=LUCKY).earned == 1.0
    assert graded({"sign": "def sign(x): return 1"}, assignment=LUCKY).earned == 0.0


def test_a_mark_tells_its_seeds():
    mark = graded(assignment=LUCKY, solutions={"sign": "sign = abs"}).marks[0]
    assert mark.seeds == draw_seeds(LUCKY, "secret", Submission("ada", {"sign": "sign = abs"}))["c"]
    assert len(set(mark.seeds)) == 20


@pytest.mark.parametrize(
    "source",
    [
        "ran.append(1); answer(len(ran))",
        "answer(draw()); ran.append(1) if ran else ran.extend([1, 2]); answer(ran[-1])",
    ],
)
def test_a_check_that_depends_on_what_was_asked_before_is_refused(source):
    broken = Assignment((Cell("x = 1", "solution", "x"), Cell(source, "check", "c", 1.0)))
    with pytest.raises(AssignmentError, match=r"check c (answers differently|fails)"):
        expected(broken, Submission("ada"), Submission("bob"))


def test_no_check_can_use_what_another_one_left():
    cells = (
        Cell("x = 1", "solution", "x"),
        Cell("left = 1; answer(x)", "check", "first", 1.0),
        Cell("answer(left)", "check", "second", 1.0),
    )
    with pytest.raises(AssignmentError, match="NameError: name 'left' is not defined"):
        expected(Assignment(cells), Submission("ada"))


def test_trouble_with_kernels_is_not_the_students(monkeypatch):
    submission = Submission("ada", HONEST)
    (answers,) = expected(ASSIGNMENT, submission)

    def broken(self):
        raise RuntimeError("no kernel today")

    monkeypatch.setattr(Conditions, "start", broken)
    result = grade_submission(ASSIGNMENT, CONDITIONS, submission, answers)
    assert result.trouble == "RuntimeError: no kernel today"


def test_seeds_belong_to_a_run_a_submission_a_check_and_a_draw():
    def seeds(key, submission):
        drawn = draw_seeds(ASSIGNMENT, key, submission)
        return [seed for check in ASSIGNMENT.checks for seed in drawn[check]]

    ada, bob, other = Submission("ada"), Submission("bob"), Submission("ada", {"half": "1"})
    drawn = [*seeds("one", ada), *seeds("two", ada), *seeds("one", bob), *seeds("one", other)]
    assert len(set(drawn)) == len(drawn) == 4 * 3 * 3
    assert seeds("one", ada) == seeds("one", ada)
    assert all(0 <= seed < 2**63 for seed in drawn)


def test_the_reference_answers_all_seeds_before_it_goes_on():
    cells = (
        Cell("x = 1", "solution", "x"),
        Cell("answer([draw(), x])", "check", "c", 1.0),
        Cell("x = 2"),
        Cell("answer([draw(), x])", "check", "d", 1.0),
    )
    answers = expected(Assignment(cells), *map(Submission, ("ada", "bob", "eve")))
    for number, name in enumerate(("c", "d"), start=1):
        found = [decode(draw.answer) for own in answers for draw in own[name]]
        assert {x for _, x in found} == {number}
        assert len({draw for draw, _ in found}) == 9


def test_large_answers_are_asked_for_in_portions(monkeypatch):
    counts = []
    ask = FakeKernel.ask

    def count(self, seeds, *more):
        counts.append(len(seeds))
        return ask(self, seeds, *more)

    monkeypatch.setattr(FakeKernel, "ask", count)
    cells = Cell("x = 1", "solution", "x"), Cell("answer('x' * 900_000)", "check", "c", 1.0)
    expected(Assignment(cells), Submission("ada"), Submission("bob"))
    assert counts == [1, 2, 2, 1, 1]


def test_what_is_expected_can_be_sent_to_other_processes():
    (answers,) = expected(ASSIGNMENT, Submission("ada"))
    assert pickle.loads(pickle.dumps(answers)) == answers


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
        expected(broken, Submission("ada"))
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
            expected(Assignment(cells), Submission("ada"))


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
