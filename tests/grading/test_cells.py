import json
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes

from d2lcompute.grading import marking
from d2lcompute.grading.assignment import load, read_notebook
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.formats import read_table
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.page import render
from d2lcompute.grading.release import release
from d2lcompute.grading.results import Heading
from d2lcompute.grading.submissions import read

SQUARES = """def squares(n):
    ### BEGIN SOLUTION
    return [i * i for i in range(n)]
    ### END SOLUTION"""
SHOWN = "assert squares(3) == [0, 1, 4]"
SECRET = f"{SHOWN}\n### BEGIN HIDDEN TESTS\nassert squares(1) == [0]\n### END HIDDEN TESTS"


def cell(source, name, make=new_code_cell, **declared):
    usual = {"grade": False, "solution": False, "locked": False, "schema_version": 3}
    return make(source, metadata={"nbgrader": {**usual, "grade_id": name, **declared}})


CELLS = [
    cell("# Squares", "head", new_markdown_cell, locked=True),
    cell(SQUARES, "squares", solution=True),
    cell(SHOWN, "shown", grade=True, points=1, locked=True),
    cell(SECRET, "secret", grade=True, points=2, locked=True),
    cell("Why squares?", "why", new_markdown_cell, grade=True, solution=True, points=3),
    new_code_cell("print('the end')"),
]


@pytest.fixture
def assignment(tmp_path):
    path = tmp_path / "ps1.ipynb"
    path.write_text(writes(new_notebook(cells=CELLS)), encoding="utf-8")
    return load(path)


def handed_in(squares, why="Because."):
    """What nbgrader releases and a student fills in: hidden tests are gone."""
    cells = json.loads(writes(new_notebook(cells=CELLS)))["cells"]
    cells[1]["source"], cells[3]["source"], cells[4]["source"] = squares, SHOWN, why
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}).encode()


def test_its_cells_and_points_are_read_as_they_are(assignment):
    assert list(assignment.solutions) == ["squares"]
    assert assignment.questions == {"shown": 1, "secret": 2, "why": 3}
    assert [check.hidden for check in assignment.checks.values()] == [False, True]
    assert list(assignment.written) == ["why"]


def test_a_submission_is_found_by_nbgrader_s_ids_and_nothing_else_is_taken(assignment):
    found = read(handed_in("def squares(n): ..."), assignment)
    assert found.solutions == {"squares": "def squares(n): ..."}
    assert (found.texts, found.notes) == ({"why": "Because."}, ())


def test_its_asserts_give_marks(assignment):
    conditions = Conditions(allow_unisolated=True)
    sources = [SQUARES, "def squares(n): return [0, 1, 4]", "def squares(n): return []"]
    submissions = [read(handed_in(source), assignment) for source in sources]
    seeds = [draw_seeds(assignment, "key", each) for each in submissions]
    expected = expect(assignment, conditions, seeds)
    results = [
        grade_submission(assignment, conditions, each, own)
        for each, own in zip(submissions, expected, strict=True)
    ]
    assert [each.trouble for each in results] == ["", "", ""]
    assert [each.earned for each in results] == [3.0, 1.0, 0.0]
    assert results[2].marks[0].feedback.startswith("the check ended in an error: AssertionError")
    assert results[2].marks[1].feedback == "not passed"


def by_hand():
    """An assignment as nbgrader's own editor writes it: code and a task that people mark."""
    table = "def table(n):\n    ### BEGIN SOLUTION\n    return list(range(n))\n    ### END SOLUTION"
    task = "Draw it.\n\n=== BEGIN MARK SCHEME ===\n2 for the axes\n=== END MARK SCHEME ==="
    return [
        cell(table, "table", solution=True, grade=True, points=4),
        cell("assert table(2) == [0, 1]", "uses", grade=True, points=1, locked=True),
        cell("Because.", "why", new_markdown_cell, grade=True, solution=True, points=1),
        cell(task, "draw", new_markdown_cell, task=True, points=2, locked=True),
        cell("# The end", "end", new_markdown_cell, locked=True),
    ]


@pytest.fixture
def marked_by_hand(tmp_path):
    path = tmp_path / "ps2.ipynb"
    path.write_text(writes(new_notebook(cells=by_hand())), encoding="utf-8")
    return load(path)


STUBS = {
    "table": "def table(n):\n    # YOUR CODE HERE\n    raise NotImplementedError()",
    "why": "YOUR ANSWER HERE",
    "draw": "Draw it.\n\n",
}


