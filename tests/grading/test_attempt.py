import pytest
from fakekernel import FakeKernel

from d2lcompute.grading import payload
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.attempt import NoAnswerError, OwnCodeError, Sitting
from d2lcompute.grading.results import Work
from d2lcompute.notebooks.cell import KernelError


def sit(*cells, start=FakeKernel, seconds=30.0, **solutions):
    FakeKernel.started = 0
    return Sitting(Assignment(cells), solutions, start, seconds)


def code(source):
    return Cell(source)


def solution(name):
    return Cell("the reference's own", "solution", name)


def check(source, name="c", hidden=False):
    return Cell(source, "hidden-check" if hidden else "check", name, 1.0)


def test_a_check_runs_after_all_that_stands_before_it_and_once():
    last = check("answer(ran)")
    cells = code("ran.append(1)"), solution("a"), check("ran.append('no')"), code("ran.append(3)")
    sitting = sit(*cells, last, a="ran.append(2)")
    assert sitting.ask(last, 0) == [1, 2, 3]
    assert sitting.ask(last, 0) == [1, 2, 3]


def test_the_references_own_solution_is_never_run():
    last = check("answer(ran)")
    assert sit(solution("a"), last).ask(last, 0) == []


def test_an_error_costs_what_depends_on_it():
    first, second = check("answer(f)", "1"), check("answer(g)", "2")
    sitting = sit(solution("f"), solution("g"), first, second, f="f = 1 / 0", g="g = 2")
    with pytest.raises(NoAnswerError, match="the check ended in an error") as caught:
        sitting.ask(first, 0)
    assert caught.value.words == "NameError: name 'f' is not defined"
    assert sitting.ask(second, 0) == 2
    assert sitting.works() == (
        Work("f", "failed", "ZeroDivisionError: division by zero"),
        Work("g", "done"),
    )


@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [
        ("1", "no answer was given", ""),
        ("answer(1); answer(1)", "more than one answer was given", ""),
        ("answer(1); 1 / 0", "the check ended in an error", "ZeroDivisionError: division by zero"),
        ("show({'text/plain': '1'})", "no answer was given", ""),
        (f"show({{{payload.MIME!r}: '1'}}, 'execute_result')", "no answer was given", ""),
        (
            f"show({{{payload.MIME!r}: 'x'}})",
            "no answer could be read",
            "the answer is malformed: ",
        ),
    ],
)
def test_a_check_without_one_answer_says_why(source, reason, words):
    only = check(source)
    with pytest.raises(NoAnswerError, match=reason) as caught:
        sit(only).ask(only, 0)
    assert caught.value.words.startswith(words)


def test_an_answer_that_a_solution_shows_is_none():
    only = check("1")
    with pytest.raises(NoAnswerError, match="no answer was given"):
        sit(solution("a"), only, a="answer(1)").ask(only, 0)


DEATH = "fail(KernelDiedError('the kernel ended'))"


def test_a_solution_that_ends_its_kernel_costs_itself_alone():
    first, second = check("answer(a)", "1"), check("answer(b)", "2")
    sitting = sit(solution("a"), solution("deadly"), solution("b"), first, second,
                  a="a = 1", deadly=DEATH, b="b = 2")  # fmt: skip
    assert (sitting.ask(first, 0), sitting.ask(second, 0)) == (1, 2)
    assert FakeKernel.started == 2
    assert sitting.works()[1] == Work("deadly", "failed", "the kernel ended")


def test_a_check_that_ends_its_kernel_costs_itself_alone():
    first, second = check(DEATH, "1"), check("answer(a)", "2")
    sitting = sit(solution("a"), first, second, a="a = 1")
    with pytest.raises(NoAnswerError, match="no answer: the kernel ended"):
        sitting.ask(first, 0)
    assert sitting.ask(second, 0) == 1
    assert FakeKernel.started == 2


KILLED = "fail(KernelKilledError('the kernel ended by SIGKILL'))"
KILLED_ONCE = f"if number == 1: {KILLED}"


@pytest.mark.parametrize("where", ["before", "solution", "check"])
def test_a_kernel_that_is_killed_once_costs_nothing(where):
    cells = {"before": "a = 1", "solution": "b = 2", "check": "answer([a, b])"}
    cells[where] = f"{KILLED_ONCE}\n{cells[where]}"
    last = check(cells["check"], hidden=True)
    sitting = sit(code(cells["before"]), solution("b"), last, b=cells["solution"])
    assert sitting.ask(last, 0) == [1, 2]
    assert FakeKernel.started == 2
    assert sitting.works() == (Work("b", "done"),)
    assert sitting.has_seen_hidden


