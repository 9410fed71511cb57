from collections import namedtuple
from itertools import count

import pytest
import torch
from fakekernel import FakeKernel
from handins import Here
from torch import nn

from d2lcompute.grading import bench
from d2lcompute.grading import examine as examining
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.disturb import (
    CHANGES,
    DISTURBANCES,
    EFFECT,
    INPUT,
    ONE_CALL,
    RESULT,
    ZERO,
    calls,
    disturbed,
)
from d2lcompute.grading.examine import examine, findings

CONDITIONS = Conditions(allow_unisolated=True)
DRAWS = count(1000)
Pair = namedtuple("Pair", "values name")
VALUES = {
    "a matrix": lambda: torch.randn(3, 4),
    "a batch of images": lambda: torch.randn(2, 3, 4, 4),
    "a scalar": lambda: torch.randn(()),
    "whole numbers": lambda: torch.randint(2, 99, (5,)),
    "truths": lambda: torch.rand(7) > 0.5,
    "an empty tensor": lambda: torch.zeros(0, 3),
    "one row": lambda: torch.randn(1, 1),
    "a float": lambda: 0.25,
    "a truth": lambda: True,
    "a list of floats": lambda: [0.1, 0.7, 0.2],
    "names": lambda: ["0.bias", "0.weight"],
    "a shape": lambda: torch.Size([2, 3]),
    "shapes by name": lambda: {"weight": (2, 3), "bias": (2,)},
    "parts of all kinds": lambda: [torch.randn(2, 2), {"n": 3, "t": "text"}, (2.5, 1.5)],
    "a named tuple": lambda: Pair(torch.randn(3), "name"),
    "a maximum": lambda: torch.randn(3, 4).max(dim=1),
    "nothing": lambda: None,
    "a module": lambda: nn.Linear(2, 2),
}


@pytest.fixture(autouse=True)
def without_calls():
    calls.forget()


def equal(first, second):
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return all(map(equal, first, second))
    return first == second


