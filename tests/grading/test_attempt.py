import pickle

import pytest
from fakekernel import FakeKernel

from d2lcompute.grading import answers, attempt
from d2lcompute.grading.answers import MIME, decode
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.attempt import (
    Attempt,
    Conditions,
    NoAnswerError,
    NotIsolatedError,
    OwnCodeError,
)
from d2lcompute.grading.results import Outcome
from d2lcompute.notebooks.cell import KernelError
from d2lcompute.notebooks.isolation import Isolation
from d2lcompute.notebooks.warm import NotWarmError


def attempt_of(*cells, start=FakeKernel, seconds=30.0, **solutions):
    FakeKernel.started = 0
    return Attempt(Assignment(cells), solutions, start, seconds)


def code(source):
    return Cell(source)


def solution(name):
    return Cell("the reference's own", "solution", name)


def check(source, name="c", hidden=False):
    return Cell(source, "hidden-check" if hidden else "check", name, 1.0)


def ask(attempt, cell, *seeds):
    """The values that a check answers under `seeds`, one of them without any."""
    found = [decode(text) for text in attempt.ask(cell, seeds or (0,))]
    return found if seeds else found[0]


def test_a_check_runs_after_all_that_stands_before_it_and_once():
    last = check("answer(ran)")
    cells = code("ran.append(1)"), solution("a"), check("ran.append('no')"), code("ran.append(3)")
    attempt = attempt_of(*cells, last, a="ran.append(2)")
    assert ask(attempt, last) == [1, 2, 3]
    assert ask(attempt, last) == [1, 2, 3]


def test_a_check_is_asked_under_each_seed():
    only = check("answer(draw())")
    attempt = attempt_of(only)
    first, second, again = ask(attempt, only, 1, 2, 1)
    assert first == again != second


def test_the_references_own_solution_is_never_run():
    last = check("answer(ran)")
    assert ask(attempt_of(solution("a"), last), last) == []


def test_an_error_costs_what_depends_on_it():
    first, second = check("answer(f)", "1"), check("answer(g)", "2")
    attempt = attempt_of(solution("f"), solution("g"), first, second, f="f = 1 / 0", g="g = 2")
    with pytest.raises(NoAnswerError, match="the check ended in an error") as caught:
        ask(attempt, first)
    assert caught.value.details == "NameError: name 'f' is not defined"
    assert ask(attempt, second) == 2
    assert attempt.outcomes() == (
        Outcome("f", "failed", "ZeroDivisionError: division by zero"),
        Outcome("g", "done"),
    )


@pytest.mark.parametrize(
    ("source", "reason", "details"),
    [
        ("1", "no answer was given", ""),
        ("answer(1); answer(1)", "more than one answer was given", ""),
        ("answer(1); 1 / 0", "the check ended in an error", "ZeroDivisionError: division by zero"),
        (f"answer(1); show({{{MIME!r}: '[]'}})", "more than one answer was given", ""),
        (f"show({{{MIME!r}: '1'}}, 'execute_result')", "no answer was given", ""),
    ],
)
def test_a_check_without_one_answer_says_why(source, reason, details):
    only = check(source)
    with pytest.raises(NoAnswerError, match=reason) as caught:
        ask(attempt_of(only), only)
    assert caught.value.details == details


@pytest.mark.parametrize(
    "sent", ["1", "null", "{}", '"x"', "[]", "[[]]", '["x"]', "[[], []]", "[", 100_000 * "[", ["1"]]
)
def test_what_else_a_kernel_shows_as_answers_is_none(monkeypatch, sent):
    only = check("1")
    monkeypatch.setattr(FakeKernel, "ask", lambda self, *_: self.show({MIME: sent}))
    with pytest.raises(NoAnswerError, match=r"no answer (was given|could be read)"):
        ask(attempt_of(only), only)


