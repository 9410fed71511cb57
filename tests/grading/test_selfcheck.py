"""What students run before they hand in says what the grader will say."""

import json
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from d2lcompute.__main__ import app
from d2lcompute.grading.assignment import parse
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.release import release, write
from d2lcompute.grading.selfcheck import is_ready, pack, put_in, self_check, unpack
from d2lcompute.grading.submissions import find

CONDITIONS = Conditions(allow_unisolated=True)


def code(source, *tags, **declared):
    return new_code_cell(source, metadata={"tags": list(tags), "d2lcompute": declared})


def marked(begin, answer, end="", mark="### {} SOLUTION"):
    return "\n".join([begin, mark.format("BEGIN"), answer, mark.format("END"), end]).strip()


WHY = {"id": "why", "points": 4, "rubric": "SECRET"}
REFERENCE = new_notebook(
    cells=[
        new_markdown_cell("# Title"),
        new_code_cell("import torch\nimport d2lcompute as d2c\nfrom helper import one"),
        code(
            marked("# the answer", "double = lambda x: 2 * x  # SECRET"),
            "solution", id="double", forbids=["loop"], equivalent=["SECRET"],
        ),
        code("d2c.grading.answer(double(torch.rand(3)) * one)", "check", id="shown", points=2),
        code("d2c.grading.answer(double(torch.rand(4)))", "hidden-check", id="SECRET", points=3),
        code("double = lambda x: x  # SECRET", "wrong", id="double"),
        new_markdown_cell(
            marked("Why?", "SECRET"),
            metadata={"tags": ["written"], "d2lcompute": WHY},
        ),
    ],
    metadata={"d2lcompute": {"modules": ["helper.py"], "files": ["one.txt"]}},
)  # fmt: skip
HELPER = marked("", "one = int(open('one.txt').read())  # SECRET")


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """The assignment, and the folder that students get."""
    folder = tmp_path_factory.mktemp("released")
    Path(folder, "helper.py").write_text(HELPER)
    Path(folder, "one.txt").write_text("1")
    assignment = parse(REFERENCE, folder)
    notebooks = release(REFERENCE, {})
    put_in(notebooks[""], json.loads(json.dumps(pack(assignment, CONDITIONS))))
    write(notebooks, folder / "release", assignment.beside_release)
    return assignment, folder / "release"


def answered(folder, to, double="double = lambda x: x + x", why="because", helper="one = 1"):
    """Write the released notebook with answers; return its path."""
    notebook = nbformat.read(folder / "assignment.ipynb", as_version=4)
    for cell in notebook.cells:
        answer = {"double": double, "why": why}.get(cell.metadata.get("d2lcompute", {}).get("id"))
        cell.source = cell.source if answer is None else answer
    Path(to, "one.txt").write_text("1")
    Path(to, "helper.py").write_text(helper)
    nbformat.write(notebook, to / "mine.ipynb")
    return to / "mine.ipynb"


def test_a_released_notebook_carries_nothing_that_is_hidden(released):
    for path in released[1].rglob("*"):
        assert "SECRET" not in path.read_text(encoding="utf-8")
    text = (released[1] / "assignment.ipynb").read_text(encoding="utf-8")
    assert "hidden" not in text


@pytest.mark.parametrize(
    "double",
    [
        "double = lambda x: x + x",
        "double = lambda x: x",
        "double = lambda x: [y for y in x]",
        "double = ",
    ],
)
def test_it_says_the_graders_words(released, tmp_path, double):
    assignment, folder = released
    path = answered(folder, tmp_path, double)
    (submission,) = find(path, assignment).submissions
    (expected,) = expect(assignment, CONDITIONS, [draw_seeds(assignment, "key", submission)])
    graded = grade_submission(assignment, CONDITIONS, submission, expected)
    checked = self_check(path, unpack(path), CONDITIONS)
    wanted = {mark.check: mark for mark in graded.marks if not mark.hidden}
    assert {mark.check: mark.reason for mark in checked.marks} == {
        name: mark.reason for name, mark in wanted.items()
    }
    assert checked.outcomes == graded.outcomes
    assert checked.notes == graded.notes
    assert is_ready(checked) == (graded.marks[0].passed and graded.marks[1].passed)


def test_what_is_not_answered_is_said(released):
    path = released[1] / "assignment.ipynb"
    result = self_check(path, unpack(path), CONDITIONS)
    assert [outcome.state for outcome in result.outcomes] == ["untouched", "untouched"]
    assert result.marks[-1].reason == "untouched"
    assert not is_ready(result)


def test_an_edited_check_and_other_cells_count_no_more_than_for_the_grader(released, tmp_path):
    path = answered(released[1], tmp_path, double="double = helping")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(0, new_code_cell("helping = lambda x: 2 * x"))
    for cell in notebook.cells:
        if "check" in cell.metadata.get("tags", ()):
            cell.source = "print('passed')"
    nbformat.write(notebook, path)
    result = self_check(path, unpack(path), CONDITIONS)
    assert (result.earned, result.outcomes[1].details[:9]) == (0.0, "NameError")
    assert result.notes == ("2 code cells stand outside of the answers: only answers are run",)


def call(*arguments):
    result = CliRunner().invoke(app, ["self-check", *map(str, arguments)])
    return result.exit_code, result.output


def test_a_notebook_that_lost_its_checks_is_checked_with_those_of_the_released_one(
    released, tmp_path
):
    path = answered(released[1], tmp_path)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.clear()
    nbformat.write(notebook, path)
    status, said = call(path)
    assert (status, said.count("\n")) == (2, 1)
    assert "do --released with the notebook as you were given it" in said
    status, said = call(path, "--released", released[1] / "assignment.ipynb")
    assert status == 0
    assert said.splitlines()[-4:] == [
        "double: done",
        "shown: 2 of 2, passed",
        "why: to be marked",
        "2 of 2 points here; 7 more are given after you hand in",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [(["two.txt"], "the file two.txt is not there"), (["../one.txt"], "must lie beside the noteb")],
)
def test_files_are_those_beside_the_notebook(released, tmp_path, files, message):
    path = answered(released[1], tmp_path)
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["d2lcompute"]["self-check"]["files"] = files
    nbformat.write(notebook, path)
    status, said = call(path)
    assert status == 2
    assert message in said


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"metadata": {"d2lcompute": {"self-check": 1}}}']
)
def test_what_is_no_released_notebook_is_said_in_one_line(tmp_path, data):
    Path(tmp_path, "x.ipynb").write_bytes(data)
    status, said = call(tmp_path / "x.ipynb")
    assert (status, said.count("\n")) == (2, 1)
    assert "`notebook` must hold the checks that it was released with" in said
