import pytest

from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell
from d2lcompute.grading.attempt import Attempt, Conditions, NoAnswerError
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


GIVEN_NAMES = "import torch\nfrom torch import nn\nimport d2lcompute as d2c\n"
WATCHED = Assignment(
    (
        Cell(f"{GIVEN_NAMES}given = nn.Linear(2, 2)"),
        Cell("def make(): return torch.eye(2)", "solution", "own", forbids=("nn.Linear", "sum")),
        Cell("def other(): return nn.Linear(2, 2)", "solution", "free"),
        Cell("d2c.grading.answer(make())", "check", "c", 2.0),
    )
)
ALLOWED = {
    "honest": "def make(): return torch.eye(2)",
    "in another answer": "def make(): return nn.LazyLinear(2) and other() and torch.eye(2)",
    "in a library": "def make(): return nn.TransformerEncoderLayer(2, 1) and torch.eye(2)",
}
NOT_ALLOWED = {
    "the type of a layer": "def make(): return type(given)(2, 2) and torch.eye(2)",
    "where it was written": "def make(): return nn.modules.linear.Linear(2, 2) and torch.eye(2)",
    "for each": "def make(): return list(map(type(given), [2], [2])) and torch.eye(2)",
    "as a base": "class A(type(given)): ...\ndef make(): return A(2, 2) and torch.eye(2)",
    "again": "def make():\n  try: type(given)(2, 2)\n  except Exception: return type(given)(2, 2)",
}


def test_what_is_made_under_another_name_is_seen_as_the_code_runs():
    conditions = Conditions(allow_unisolated=True)
    free = {"free": WATCHED.solutions["free"].source}
    sources = ALLOWED | NOT_ALLOWED
    handed_in = [Submission(name, {"own": sources[name], **free}) for name in sources]
    seeds = [draw_seeds(WATCHED, "key", each) for each in handed_in]
    expected = expect(WATCHED, conditions, seeds)
    pairs = zip(handed_in, expected, strict=True)
    results = {each.name: grade_submission(WATCHED, conditions, each, own) for each, own in pairs}
    assert [name for name in results if results[name].earned] == list(ALLOWED)
    said = [results[name].marks[0].details for name in NOT_ALLOWED]
    lines = [1, 1, 1, 2, 3]
    assert said == [
        f"NotAllowedError: line {line} uses nn.Linear, which is not allowed here" for line in lines
    ]


MODULE = "import torch\n\n\ndef f():\n    return torch.nn.modules.activation.Sigmoid()"


@pytest.mark.parametrize(
    ("module", "cell", "said"),
    [
        (MODULE, "from own import f", "line 5 uses torch.nn.Sigmoid"),
        ("", "\n\nf = lambda: (\n    type(given)(2, 2))", "line 4 uses nn.Linear"),
    ],
)
def test_modules_are_watched_too_and_the_line_is_that_of_the_file(module, cell, said):
    assignment = Assignment(
        (
            *WATCHED.cells[:1],
            Cell(
                "",
                "solution",
                "own.py",
                forbids=("torch.nn.Sigmoid", "int", "torch.Tensor"),
                module=True,
            ),
            Cell("", "solution", "use", forbids=("nn.Linear",)),
            Cell("d2c.grading.answer(f())", "check", "c", 1.0),
        )
    )
    start = Conditions(allow_unisolated=True).start
    answers = {"own.py": module, "use": cell}
    with (
        Attempt(assignment, answers, start, 60.0) as attempt,
        pytest.raises(NoAnswerError) as caught,
    ):
        attempt.ask(assignment.checks["c"], [1])
    assert caught.value.details == f"NotAllowedError: {said}, which is not allowed here"


@pytest.mark.parametrize(
    ("source", "breach"),
    [
        ("!ls\n" * 2000, "line 1 makes names as it runs"),
        ("%time 1\n" * 600, "line 1 makes names as it runs"),
        ("%matplotlib inline\n" * 3 + "nn.Linear(2, 2)", "line 4 uses nn.Linear"),
        ("x = 1\n" * 50_000, "a cell has more than 262,144 characters"),
    ],
    ids=["commands", "magics", "a few harmless ones", "a long cell"],
)
def test_a_cell_that_would_take_long_to_read_is_not_read(source, breach):
    (found,) = find_breaches([source], ["nn.Linear"], [], ["from torch import nn"])
    assert found == f"{breach}, which is not allowed here"