def test_code_that_kills_its_kernel_each_time_is_to_blame():
    first, second = check("answer(a)", "1"), check(KILLED, "2")
    sitting = sit(solution("a"), solution("deadly"), first, second, a="a = 1", deadly=KILLED)
    assert sitting.ask(first, 0) == 1
    assert FakeKernel.started == 3
    assert sitting.works()[1] == Work("deadly", "failed", "the kernel ended by SIGKILL")
    with pytest.raises(NoAnswerError, match="no answer: the kernel ended by SIGKILL"):
        sitting.ask(second, 0)
    assert FakeKernel.started == 4


@pytest.mark.parametrize("failure", [KILLED, DEATH, "fail(CellTimeoutError('slow'), dies=False)"])
def test_what_fails_before_the_submissions_code_ran_is_not_its_fault(failure):
    last = check("answer(1)")
    for cells in (code(failure), solution("a"), last), (solution("gone"), code(failure), last):
        with pytest.raises(OwnCodeError, match="the assignment's own code failed: "):
            sit(*cells, a="a = 1").ask(last, 0)
    broken = check(failure)
    with pytest.raises(OwnCodeError, match="the assignment's own code failed: "):
        sit(broken, solution("a"), a="a = 1").ask(broken, 0)


def test_what_fails_after_the_submissions_code_ran_may_be_its_fault():
    last = check("answer(1)")
    sitting = sit(solution("a"), code(DEATH), last, a="a = 1")
    assert sitting.ask(last, 0) == 1
    assert FakeKernel.started == 2


def test_a_kernel_that_was_interrupted_goes_on():
    slow = "fail(CellTimeoutError('the cell took longer than 30 s'), dies=False)"
    last = check("answer([a, b])")
    sitting = sit(
        solution("a"), solution("slow"), solution("b"), last, a="a = 1", slow=slow, b="b=2"
    )
    assert sitting.ask(last, 0) == [1, 2]
    assert FakeKernel.started == 1


def test_the_notebook_has_a_clock_of_its_own():
    first, second = check("answer(1)", "1"), check("answer(2)", "2")
    sitting = sit(first, second, seconds=0.0)
    for each in (first, second):
        with pytest.raises(NoAnswerError, match="no answer: the notebook took longer than 0 s"):
            sitting.ask(each, 0)
    assert FakeKernel.started == 0


def test_a_kernel_that_does_not_start_is_not_the_submissions_fault():
    def broken():
        raise KernelError("no more processes")

    only = check("answer(1)")
    with pytest.raises(RuntimeError, match="a kernel could not be started: no more processes"):
        sit(only, start=broken).ask(only, 0)


def test_what_code_says_after_a_hidden_check_is_private():
    hidden, last = check("answer(1)", "h", hidden=True), check("answer(2)", "v")
    cells = solution("before"), hidden, solution("after"), last
    sitting = sit(*cells, before="1 / 0", after="raise ValueError('the hidden source')")
    assert not sitting.has_seen_hidden
    sitting.ask(hidden, 0)
    assert sitting.has_seen_hidden
    sitting.ask(last, 0)
    assert [work.private for work in sitting.works()] == [False, True]
    assert sitting.works()[1].feedback == "failed"


def test_a_new_kernel_has_seen_nothing():
    hidden, last = check(DEATH, "h", hidden=True), check("answer(2)", "v")
    sitting = sit(solution("a"), hidden, last, a="a = 1")
    with pytest.raises(NoAnswerError, match="the kernel ended"):
        sitting.ask(hidden, 0)
    assert not sitting.has_seen_hidden


def test_what_a_kernel_sends_that_no_kernel_sends_is_its_own_words():
    last = check("fail(ProtocolError('nonsense: the hidden source'))")
    with pytest.raises(NoAnswerError, match=r"^the kernel sent nonsense$") as caught:
        sit(solution("a"), last, a="a = 1").ask(last, 0)
    assert "hidden source" in caught.value.words


def test_solutions_that_were_not_begun_are_told_apart():
    last = check("answer(1)")
    sitting = sit(solution("gone"), solution("stub"), last, stub="  ...  # your answer\n")
    sitting.ask(last, 0)
    assert [work.state for work in sitting.works()] == ["missing", "untouched"]


def test_one_cold_kernel_makes_a_sitting_cold():
    last = check("answer(1)")
    sitting = sit(last)
    assert sitting.warm
    FakeKernel.why_cold = "this is not Linux"
    try:
        sitting.ask(last, 0)
    finally:
        FakeKernel.why_cold = None
    assert not sitting.warm