def graded(assignment, below=(), **answers):
    """The result of who filled in these answers, with cells of their own below the task."""
    cells = by_hand()
    for each in cells:
        name = each.metadata["nbgrader"]["grade_id"]
        each.source = (STUBS | answers).get(name, each.source)
    data = writes(new_notebook(cells=[*cells[:4], *below, *cells[4:]])).encode()
    conditions = Conditions(allow_unisolated=True)
    submission = read(data, assignment)
    expected = expect(assignment, conditions, [draw_seeds(assignment, "key", submission)])
    return grade_submission(assignment, conditions, submission, expected[0])


def test_code_that_people_mark_runs_and_waits_in_the_table(marked_by_hand, tmp_path):
    assert marked_by_hand.questions == {"uses": 1, "why": 1, "draw": 2, "table": 4}
    assert marked_by_hand.written["draw"][0].rubric == "2 for the axes"
    source = "def table(n):\n    return [*range(n)]"
    below = [new_code_cell("plot(table(3))"), new_markdown_cell("It rises.")]
    result = graded(marked_by_hand, below, table=source)
    marks = {mark.check: (mark.earned, mark.reason) for mark in result.marks}
    assert marks == {
        "uses": (1, ""),
        "why": (0, "untouched"),
        "draw": (0, "to be marked"),
        "table": (0, "to be marked"),
    }
    assert result.sources["table"] == source
    assert result.sources["draw"] == "Draw it.\n\n\n\nplot(table(3))\n\nIt rises."
    heading = Heading.of(marked_by_hand)
    marking.read(tmp_path, heading, [result]).write(heading, [result])
    rows = {row["question"]: row for row in read_table(tmp_path / "marking.csv", ["answer"])}
    assert (rows["table"]["answer"], rows["table"]["of"]) == (source, "4")
    assert rows["draw"]["rubric"] == "2 for the axes"


def test_what_nobody_touched_is_not_to_be_marked(marked_by_hand):
    result = graded(marked_by_hand)
    reasons = {mark.check: mark.reason for mark in result.marks if mark.written}
    assert reasons == dict.fromkeys(["why", "draw", "table"], "untouched")
    assert result.notes == ()


@pytest.mark.parametrize("kept", [["why"], ["draw"], ["table"], ["table", "why"]])
def test_there_may_be_nothing_but_what_people_mark(tmp_path, kept):
    cells = [each for each in by_hand() if each.metadata["nbgrader"]["grade_id"] in kept]
    path = tmp_path / "essay.ipynb"
    path.write_text(writes(new_notebook(cells=cells)), encoding="utf-8")
    assert set(load(path).questions) == {*kept}
    conditions = Conditions(allow_unisolated=True)
    submission = read(path.read_bytes(), load(path))
    assert expect(load(path), conditions, [draw_seeds(load(path), "key", submission)]) == [{}]


def test_its_release_keeps_code_code(marked_by_hand, tmp_path):
    (found,) = release(read_notebook(tmp_path / "ps2.ipynb"), {}).values()
    assert [each.cell_type for each in found.cells] == ["code", "code", *["markdown"] * 3]
    assert "return list" not in found.cells[0].source
    assert "axes" not in found.cells[3].source
    assert found.cells[0].metadata.d2lcompute == {"id": "table"}


def test_what_can_be_forged_is_called_so(assignment):
    heading = Heading.of(assignment)
    assert heading.forgeable == ["shown", "secret"]
    assert "Marks that can be forged" in render(heading, [])
    assert "Marks that can be forged" not in render(Heading("", "", {}), [])


def test_cells_of_ours_stay_ours(tmp_path):
    ours = new_code_cell("x = 1", metadata={"tags": ["solution"], "d2lcompute": {"id": "x"}})
    check = new_code_cell(
        "d2c.grading.answer(x)",
        metadata={"tags": ["check"], "d2lcompute": {"id": "rewritten", "points": 1}},
    )
    path = Path(tmp_path, "mixed.ipynb")
    path.write_text(writes(new_notebook(cells=[*CELLS, ours, check])), encoding="utf-8")
    assignment = load(path)
    assert list(assignment.solutions) == ["squares", "x"]
    assert [name for name, check in assignment.checks.items() if not check.forgeable] == [
        "rewritten"
    ]
