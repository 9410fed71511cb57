from dataclasses import replace

import pytest
from fakekernel import FakeKernel

from d2lcompute.grading.assignment import Assignment, Cell, load
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.replay import find_reference, keep_reference, replay
from d2lcompute.grading.results import Journal
from d2lcompute.grading.submissions import NEXT_CELL, Submission

ASSIGNMENT = Assignment(
    (
        Cell("import random"),
        Cell("def twice(x): return 2 * x", "solution", "twice"),
        Cell("answer(twice(random.random()))", "check", "shown", 1.0),
        Cell("answer(twice(random.random()) > 1)", "hidden-check", "lucky", 2.0, draws=1),
    )
)
CONDITIONS = Conditions()


@pytest.fixture(autouse=True)
def without_processes(monkeypatch):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())


def graded(source, key="key"):
    submission = Submission("ada", {"twice": source})
    (expected,) = expect(ASSIGNMENT, CONDITIONS, [draw_seeds(ASSIGNMENT, key, submission)])
    return grade_submission(ASSIGNMENT, CONDITIONS, submission, expected)


@pytest.mark.parametrize(
    "source",
    [
        "def twice(x): return x + x",
        "def twice(x): return 0",
        f"y = 2{NEXT_CELL}def twice(x): return y * x",
        "def twice(x): return unknown",
    ],
)
def test_the_same_marks_come_again_for_the_same_reasons(source):
    for key in "abcdef":
        result = graded(source, key)
        found = list(replay(ASSIGNMENT, CONDITIONS, result))
        assert [again.before.check for again in found] == ["shown", "lucky"]
        assert all(again.agrees for again in found)
        assert [again.now.seeds for again in found] == [mark.seeds for mark in result.marks]


def test_a_mark_that_is_another_one_now_is_told():
    result = graded("def twice(x): return 2 * x")
    forged = replace(result, sources={"twice": "def twice(x): return 3 * x"})
    again = next(replay(ASSIGNMENT, CONDITIONS, forged))
    assert not again.agrees
    assert str(again).startswith("shown: 1 of 1, passed; now 0, the answer has other values (seeds")


def test_who_was_not_graded_has_nothing_to_replay():
    with pytest.raises(ValueError, match=r"`student` must have been graded, got ada: no notebook"):
        next(replay(ASSIGNMENT, CONDITIONS, replace(graded("x"), fault="no notebook")))


REFERENCE = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
d2lcompute: {files: [data.csv]}
---

```{code-cell} ipython3
:tags: [solution]
:d2lcompute: {"id": "x"}
x = 1.5
```

```{code-cell} ipython3
:tags: [check]
:d2lcompute: {"id": "c", "points": 3}
answer(x)
```
"""


def test_the_reference_stays_with_the_results(tmp_path):
    reference, results = tmp_path / "homework.md", tmp_path / "results"
    reference.write_text(REFERENCE, encoding="utf-8")
    (tmp_path / "data.csv").write_bytes(b"1,2")
    assignment = load(reference)
    journal = Journal.start(results, assignment)
    with pytest.raises(ValueError, match="must hold the reference that they were made with, got"):
        find_reference(results, journal)
    assert keep_reference(reference, assignment, results).name == "reference.md"
    assert find_reference(results, journal) == assignment
    assert assignment.files == (("data.csv", "MSwy"),)