def shape(value):
    if isinstance(value, torch.Tensor):
        return value.shape
    if isinstance(value, dict):
        return {key: shape(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [*map(shape, value)]
    return type(value)


@pytest.mark.parametrize("what", [what for aspect, what in DISTURBANCES if aspect == RESULT])
@pytest.mark.parametrize("name", VALUES)
def test_a_disturbed_result_is_another_of_the_same_kind_and_shape(name, what):
    right = VALUES[name]()
    torch.manual_seed(next(DRAWS))
    wrong = disturbed(RESULT, what)(lambda: right)()
    assert shape(wrong) == shape(right)
    has_something = name not in ("nothing", "a module", "an empty tensor")
    assert equal(wrong, right) == (not has_something)


@pytest.mark.parametrize("what", CHANGES)
def test_gradients_go_through_what_is_disturbed(what):
    X = torch.randn(4, 3, requires_grad=True)
    disturbed(RESULT, what)(lambda X: 2 * X)(X).sum().backward()
    assert X.grad.shape == (4, 3)


def test_an_input_is_disturbed_where_it_is_a_tensor():
    given = disturbed(INPUT, ZERO)(lambda *given, **more: [*given, more])
    assert equal(
        given(torch.ones(2), 3, "text", k=torch.ones(1)),
        [torch.zeros(2), 3, "text", {"k": torch.zeros(1)}],
    )


def test_an_effect_is_disturbed_where_something_was_written():
    net, other = nn.Linear(3, 2), torch.ones(2)
    weight = net.weight.detach().clone()

    @disturbed(EFFECT, "of the other sign")
    def fill(net, other):
        with torch.no_grad():
            net.bias.fill_(2.0)

    fill(net, other)
    assert net.bias.tolist() == [-2.0, -2.0]
    assert torch.equal(net.weight, weight)
    assert other.tolist() == [1.0, 1.0]


def test_what_is_called_within_is_left_alone():
    def double(x):
        return 2 * x

    double = disturbed(RESULT, "of the other sign")(double)
    assert disturbed(RESULT, "of the other sign")(lambda x: 3 * double(x))(1.0) == -6.0


def wrong_calls(what, check, draws=4):
    """Return which calls are wrong in some draws of a check, which gets what it calls."""
    wrong = []
    one = disturbed(RESULT, what)(lambda X: X + 1)
    for _ in range(draws):
        torch.manual_seed(next(DRAWS))
        X, results = torch.zeros(2, requires_grad=True), []
        check(lambda X=X, results=results: results.append(one(X)) or results[-1])
        wrong.append([not torch.equal(each, X + 1) for each in results])
    return wrong


def test_one_call_is_wrong_in_each_draw_in_turn():
    first, *rest = wrong_calls(ONE_CALL, lambda call: [call(), call()])
    assert first == [True, True]  # nobody knows yet how many there are
    assert all(sum(each) == 1 for each in rest)
    assert rest[0] == rest[2] != rest[1]


def test_a_single_call_is_wrong_in_each_draw():
    assert wrong_calls(ONE_CALL, lambda call: call()) == 4 * [[True]]


def test_values_are_wrong_where_no_gradient_would_show_it():
    def check(call):
        call().sum().backward()
        call()

    assert wrong_calls("of the other sign", check)[1:] == 3 * [[False, True]]


def test_an_effect_is_wrong_at_calls_that_have_one():
    seen = []

    @disturbed(EFFECT, ONE_CALL)
    def fill(X, by_what):
        if by_what:
            X.fill_(by_what)

    for _ in range(4):
        torch.manual_seed(next(DRAWS))
        X = torch.zeros(2)
        fill(X, 0)
        fill(X, 5)
        seen.append(X.tolist() == [5.0, 5.0])
    assert seen == 4 * [False]


SOLUTION = """
import torch

def f(X):
    return 2 * X + X.roll(1, -1) + 1

def double_(X):
    with torch.no_grad():
        X.mul_(2)
"""
INPUTS = """
import random  # which is all that a fake kernel seeds
torch.manual_seed(random.getrandbits(40))
X = torch.randn(4, 3, requires_grad=True)
"""
WEAK = {
    "the sum": "answer(f(X).sum())",
    "the mean of each column": "answer(f(X).mean(0))",
    "the sum of each row": "answer(f(X).sum(1))",
    "the norm": "answer(f(X).norm())",
    "the largest": "answer(f(X).max())",
    "values without their signs": "answer(f(X).abs())",
    "signs": "answer(f(X).sign())",
    "directions": "answer(torch.nn.functional.normalize(f(X)))",
    "differences from the mean": "answer(f(X) - f(X).mean())",
    "which is larger than which": "answer(f(X).flatten().argsort())",
    "values in any order": "answer(f(X).flatten().sort().values)",
    "rounded values": "answer(f(X).round())",
    "the first half": "answer(f(X)[:2])",
    "the last example": "answer(f(X)[-1])",
    "the first column": "answer(f(X)[:, 0])",
    "every other number": "answer(f(X).flatten()[::2])",
    "the first of two calls": "Y = f(X); f(2 * X); answer(Y)",
    "the second of two calls": "f(2 * X); answer(f(X))",
    "the sum after a training step": (
        "f(X).square().mean().backward(); answer(f(X.detach() - 0.1 * X.grad).sum())"
    ),
    "the size of a gradient": "f(X).square().sum().backward(); answer(X.grad.norm())",
    "gradients without their signs": "f(X).square().sum().backward(); answer(X.grad.abs())",
    "the first half of a gradient": "f(X).square().sum().backward(); answer(X.grad[:2])",
    "inputs that are zero": "answer([f(0 * X), X])",
    "the sum of what was written": "double_(X); answer(X.sum())",
    "the first half of what was written": "double_(X); answer(X[:2])",
}
STRONG = {
    "values": "answer(f(X))",
    "values and the gradient of their sum": "Y = f(X); Y.sum().backward(); answer([Y, X.grad])",
    "squares, their sum backward, and values": (
        "f(X).square().sum().backward(); answer([X.grad, f(X)])"
    ),
    "rows that come out alike": "answer([f(X), f(X[:1].expand(2, 3) + 1e-5 * X[:2])])",
    "each of two calls": "answer([f(X), f(2 * X)])",
    "values, and later the gradient of a sum": (
        "Y = f(X); f(2 * X).sum().backward(); answer([Y, X.grad])"
    ),
    "a gradient": "(f(X) - torch.rand(4, 3)).square().sum().backward(); answer(X.grad)",
    "an input that is never negative": "answer(f(X.abs()))",
    "calls in a loop": "answer([f(x) for x in X])",
    "what was written": "double_(X); answer(X)",
    "a training step": (
        "f(X).square().mean().backward(); W = X.detach() - 0.1 * X.grad; answer([W, f(W)])"
    ),
}


@pytest.fixture
def found_in(monkeypatch):
    """Examine a check in short, in this process, and return what it passes."""
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())
    monkeypatch.setattr(bench, "FORKS", False)
    every = examining.candidates
    monkeypatch.setattr(
        examining,
        "candidates",
        lambda each: [one for one in every(each) if one.aspect or one.kind == "right"],
    )

    def run(check, tolerances=None):
        cells = Cell(SOLUTION, "solution", "s"), Cell(INPUTS + check, "check", "c", 1.0, tolerances)
        assignment = Assignment(cells)
        *_, (_, found) = examine(assignment, CONDITIONS, Here(), seeds=20)
        return findings(assignment, found)

    return run


@pytest.mark.parametrize("check", WEAK.values(), ids=WEAK)
def test_a_check_that_looks_at_less_than_all_values_is_found(found_in, check):
    lines = found_in(check)
    assert any(" that is " in line for line in lines), lines


@pytest.mark.parametrize("check", STRONG.values(), ids=STRONG)
def test_a_check_that_looks_at_all_values_is_not(found_in, check):
    assert found_in(check) == []


def test_a_statistic_within_a_tolerance_that_is_meant_is_not(found_in):
    check = "Y = f(torch.randn(99, 999)); answer([Y.mean(), Y.std(), Y.mean(1)])"
    assert found_in(check, (0.0, 0.3)) == []
