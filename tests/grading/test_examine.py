import pytest
from fakekernel import FakeKernel
from handins import Here

from d2lcompute.grading import bench
from d2lcompute.grading import examine as examining
from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell, load
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.examine import Candidate, Tally, examine, findings, table

CONDITIONS = Conditions(allow_unisolated=True)


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())
    monkeypatch.setattr(bench, "FORKS", False)  # a kernel for each candidate


def assignment_of(solution, *checks, others=(), equivalent=()):
    cells = [Cell(solution, "solution", "f", equivalent=equivalent)]
    cells += [Cell(source, "check", f"c{place}", 1.0) for place, source in enumerate(checks)]
    return Assignment(tuple(cells), others=tuple(Cell(s, tag, "f") for tag, s in others))


def examined(assignment, seeds=200, **options):
    *_, (done, found) = examine(assignment, CONDITIONS, Here(), seeds, **options)
    assert done == 1
    return found


def found_in(*arguments, **options):
    assignment = assignment_of(*arguments, **options)
    return findings(assignment, examined(assignment))


STRONG = "x = draw(); answer([f(x), f(-x)])"


def test_a_strong_check_has_no_finding():
    assert found_in("def f(x): return 3 * x", STRONG) == []


@pytest.mark.parametrize("solution", ["def f(x): return 2 * x + 0.0"])
def test_a_mistake_is_shown_and_can_be_said_to_be_none(solution):
    lines = found_in(solution, STRONG)
    assert any("- def f(x): return" in line or "-     return 2 * x + 0.0" in line for line in lines)
    names = tuple(line.partition("[")[2].partition("]")[0] for line in lines)
    assert all(len(name) == 8 for name in names)
    assert found_in(solution, STRONG, equivalent=names) == []


def test_a_wrong_answer_that_passes_by_luck_is_counted():
    wrong = [("wrong", "# never negative\ndef f(x): return 3 * x if x > 0.1 else 0.0")]
    (finding,) = found_in("def f(x): return 3 * x", "answer(f(draw()))", others=wrong)
    start = "check c0 passes a wrong answer by luck, 'wrong: never negative' for f: "
    assert finding.startswith(start)
    passed = int(finding.removeprefix(start).partition(" of 200 draws")[0])
    assert 150 < passed < 200


def test_a_wrong_answer_that_nobody_refuses_is_told():
    wrong = [("wrong", "# only for the positive\ndef f(x): return 3 * abs(x)")]
    (finding,) = found_in("def f(x): return 3 * x", "answer(f(draw()))", others=wrong)
    assert finding == "no check of f sees a mistake, wrong: only for the positive"


def test_a_wrong_answer_may_pass_one_check_if_another_refuses_it():
    wrong = [("wrong", "# only for the positive\ndef f(x): return 3 * abs(x)")]
    assert found_in("def f(x): return 3 * x", "answer(f(draw()))", STRONG, others=wrong) == []


def test_a_right_answer_that_is_failed_by_luck_is_counted():
    right = [("also-right", "# but for a few\ndef f(x): return 3 * x if x > 0.05 else 1.0")]
    (finding,) = found_in("def f(x): return 3 * x", STRONG.replace("f(-x)", "0"), others=right)
    start = "check c0 fails a right answer, 'also-right: but for a few' for f: "
    assert finding.startswith(start)


@pytest.mark.parametrize(
    ("check", "finding"),
    [
        ("answer([1e-7 * f(draw()), draw()])", "check c0 passes zeros at [0], under all of"),
        ("answer([draw(), f(2) and 1])", "check c0 passes a cheat, 'returns argument 1' for f: "),
        ("f(1); answer(None)", "check c0 passes None for the answer, under all of"),
        ("f(1); answer({})", "check c0 passes {} for the answer, under all of"),
        ("answer(draw())", "check c0 needs no solution: nothing passes it"),
    ],
)
@pytest.mark.parametrize("quick", [False, True])
def test_what_would_pass_without_an_answer_is_found(check, finding, quick):
    assignment = assignment_of("def f(x): return 3 * x", check)
    lines = findings(assignment, examined(assignment, quick=quick))
    assert any(line.startswith(finding) for line in lines), lines


def test_a_check_without_points_may_be_weak():
    cells = Cell("def f(x): return x", "solution", "f"), Cell("answer(draw())", "check", "c", 0.0)
    assignment = Assignment((*cells, Cell(STRONG, "check", "d", 1.0)))
    lines = findings(assignment, examined(assignment))
    assert not any("check c " in line for line in lines)