def test_where_nobody_minds_a_draw_that_fails_gives_nothing():
    only = check("answer(1 / (draw() < 0.5))")
    attempt = attempt_of(only)
    found = attempt.ask(only, range(20), go_on=True)
    assert {None, answers.encode(1.0)} == set(found)


def test_an_answer_that_a_solution_gives_is_an_error_of_its_own():
    only = check("1")
    attempt = attempt_of(solution("a"), only, a="answer(1)")
    with pytest.raises(NoAnswerError, match="no answer was given"):
        ask(attempt, only)
    assert attempt.outcomes()[0].state == "failed"


DEATH = "fail(KernelDiedError('the kernel ended'))"


def test_a_solution_that_ends_its_kernel_costs_itself_alone():
    first, second = check("answer(a)", "1"), check("answer(b)", "2")
    attempt = attempt_of(solution("a"), solution("deadly"), solution("b"), first, second,
                         a="a = 1", deadly=DEATH, b="b = 2")  # fmt: skip
    assert (ask(attempt, first), ask(attempt, second)) == (1, 2)
    assert FakeKernel.started == 3
    assert attempt.outcomes()[1] == Outcome("deadly", "failed", "the kernel ended")


def test_a_check_that_ends_its_kernel_costs_itself_alone():
    first, second = check(DEATH, "1"), check("answer(a)", "2")
    attempt = attempt_of(solution("a"), first, second, a="a = 1")
    with pytest.raises(NoAnswerError, match="no answer: the kernel ended"):
        ask(attempt, first)
    assert ask(attempt, second) == 1
    assert FakeKernel.started == 3


@pytest.mark.parametrize("kind", ["KernelDiedError", "KernelKilledError"])
@pytest.mark.parametrize("where", ["before", "solution", "check"])
def test_a_kernel_that_ends_once_costs_nothing(where, kind):
    cells = {"before": "a = 1", "solution": "b = 2", "check": "answer([a, b])"}
    cells[where] = f"if number == 1: fail({kind}('the kernel ended'))\n{cells[where]}"
    last = check(cells["check"])
    attempt = attempt_of(code(cells["before"]), solution("b"), last, b=cells["solution"])
    assert ask(attempt, last) == [1, 2]
    assert FakeKernel.started == 2
    assert attempt.outcomes() == (Outcome("b", "done"),)


def test_too_much_memory_is_no_accident():
    first = check("answer(1)")
    bomb = "fail(MemoryLimitError('too much memory'))"
    attempt = attempt_of(solution("a"), first, a=bomb)
    assert ask(attempt, first) == 1
    assert FakeKernel.started == 2
    assert attempt.outcomes()[0].details == "too much memory"


LATE = "fail(KernelDiedError('the kernel ended'), began=False)"


def test_what_a_check_filled_is_emptied_before_the_next():
    first, second = check("held.append(f())", "1"), check("answer(len(held))", "2")
    cells = code("held = ['from the beginning']"), solution("f"), first, second
    source = """def f():
        held.append("much")
        raise MemoryError"""
    attempt = attempt_of(*cells, f=source)
    with pytest.raises(NoAnswerError, match="the check ended in an error") as caught:
        ask(attempt, first)
    assert caught.value.details == "MemoryError:"
    assert ask(attempt, second) == 1
    assert FakeKernel.started == 2


def test_what_ends_the_kernel_a_moment_later_is_to_blame_and_not_what_runs_then():
    cells = solution("a"), solution("deadly"), code(f"if 'deadly' in dir(): {LATE}")
    first, second = check("answer(a)", "1"), check("answer(b)", "2")
    attempt = attempt_of(*cells, first, solution("b"), second,
                         a="a = 1", deadly="deadly = 1", b="b = 2")  # fmt: skip
    assert (ask(attempt, first), ask(attempt, second)) == (1, 2)
    assert [outcome.state for outcome in attempt.outcomes()] == ["done", "failed", "done"]


