import csv
import io

import pytest

from d2lcompute.grading import gradebook
from d2lcompute.grading.platforms import Sender
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Mark, Result

HEADING = Heading("Homework 1", "digest", {"c": 7.0})
CANVAS = [
    ["Student", "ID", "SIS Login ID", "Section", "Homework 1 (55)", "Homework 2 (56)", "Total"],
    ["    Points Possible", "", "", "", "7.00", "10", ""],
    ["Lovelace, Ada", "77", "ada01", "A", "", "3", "3"],
    ["Roe, Bob", "78", "bob01", "A", "", "", ""],
    ["张, 三", "79", "zhang", "A", "1", "", ""],
]
MOODLE = [
    [
        "Identifier", "Full name", "Status", "Grade", "Maximum Grade", "Last modified (submission)",
        "Feedback comments",
    ],
    [
        "Participant 77", "Ada Lovelace", "Submitted", "", "7.00",
        "Friday, 20 November 2026, 11:58 PM", "",
    ],
    ["Participant 78", "Bob Roe", "No submission", "-", "7.00", "-", ""],
]  # fmt: skip


def result(name, number="", earned=True, **more):
    marks = (Mark("c", 7.0, earned, False, "" if earned else "no answer"),)
    return Result(name, "d", marks, sender=Sender(name, name, number), **more)


@pytest.fixture
def fill(tmp_path):
    """Fill a platform's file: (its rows, notes)."""

    def run(table, *results, heading=HEADING):
        with (tmp_path / "gradebook.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(table)
        text, notes = gradebook.fill(gradebook.read(tmp_path, heading), heading, results)
        return list(csv.reader(io.StringIO(text))), notes

    return run


def test_canvas_gets_its_column_and_nothing_else(fill):
    rows, notes = fill(CANVAS, result("lovelaceada (77)", "77"), result("roebob (78)", "78", False))
    assert rows == [
        ["Student", "ID", "SIS Login ID", "Section", "Homework 1 (55)"],
        ["    Points Possible", "", "", "", "7.00"],
        ["Lovelace, Ada", "77", "ada01", "A", "7"],
        ["Roe, Bob", "78", "bob01", "A", "0"],
        ["张, 三", "79", "zhang", "A", "1"],
    ]
    assert notes == []


def test_students_are_found_by_login_and_name_too(fill):
    rows, notes = fill(CANVAS, result("ada01"), result("张, 三"))
    assert [row[4] for row in rows[2:]] == ["7", "", "7"]
    assert notes == []


def test_a_number_of_the_platform_is_no_name_of_another_student(fill):
    table = [list(row) for row in CANVAS]
    table[3][2] = "77"  # a login that is the number of somebody else
    rows, notes = fill(table, result("lovelaceada (77)", "77"))
    assert ([row[4] for row in rows[2:]], notes) == (["7", "", "1"], [])


def test_moodle_gets_grades_and_comments_and_keeps_all_else(fill):
    rows, notes = fill(MOODLE, result("Ada Lovelace (77)", "77", comment="well done"))
    expected = [list(row) for row in MOODLE]
    expected[1][3], expected[1][6] = "7", "well done\nc: 7 of 7: passed"
    assert (rows, notes) == (expected, [])


def test_moodle_says_when_each_handed_in(fill, tmp_path):
    fill(MOODLE)
    assert gradebook.read(tmp_path, HEADING).times == {"77": "2026-11-20T23:58:00"}


def test_nobody_is_lost_without_a_line(fill):
    waits = Result(
        "bob01",
        "d",
        (Mark("c", 7.0, False, False, TO_BE_MARKED, written=True),),
    )
    rows, notes = fill(CANVAS, result("eve"), waits, result("ada01"), result("lovelace", "77"))
    assert [row[4] for row in rows[2:]] == ["", "", "1"]
    assert notes == [
        "gradebook.csv: Lovelace, Ada has 2 submissions; none was filled in",
        "gradebook.csv: eve is not in it",
        "gradebook.csv: bob01 is not marked yet and was left out",
    ]


def test_attempts_that_do_not_count_are_left_out(fill):
    rows, notes = fill(CANVAS, result("a", "77", False, counts=False), result("b", "77"))
    assert (rows[2][4], notes) == ("7", [])


def test_other_points_in_the_platform_are_told(fill):
    heading = Heading("Homework 1", "digest", {"c": 7.5})
    assert fill(CANVAS, heading=heading)[1] == [
        "gradebook.csv: 7.00 points in the platform, 7.5 here; not scaled"
    ]
    assert len(fill(MOODLE, heading=heading)[1]) == 1


def test_a_column_that_can_not_be_found_is_an_error(fill):
    with pytest.raises(ValueError, match=r"must have a column for 'Lab', got Homework 1 \(55\), "):
        fill(CANVAS, heading=Heading("Lab", "digest", {"c": 7.0}))
    with pytest.raises(ValueError, match=r"must be Canvas's gradebook.*got name, points"):
        fill([["name", "points"]])


def test_without_a_file_there_is_nothing_to_fill(tmp_path):
    assert gradebook.read(tmp_path, HEADING) is None
