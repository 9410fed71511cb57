import pytest

from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.rules import find_breaches
from d2lcompute.grading.submissions import NEXT_CELL, Submission

GIVEN = ["import torch\nfrom torch import nn\nimport torch.nn.functional as F"]


def breaches(source, *forbids, asks=()):
    return find_breaches(source.split(NEXT_CELL), forbids, asks, GIVEN)


@pytest.mark.parametrize(
    "source",
    [
        "net = nn.Linear(2, 2)",
        "net = torch.nn.Linear(2, 2)",
        "from torch.nn import Linear\nnet = Linear(2, 2)",
        "from torch.nn import Linear as L",
        "import torch.nn as layers\nnet = layers.Linear(2, 2)",
        "t = torch\nnet = t.nn.Linear(2, 2)",
        "L = nn.Linear\nnet = L(2, 2)",
        'net = getattr(nn, "Linear")(2, 2)',
        "class Mine(nn.Linear): ...",
        "def f(make=nn.Linear): ...",
        "%matplotlib inline\nnet = nn.Linear(2, 2)",
        "rest = (5\n% 3)\nnet = nn.Linear(2, 2)",
        "import asyncio\nawait asyncio.sleep(0)\nnet = nn.Linear(2, 2)",
        f"a draft that is no code{NEXT_CELL}net = nn.Linear(2, 2)",
        f"L = nn.Linear{NEXT_CELL}net = L(2, 2)",
    ],
)
def test_a_forbidden_name_is_found_under_any_name(source):
    (found,) = breaches(source, "nn.Linear")
    assert "uses nn.Linear, which is not allowed here" in found


@pytest.mark.parametrize(
    "source",
    [
        "net = nn.LazyLinear(2)",
        "Linear = 3",
        "# nn.Linear",
        "'nn.Linear'",
        "net = mine.Linear(2)",
        "F.linear(X, W)",
        "this is no code",
        "%matplotlib inline\nnet = mine(2)",
    ],
)
def test_what_only_looks_like_it_is_allowed(source):
    assert breaches(source, "nn.Linear") == []


@pytest.mark.parametrize(
    ("term", "source", "said"),
    [
        ("import numpy", "import numpy as np", "line 1 uses import numpy"),
        ("import numpy", "x = 1\nfrom numpy.linalg import norm", "line 2 uses import numpy"),
        ("loop", "y = 0\nfor x in X:\n    y += x", "line 2 uses a loop"),
        ("loop", "y = [x for x in X]", "line 1 uses a loop"),
        ("loop", "while True: break", "line 1 uses a loop"),
        (".data", "net.weight.data.fill_(0)", "line 1 uses .data"),
        (".data", 'getattr(net.weight, "data")', "line 1 uses .data"),
        ("sum", "y = sum(X)", "line 1 uses sum"),
    ],
)
def test_imports_loops_attributes_and_builtins_can_be_forbidden(term, source, said):
    assert breaches(source, term) == [f"{said}, which is not allowed here"]


def test_methods_are_no_builtins():
    assert breaches("y = X.sum()", "sum") == []


@pytest.mark.parametrize(
    "source",
    [
        'eval("nn.Lin" + "ear")',
        "getattr(nn, name)",
        'exec("x = 1")',
        '__import__("numpy")',
        "from importlib import import_module\nimport_module(name)",
        "e = eval\ne(text)",
        "%time net = nn.Linear(2, 2)",
        "%%capture\nnet = nn.Linear(2, 2)",
        "!python make.py",
        "from torch.nn import *\nnet = Linear(2, 2)",
        'nn.__dict__["Linear"](2, 2)',
        "import sys\nnet = sys.modules['torch.nn']",
    ],
)
def test_names_that_are_made_as_the_code_runs_hide_nothing(source):
    found = breaches(source, "nn.Linear")
    assert "makes names as it runs, which is not allowed here" in found[0]
    assert breaches(source) == []


def test_what_is_asked_for_must_be_used():
    assert breaches("y = X @ W", asks=["torch.einsum"]) == [
        "torch.einsum is asked for, and is not used"
    ]
    assert breaches("from torch import einsum\ny = einsum('ij', X)", asks=["torch.einsum"]) == []
    assert breaches("for x in X: ...", asks=["loop"]) == []


CELLS = (
    Cell("import torch\nfrom torch import nn"),
    Cell(
        "### BEGIN SOLUTION\nlayer = torch.eye(2)\n### END SOLUTION",
        "solution",
        "own",
        forbids=("nn.Linear",),
    ),
    Cell("answer(layer)", "check", "c", 2.0),
)


@pytest.fixture
def graded(monkeypatch):
    from fakekernel import FakeKernel

    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())

    def run(source, *cells):
        assignment = Assignment(cells or CELLS)
        submission, conditions = Submission("ada", {"own": source}), Conditions()
        seeds = draw_seeds(assignment, "key", submission)
        (expected,) = expect(assignment, conditions, [seeds])
        return grade_submission(assignment, conditions, submission, expected)

    return run


def test_an_answer_that_breaks_a_rule_is_not_run_and_its_student_is_told_the_line(graded):
    result = graded("\nlayer = nn.Linear(2, 2).weight")
    assert result.earned == 0.0
    assert result.outcomes[0].feedback == (
        "not allowed: line 2 uses nn.Linear, which is not allowed here"
    )
    assert graded("layer = torch.eye(2)").earned == 2.0


def test_a_name_that_another_answer_gave_is_known(graded):
    cells = [*CELLS[:1], Cell("pass", "solution", "first"), *CELLS[1:]]
    other = {"first": "L = nn.Linear", "own": "layer = L(2, 2).weight"}
    assert Assignment(tuple(cells)).find_breaches("own", {k: [v] for k, v in other.items()}) == [
        "line 1 uses nn.Linear, which is not allowed here"
    ]


def test_students_read_the_rule_where_they_write():
    assert CELLS[1].stub == "# not allowed here: nn.Linear\n...  # your answer"


def test_a_reference_that_breaks_its_own_rule_is_refused(graded):
    broken = Cell("layer = nn.Linear(2, 2)", "solution", "own", forbids=("nn.Linear",))
    with pytest.raises(AssignmentError, match=r"solution own of the reference: line 1 uses nn.Lin"):
        graded("layer = 1", CELLS[0], broken, CELLS[2])
