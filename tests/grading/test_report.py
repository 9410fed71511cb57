import csv
import io
import json
from xml.etree import ElementTree

import pytest

from d2lcompute.grading import report
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Journal, Mark, Outcome, Result

HEADING = Heading("Homework", "digest", {"shown": 1.0, "hidden": 2.5})
SECRET = "torch.rand of the hidden check"
GOOD = Result(
    "ada",
    "d",
    (Mark("shown", 1.0, True, False, seconds=0.5), Mark("hidden", 2.5, True, True)),
    (Outcome("x", "done"),),
    isolation="namespaces",
)
BAD = Result(
    "=cmd|' /C calc'!A1",
    "d",
    (
        Mark("shown", 1.0, False, False, "no answer", SECRET, private=True),
        Mark("hidden", 2.5, False, True, SECRET, SECRET, private=True),
    ),
    (Outcome("x", "failed", SECRET, True),),
)
TORN = Result("bob", "d", (Mark("shown", 1.0, False, False, "torn"),), fault="torn")
LOST = Result("eve", "d", trouble="no <kernel>")
ALL = [GOOD, BAD, TORN, LOST]


def rows():
    return list(csv.DictReader(io.StringIO(report.to_csv(HEADING, ALL))))


def test_csv_has_a_row_for_each_submission():
    assert [row["earned"] for row in rows()] == ["3.5", "0", "0", ""]
    assert [row["state"] for row in rows()] == ["graded", "graded", "unreadable", "not graded"]
    assert [row["hidden"] for row in rows()] == ["2.5", "0", "", ""]
    assert rows()[0]["points"] == "3.5"


def test_csv_holds_no_formula():
    assert rows()[1]["submission"] == "'=cmd|' /C calc'!A1"


def test_json_holds_all_that_is_known():
    content = json.loads(report.to_json(HEADING, ALL))
    assert content["title"] == "Homework"
    ada, bad = content["submissions"][:2]
    assert (ada["earned"], ada["state"]) == (3.5, "graded")
    assert bad["marks"][1]["reason"] == SECRET
    assert bad["marks"][1]["feedback"] == "not passed"


def test_junit_has_a_suite_for_each_submission_and_a_case_for_each_check():
    root = ElementTree.fromstring(report.to_junit(HEADING, ALL))
    counts = [(suite.get("tests"), suite.get("failures"), suite.get("errors")) for suite in root]
    assert counts == [("2", "0", "0"), ("2", "2", "0"), ("1", "1", "0"), ("1", "0", "1")]
    assert [case.get("name") for case in root[0]] == ["shown", "hidden"]
    assert root[3][0][0].get("message") == "no <kernel>"


def test_junit_counts_what_people_gave_and_skips_what_they_have_not_marked():
    marks = (
        Mark("shown", 1.0, False, False, "no answer", given=1.0),
        Mark("why", 2.0, False, False, TO_BE_MARKED, written=True),
    )
    (suite,) = ElementTree.fromstring(report.to_junit(HEADING, [Result("ada", "d", marks)]))
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    assert [[child.tag for child in case] for case in suite] == [[], ["skipped"]]


def test_gradescope_gets_its_format():
    content = json.loads(report.to_gradescope(GOOD))
    assert content["score"] == 3.5
    assert content["tests"][0] == {
        "name": "shown",
        "score": 1.0,
        "max_score": 1.0,
        "status": "passed",
        "output": "passed",
        "output_format": "text",
        "visibility": "visible",
    }
    assert content["stdout_visibility"] == "hidden"


@pytest.mark.parametrize(
    "text",
    [report.to_gradescope(BAD), report.to_junit(HEADING, [BAD]), report.to_csv(HEADING, [BAD])],
)
def test_what_students_may_see_says_nothing_of_hidden_checks(text):
    assert SECRET not in text


@pytest.fixture
def journal(tmp_path):
    cells = Cell("x", "solution", "x"), Cell("a", "check", "shown", 1.0)
    found = Journal.start(tmp_path, Assignment(cells, "Homework"))
    for result in ALL:
        found.add(result)
    return found


def test_every_report_is_written_whole(journal, tmp_path):
    paths = report.write_reports(
        journal.heading, report.settle(journal, tmp_path), tmp_path / "out"
    )
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == [
        "report.html",
        "marks.csv",
        "questions.csv",
        "report.json",
        "junit.xml",
        "gradescope/_cmd_C_calc_A1.json",
        "gradescope/ada.json",
        "gradescope/bob.json",
    ]
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == sorted(paths)


def test_submissions_with_like_names_do_not_overwrite_each_other(tmp_path, journal):
    for name in ("a/b", "a:b", "../../a b", "."):
        journal.add(Result(name, "d"))
    report.write_reports(journal.heading, report.settle(journal, tmp_path), tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "gradescope").iterdir()}
    assert names >= {"a_b.json", "a_b-2.json", "_a_b.json", "_.json"}
