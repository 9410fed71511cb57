"""Written questions on their way: declared, released, filled in, read, waiting for a person."""

import json

import pytest
from fakekernel import FakeKernel
from handins import code, notebook
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from d2lcompute.grading.assignment import AssignmentError, parse
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.release import release
from d2lcompute.grading.submissions import read

MODEL = "Why?\n\n### BEGIN SOLUTION\nBecause of the secret.\n### END SOLUTION"


def cell(source, tags, make=new_code_cell, **declared):
    return make(source, metadata={"tags": tags, "d2lcompute": declared})


def question(source=MODEL, language=None, **declared):
    found = cell(source, ["written"], new_markdown_cell, **{"id": "why", "points": 4, **declared})
    if language:
        found.metadata.lang = language
    return found


CODE = [
    cell("x = 1", ["solution"], id="x"),
    cell("answer(x)", ["check"], id="c", points=3),
]


def reference(*cells, **metadata):
    return new_notebook(cells=[*CODE, *cells], metadata={"d2lcompute": metadata})


@pytest.mark.parametrize(
    ("cells", "defect"),
    [
        ([question(id="x")], "the id x of a written question is that of a cell of code"),
        ([question(), question()], "2 written questions have the id why; give each its own"),
        (
            [question(language="en"), question(language="zh", points=5)],
            "the written question why has other points in another language",
        ),
        ([question(points=-1)], "points must be a number of at least 0, got -1"),
        ([question(rubric=3)], "rubric must be a text, got 3"),
        ([question(draws=3)], "unknown metadata draws of a written question"),
        ([question("### BEGIN SOLUTION")], "### BEGIN SOLUTION and ### END SOLUTION must come in"),
        ([cell("1", ["written"], id="why", points=1)], "a written question in a cell of code"),
        ([cell("y", ["solution"], id="y", forbids="loop")], "forbids must be a list as"),
        ([cell("y", ["solution"], id="y", asks=["2 loops"])], "asks must be a list as"),
    ],
)
def test_a_defect_of_a_written_question_or_a_rule_is_told(cells, defect):
    with pytest.raises(AssignmentError) as error:
        parse(reference(*cells))
    assert len(error.value.defects) == 1
    assert defect in error.value.defects[0]


@pytest.mark.parametrize(
    ("metadata", "defect"),
    [
        ({"due": "soon"}, "due must be a time such as 2026-11-20 23:59 +08:00, got 'soon'"),
        ({"late": "10 % a day"}, "late is a rule for what comes after due; add due"),
        ({"due": "2026-11-20 23:59", "late": "much"}, "`late` must be a rule, got 'much'"),
        ({"date": "2026-11-20"}, "unknown metadata date of the notebook; it may have due, late,"),
        ({"files": "data.csv"}, "files must be a list of names beside the notebook, got"),
        ({"files": ["../exam.md"]}, "files must lie beside the notebook or below, got ../exam.md"),
        ({"files": ["/etc/passwd"]}, "files must lie beside the notebook or below, got /etc"),
    ],
)
def test_a_defect_of_the_due_time_is_told(metadata, defect):
    with pytest.raises(AssignmentError) as error:
        parse(reference(**metadata))
    assert [each[: len(defect)] for each in error.value.defects] == [defect]


def test_a_written_question_is_worth_points():
    assignment = parse(reference(question(rubric="2 for the reason")))
    assert (assignment.points, assignment.questions) == (7, {"c": 3, "why": 4})


def released(*cells):
    return release(reference(*cells), {})


def test_students_get_the_question_and_no_model_answer():
    (found,) = released(question(rubric="SECRET")).values()
    text = found.cells[-1]
    assert text.source == "Why?\n\n*Your answer.*"
    assert text.metadata.d2lcompute == {"id": "why"}
    assert "ecret" not in json.dumps(found).lower().replace("secretly", "")
    (found,) = released(question("All of it is the answer.")).values()
    assert found.cells[-1].source == "*Your answer.*"


def test_each_language_has_its_own_question():
    found = released(question("a", "en"), question("b", "zh"))
    assert {name: len(each.cells) for name, each in found.items()} == {"en": 3, "zh": 3}


def text(source, **more):
    return {"cell_type": "markdown", "source": source, "metadata": {}, **more}


ASSIGNMENT = parse(reference(question()))
NAMED = {"metadata": {"d2lcompute": {"id": "why"}}}
BY_ID = {"id": ASSIGNMENT.texts[0].notebook_id}


@pytest.mark.parametrize(
    ("cells", "answer"),
    [
        ([text("Because.", **NAMED)], "Because."),
        ([text("Because.", **BY_ID)], "Because."),
        ([text("First.", **NAMED), text("Second.", **NAMED)], "First.\n\nSecond."),
        ([code("in a cell of code", "why")], "in a cell of code"),
    ],
)
def test_an_answer_is_found_whatever_became_of_its_cell(cells, answer):
    submission = read(notebook(code("x = 1", "x"), *cells), ASSIGNMENT)
    assert (submission.texts, submission.solutions) == ({"why": answer}, {"x": "x = 1"})
    assert submission.notes == ()


def test_pasted_pictures_are_told():
    picture = text("see below", attachments={"image.png": {"image/png": ""}}, **NAMED)
    (note,) = read(notebook(code("x = 1", "x"), picture), ASSIGNMENT).notes
    assert note == "why holds a picture: look at the notebook"


def test_who_only_wrote_has_handed_in():
    submission = read(notebook(text("Because.", **NAMED)), ASSIGNMENT)
    assert not any("no answer" in note for note in submission.notes)


@pytest.mark.parametrize(
    ("cells", "reason", "waits"),
    [
        ([text("Because.", **NAMED)], "to be marked", True),
        ([text("Why?\n\n*Your answer.*", **NAMED)], "untouched", False),
        ([text("", **NAMED)], "untouched", False),
        ([], "missing", False),
    ],
)
def test_what_was_written_waits_for_a_person_and_nothing_else_does(
    monkeypatch, cells, reason, waits
):
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())
    submission = read(notebook(code("x = 1", "x"), *cells), ASSIGNMENT)
    (expected,) = expect(ASSIGNMENT, Conditions(), [draw_seeds(ASSIGNMENT, "key", submission)])
    result = grade_submission(ASSIGNMENT, Conditions(), submission, expected)
    mark = result.marks[-1]
    assert (mark.check, mark.reason, mark.waits, mark.earned) == ("why", reason, waits, 0.0)
    assert result.sources == {**submission.solutions, **submission.texts}
    assert result.earned == 3.0


def test_another_answer_is_another_submission():
    first = read(notebook(text("Because.", **NAMED)), ASSIGNMENT)
    second = read(notebook(text("Why not.", **NAMED)), ASSIGNMENT)
    assert first.digest != second.digest
