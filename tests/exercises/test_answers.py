"""The exercises judge right: every stored answer, wrong or right, for many random cases.

`pytest tests/exercises/test_answers.py --seeds 100` tries each answer under 100 seeds.
"""

import ast
import inspect
import textwrap
from collections import Counter

import pytest
from stored_answers import defined, stored

from d2lcompute.exercises.exercise import RIGHT, SHARED, SOLUTION, exercises, hints_for, materials
from d2lcompute.exercises.judge import _ERRORS, judge

STORED = list(stored())
every_exercise = pytest.mark.parametrize("exercise", exercises(), ids=lambda one: one.name)


def names():
    count = Counter()
    for exercise, cause, _ in STORED:
        count[exercise.name, cause] += 1
        yield f"{exercise.name}, {cause} {count[exercise.name, cause]}".replace(" ", "-")


@pytest.mark.filterwarnings("ignore")  # students' code may warn
@pytest.mark.parametrize(("exercise", "cause", "code"), STORED, ids=list(names()))
def test_an_answer_is_judged_right_whatever_the_cases(request, exercise, cause, code):
    for seed in range(request.config.getoption("--seeds")):
        verdict = judge(exercise, defined(code), seed)
        seen = f"{verdict.failed}: {verdict.fact} {verdict.line}"
        if cause in (SOLUTION, RIGHT):
            assert not verdict.failed, seen
            assert verdict.passed == tuple(exercise.steps)
        else:
            assert verdict.cause == cause, seen
            assert verdict.fact


@every_exercise
def test_each_exercise_has_answers_enough_to_measure_it(exercise):
    answers = exercise.material.answers
    wrong = sum(len(codes) for cause, codes in answers.items() if cause not in (SOLUTION, RIGHT))
    assert len(answers[SOLUTION]) >= 1
    assert len(answers[RIGHT]) >= 5
    assert wrong >= 8


@every_exercise
def test_three_hints_lie_between_a_cause_and_the_answer(exercise):
    causes = {*exercise.material.hints, *exercise.material.answers} - {SOLUTION, RIGHT}
    for cause in causes:
        hints = hints_for(exercise.name, cause)
        assert len(hints) == len(set(hints)) == 3, cause
        for code in exercise.material.answers[SOLUTION]:
            lines = [line.strip() for line in code.splitlines() if len(line.strip()) > 25]
            assert not any(line in hint for line in lines for hint in hints), cause


@every_exercise
def test_each_cause_with_hints_of_its_own_has_a_wrong_answer(exercise):
    assert set(exercise.material.hints) <= set(exercise.material.answers)


def test_hints_that_are_shared_are_three_for_each_cause():
    for cause, hints in materials(SHARED)[SHARED].hints.items():
        assert len(set(hints)) == 3, cause


def causes(function, seen):
    """The causes that a check can name, itself or through what it calls."""
    seen.add(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        called = getattr(getattr(node, "func", None), "id", "")
        if called in ("expect", "NotYetError"):
            cause = node.args[called == "expect"]
            yield from [cause.value] if isinstance(cause, ast.Constant) else []
        other = inspect.unwrap(function.__globals__.get(getattr(node, "id", "")) or print)
        if inspect.isfunction(other) and other not in seen and "exercises" in other.__module__:
            yield from causes(other, seen)


@every_exercise
def test_whatever_a_check_finds_has_hints(exercise):
    for check in exercise.steps.values():
        for cause in causes(check, set()):
            assert len(hints_for(exercise.name, cause)) == 3, cause


def test_every_error_of_an_answer_has_hints():
    for cause in {*_ERRORS.values(), "error", "unusable", "remembers", "setting changed"}:
        assert len(hints_for("blocks.list", cause)) == 3, cause