def test_an_answered_check_that_ends_the_kernel_later_costs_nobody_else():
    first, second = (
        check("answer(1); ran.append(1)", "1"),
        check(f"{LATE} if ran else answer(2)", "2"),
    )
    attempt = attempt_of(solution("a"), first, second, a="a = 1")
    assert (ask(attempt, first), ask(attempt, second)) == (1, 2)


@pytest.mark.parametrize("failure", [DEATH, "fail(CellTimeoutError('slow'), dies=False)"])
def test_what_fails_before_the_submissions_code_ran_is_not_its_fault(failure):
    last = check("answer(1)")
    for cells in (code(failure), solution("a"), last), (solution("gone"), code(failure), last):
        with pytest.raises(OwnCodeError, match="the assignment's own code failed: "):
            ask(attempt_of(*cells, a="a = 1"), last)
    broken = check(failure)
    with pytest.raises(OwnCodeError, match="the assignment's own code failed: "):
        ask(attempt_of(broken, solution("a"), a="a = 1"), broken)


def test_what_fails_after_the_submissions_code_ran_may_be_its_fault():
    last = check("answer(1)")
    attempt = attempt_of(solution("a"), code(DEATH), last, a="a = 1")
    assert ask(attempt, last) == 1


def test_a_kernel_that_was_interrupted_goes_on():
    slow = "fail(CellTimeoutError('the cell took longer than 30 s'), dies=False)"
    last = check("answer([a, b])")
    attempt = attempt_of(
        solution("a"), solution("slow"), solution("b"), last, a="a = 1", slow=slow, b="b=2"
    )
    assert ask(attempt, last) == [1, 2]
    assert FakeKernel.started == 1


def test_the_cells_together_have_a_clock_of_their_own_twice():
    first, second = check("slow(11); answer(1)", "1"), check("answer(2)", "2")
    hidden = check("answer(3)", "3", hidden=True)
    attempt = attempt_of(first, second, hidden, seconds=1.0)
    assert ask(attempt, first) == 1
    with pytest.raises(NoAnswerError, match="no answer: the notebook took longer than 10 s"):
        ask(attempt, second)
    assert ask(attempt, hidden) == 3


def test_a_kernel_that_does_not_start_is_not_the_submissions_fault():
    def broken():
        raise KernelError("no more processes")

    only = check("answer(1)")
    with pytest.raises(RuntimeError, match="a kernel could not be started: no more processes"):
        ask(attempt_of(only, start=broken), only)


def test_hidden_checks_run_in_a_kernel_of_their_own():
    shown, hidden = check("answer(number)", "s"), check("answer(number)", "h", hidden=True)
    attempt = attempt_of(hidden, solution("a"), shown, a="a = 1")
    assert (ask(attempt, shown), ask(attempt, hidden)) == (1, 2)
    assert attempt.has_seen_hidden


def test_all_that_students_read_of_their_cells_comes_from_before():
    hidden, shown = check("answer(1)", "h", hidden=True), check("answer(2)", "s")
    cells = solution("before"), hidden, solution("after"), shown, solution("last")
    later = "if number == 2: raise ValueError('the hidden source')"
    attempt = attempt_of(*cells, before=later, after=later, last="1 / 0")
    ask(attempt, shown)
    assert not attempt.has_seen_hidden
    ask(attempt, hidden)
    assert [outcome.state for outcome in attempt.outcomes()] == ["done", "done", "failed"]
    assert [outcome.private for outcome in attempt.outcomes()] == [False, False, False]


def test_a_new_kernel_forgets_no_hidden_check():
    hidden = check(DEATH, "h", hidden=True)
    attempt = attempt_of(solution("a"), hidden, a="a = 1")
    with pytest.raises(NoAnswerError, match="the kernel ended"):
        ask(attempt, hidden)
    attempt.close()
    assert attempt.has_seen_hidden