def test_tolerances_that_an_author_gave_are_meant():
    check = Cell("answer([f(draw()) - f(draw()), 1.0])", "check", "c", 1.0, (0.0, 2.0))
    assignment = Assignment((Cell("def f(x): return x", "solution", "f"), check))
    assert not any("zeros" in line for line in findings(assignment, examined(assignment)))


def test_a_reference_that_fails_is_no_reference():
    with pytest.raises(AssignmentError, match="check c0 fails with the reference"):
        examined(assignment_of("def f(x): return 1 / 0", "answer(f(1))"))


def test_the_table_has_a_line_for_each_check():
    assignment = assignment_of("def f(x): return 3 * x", STRONG, "answer(f(1 + draw()))")
    heads, first, second = table(assignment, examined(assignment))
    assert heads.split() == [
        "check",
        "draws",
        "right",
        "answers",
        "fail",
        "wrong",
        "pass",
        "cheats",
        "pass",
        "mistakes",
        "seen",
    ]
    assert first.split()[:5] == ["c0", "3", "0", "of", "200"]
    assert second.endswith(tuple(f"{n} of {n}" for n in range(20)))


@pytest.mark.parametrize(("passed", "asked"), [(0, 20), (0, 2000), (9, 1000), (5, 5), (0, 0)])
def test_the_bound_is_above_what_was_seen_and_below_all(passed, asked):
    most = Tally(passed, asked).most
    assert passed / max(1, asked) <= most <= 1
    if (passed, asked) == (0, 2000):
        assert most < 0.002


NOTEBOOK = """\
---
kernelspec: {display_name: Python 3, language: python, name: python3}
---

```{code-cell}
import torch

import d2lcompute as d2c
```

```{code-cell}
:tags: [solution]
:d2lcompute: {"id": "scale"}

def scale(x):
    ### BEGIN SOLUTION
    return 3 * x
    ### END SOLUTION
```

```{code-cell}
:tags: [wrong]
:d2lcompute: {"id": "scale"}

import os  # and the process ends

def scale(x):
    os._exit(1)
```

"""
STRONG_AND_WEAK = {
    "strong": "x = torch.randn(3, requires_grad=True); y = scale(x); y.sum().backward()\n"
    "d2c.grading.answer([y, x.grad])",
    "tiny": "x = torch.randn(3); d2c.grading.answer([1e-7 * scale(x), scale(x)[0]])",
    "echo": "x = torch.randn(3); d2c.grading.answer([x, scale(x).shape])",
    "not-a-number": "d2c.grading.answer(scale(torch.tensor(torch.nan)))",
    "lucky": "x = torch.randint(-9, 2, ()); d2c.grading.answer(scale(x).relu())",
}


def test_a_whole_examination_finds_each_weak_check_and_no_strong_one(tmp_path, monkeypatch):
    monkeypatch.undo()
    checks = [
        f'```{{code-cell}}\n:tags: [hidden-check]\n:d2lcompute: {{"id": "{name}", "points": 1}}\n\n'
        f"{source}\n```\n"
        for name, source in STRONG_AND_WEAK.items()
    ]
    (tmp_path / "reference.md").write_text(NOTEBOOK + "\n".join(checks), encoding="utf-8")
    assignment = load(tmp_path / "reference.md")
    found = examined(assignment, seeds=60)
    lines = findings(assignment, found)
    named = {line.split()[1] for line in lines if line.startswith("check ")}
    assert named == STRONG_AND_WEAK.keys() - {"strong"}
    assert all(line.startswith("check ") for line in lines)
    assert table(assignment, found)[1].split()[:6] == ["strong", "3", "0", "of", "60", "draws"]


def test_two_candidates_may_have_one_source():
    """As where one method has a second argument and the one that answers has not."""
    assignment = assignment_of("def f(x): return 3 * x", STRONG)
    several = [Candidate("f", "cheat", what, "def f(x): return x") for what in ("1", "2")]
    task = examining._Task(assignment, CONDITIONS)
    found = task.try_out(several, {("f", ""): ["c0"]}, [1, 2])
    assert [tally.asked for tally in found.answers.values()] == [2, 2]


def test_work_is_shared_in_portions(monkeypatch):
    monkeypatch.setattr(examining, "BLOCK", 30)
    assignment = assignment_of("def f(x): return 3 * x", STRONG)
    found = examined(assignment)
    tallies = [tally for (each, _), tally in found.answers.items() if each.kind == "right"]
    assert {tally.asked for tally in tallies} == {200}
