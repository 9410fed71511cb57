import csv
import io

import pytest

from d2lcompute.grading.questions import questions, to_csv
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Mark, Result
from d2lcompute.grading.sheets import shown

HEADING = Heading("Homework", "digest", {"easy": 2.0, "hard": 4.0, "odd": 4.0, "why": 3.0})


def result(name, easy, hard, odd, details="", **more):
    marks = (
        Mark("easy", 2.0, easy, False, "" if easy else "no answer", seconds=0.5),
        Mark("hard", 4.0, hard, True, "" if hard else "differs", details, seconds=1.5),
        Mark("odd", 4.0, odd, False, "" if odd else "no answer"),
        Mark("why", 3.0, False, False, TO_BE_MARKED, written=True),
    )
    return Result(name, "d", marks, **more)


CLASS = [
    result("a", True, True, False),
    result("b", True, True, False),
    result("c", True, True, False),
    result("d", True, False, True, "by 0.25 at (1,)"),
    result("e", True, False, True, "by 1e-07 at (12,)"),
    result("f", True, False, True, "another shape"),
]


@pytest.fixture
def found():
    return {each.name: each for each in questions(HEADING, CLASS)}


def test_each_question_has_its_numbers(found):
    hard = found["hard"]
    assert (hard.answers, hard.full, hard.mean, hard.seconds) == (6, 3, 2.0, 1.5)
    assert (hard.rate, hard.hidden) == (0.5, True)


def test_discrimination_is_the_correlation_with_the_rest():
    class_ = [result("a", True, True, True), result("b", True, True, False)]
    class_ += [result("c", True, False, True), result("d", False, False, False)]
    (hard,) = [each for each in questions(HEADING, class_) if each.name == "hard"]
    # Its points are 4, 4, 0, 0; those of the rest 6, 2, 6, 0, with a mean of 3.5.
    assert hard.discrimination == pytest.approx(4 / (16 * 27) ** 0.5)


def test_questions_that_teach_nothing_are_told_to_their_author(found):
    assert found["easy"].discrimination is None
    assert found["easy"].remark == "all pass: it tells nobody apart"
    assert found["odd"].discrimination == pytest.approx(-1.0)
    assert found["odd"].remark == "who does well elsewhere fails here: is the check right?"
    nobody = questions(HEADING, [result(name, False, True, True) for name in "abcde"])
    assert nobody[0].remark.startswith("nobody passes")


def test_a_question_without_relation_to_the_others_is_not_called_wrong():
    class_ = [
        result(f"{number}", number % 2, number // 2 % 2, number // 4 % 2) for number in range(8)
    ]
    easy = questions(HEADING, [*class_, result("9", True, False, False)])[0]
    assert easy.correlation == -0.13
    assert easy.remark == ""
    (hard,) = [each for each in questions(HEADING, class_) if each.name == "hard"]
    assert shown(hard.correlation) == "0"


def test_few_answers_say_nothing_yet():
    assert questions(HEADING, [result("a", True, True, True)])[0].remark == ""


def test_wrong_answers_are_gathered_whatever_their_numbers(found):
    clusters = [(one.said, one.submissions) for one in found["hard"].wrong]
    assert clusters == [
        ("differs: by 0.25 at (1,)", ("d", "e")),
        ("differs: another shape", ("f",)),
    ]


def test_what_is_not_marked_or_does_not_count_is_left_out(found):
    assert "why" not in found
    more = [
        *CLASS,
        result("g", False, False, False, counts=False),
        result("h", 0, 0, 0, trouble="x"),
    ]
    assert questions(HEADING, more) == questions(HEADING, CLASS)


def test_the_table_has_a_row_for_each():
    rows = list(csv.DictReader(io.StringIO(to_csv(questions(HEADING, CLASS)))))
    assert [row["question"] for row in rows] == ["easy", "hard", "odd"]
    assert rows[1]["wrong answers"].splitlines()[0] == "2: differs: by 0.25 at (1,)"
    assert rows[0]["remark"] == "all pass: it tells nobody apart"