def test_what_a_kernel_sends_that_no_kernel_sends_is_its_own_words():
    last = check("fail(ProtocolError('nonsense: the hidden source'))")
    with pytest.raises(NoAnswerError, match=r"^the kernel sent nonsense$") as caught:
        ask(attempt_of(solution("a"), last, a="a = 1"), last)
    assert "hidden source" in caught.value.details


def test_solutions_that_were_not_begun_are_told_apart():
    last = check("answer(1)")
    attempt = attempt_of(solution("gone"), solution("stub"), last, stub="  ...  # your answer\n")
    ask(attempt, last)
    assert [outcome.state for outcome in attempt.outcomes()] == ["missing", "untouched"]


def test_one_cold_kernel_makes_an_attempt_cold():
    last = check("answer(1)")
    attempt = attempt_of(last)
    assert attempt.warm
    FakeKernel.why_cold = "this is not Linux"
    try:
        ask(attempt, last)
    finally:
        FakeKernel.why_cold = None
    assert not attempt.warm


@pytest.fixture
def found(monkeypatch):
    """Decide what the machine can isolate."""

    def decide(isolation):
        def find(warm):
            if isinstance(isolation, str):
                raise RuntimeError(isolation)
            return isolation

        monkeypatch.setattr(attempt, "find_isolation", find)

    return decide


def test_isolation_is_taken_where_it_is_to_be_had(found):
    found(Isolation("bubblewrap", {}))
    assert Conditions().level.startswith("bubblewrap, memory ")
    assert Conditions(allow_unisolated=True).level == Conditions().level


@pytest.mark.parametrize(
    ("isolation", "reason"),
    [
        (
            Isolation("limits", {"namespaces": "no user namespaces"}),
            "namespaces: no user namespaces",
        ),
        ("this is Windows", "this is Windows"),
    ],
)
def test_without_isolation_nothing_runs(found, isolation, reason):
    found(isolation)
    with pytest.raises(NotIsolatedError, match=rf"\({reason}\); do --allow-unisolated to run it"):
        Conditions().start()


def test_without_isolation_it_runs_where_that_is_allowed_and_the_gaps_are_told(found):
    found(Isolation("limits", {}))
    assert Conditions(allow_unisolated=True).level.startswith("limits, memory ")
    assert "the network is open" in Conditions(allow_unisolated=True).gaps
    found("this is Windows")
    assert Conditions(allow_unisolated=True).level == "none"
    assert Conditions(allow_unisolated=True).gaps == ("student code has all of your rights",)


@pytest.fixture
def started(monkeypatch, found):
    """What kernels are started with."""
    found(Isolation("namespaces", {}))
    calls = []
    monkeypatch.setattr(attempt, "start_kernel", lambda *arguments: calls.append(arguments))
    attempt._warm_process.cache_clear()
    yield calls
    attempt._warm_process.cache_clear()


def test_all_kernels_of_a_process_come_from_one_warm_one(started, monkeypatch):
    made = []

    class FakeWarmProcess:
        def __init__(self, preload, environment):
            made.append(environment)

        def close(self): ...

    monkeypatch.setattr(attempt, "WarmProcess", FakeWarmProcess)
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    for _ in range(2):
        Conditions().start()
    Conditions(warm=False).start()
    assert len(made) == 1
    assert "GITHUB_TOKEN" not in made[0]
    assert [type(warm_process) for _, warm_process, _ in started] == [
        FakeWarmProcess,
        FakeWarmProcess,
        type(None),
    ]


def test_without_warm_kernels_they_start_cold(started, monkeypatch):
    def none(*_):
        raise NotWarmError("this is not Linux")

    monkeypatch.setattr(attempt, "WarmProcess", none)
    Conditions().start()
    assert started[0][1] is None


def test_conditions_travel_to_other_machines():
    assert pickle.loads(pickle.dumps(Conditions(False, True, 3.0))) == Conditions(False, True, 3.0)
