"""Files that belong to an assignment: in the release, in each kernel, and with the results."""

import base64
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook

from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell, parse
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.release import release, write
from d2lcompute.grading.submissions import Submission


def encoded(data):
    return base64.b64encode(data).decode()


FILES = (("data/scores.csv", encoded(b"1,2,3")), ("helper.py", encoded(b"FACTOR = 2")))
ASSIGNMENT = Assignment(
    (
        Cell("from helper import FACTOR\nscores = open('data/scores.csv').read()"),
        Cell("total = FACTOR * sum(map(int, scores.split(',')))", "solution", "total"),
        Cell("import d2lcompute as d2c\nd2c.grading.answer(total)", "check", "c", 2.0),
    ),
    files=FILES,
)
SPOIL = "open('data/scores.csv', 'w').write('4')\ntotal = 12"


@pytest.mark.parametrize("warm", [True, False])
def test_code_finds_them_in_its_kernel_and_can_only_read_them(warm):
    conditions = Conditions(warm=warm, allow_unisolated=True)
    right = ASSIGNMENT.solutions["total"].source
    submissions = [Submission("a", {"total": right}), Submission("b", {"total": SPOIL})]
    seeds = [draw_seeds(ASSIGNMENT, "key", each) for each in submissions]
    expected = expect(ASSIGNMENT, conditions, seeds)
    results = [
        grade_submission(ASSIGNMENT, conditions, each, own)
        for each, own in zip(submissions, expected, strict=True)
    ]
    assert [(each.earned, each.trouble, each.notes) for each in results[:1]] == [(2.0, "", ())]
    assert results[1].outcomes[0].details.startswith("PermissionError")


CELLS = [
    new_code_cell("x = 1", metadata={"tags": ["solution"], "d2lcompute": {"id": "x"}}),
    new_code_cell(
        "answer(x)", metadata={"tags": ["check"], "d2lcompute": {"id": "c", "points": 1}}
    ),
]


def reference(*names):
    return new_notebook(cells=CELLS, metadata={"d2lcompute": {"files": list(names)}})


def test_they_are_read_from_beside_the_reference_and_lie_beside_the_release(tmp_path):
    Path(tmp_path, "data").mkdir()
    Path(tmp_path, "data", "scores.csv").write_bytes(b"1,2,3")
    notebook = reference("data/scores.csv")
    assignment = parse(notebook, tmp_path)
    assert assignment.files == FILES[:1]
    paths = write(release(notebook, {}), tmp_path / "release", assignment.contents)
    assert [path.relative_to(tmp_path / "release").as_posix() for path in paths] == [
        "assignment.ipynb",
        "data/scores.csv",
    ]
    assert paths[1].read_bytes() == b"1,2,3"


def test_a_file_that_is_not_there_is_a_defect(tmp_path):
    with pytest.raises(AssignmentError, match=r"the file scores.csv is not there; put it beside"):
        parse(reference("scores.csv"), tmp_path)


def test_another_file_touches_every_check():
    other = Assignment(ASSIGNMENT.cells, files=(("helper.py", encoded(b"FACTOR = 3")),))
    assert other.versions != ASSIGNMENT.versions
    assert other.digest != ASSIGNMENT.digest


def test_a_cell_of_the_assignment_that_fails_is_told_before_anybody_is_graded():
    conditions = Conditions(allow_unisolated=True)
    broken = Assignment(ASSIGNMENT.cells)
    submission = Submission("ada", {"total": "total = 12"})
    with pytest.raises(AssignmentError, match=r"the cell 'from helper import FACTOR' failed: Modu"):
        expect(broken, conditions, [draw_seeds(broken, "key", submission)])
