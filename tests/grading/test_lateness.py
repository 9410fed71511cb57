from dataclasses import replace

import pytest

from d2lcompute.grading import lateness
from d2lcompute.grading.lateness import Agreed, read_rule
from d2lcompute.grading.platforms import Sender
from d2lcompute.grading.results import Heading, Mark, Outcome, Result

DUE = "2026-11-20T23:59:00"
HOUR, DAY = 3600.0, 86400.0


def heading(late="10 % a day", due=DUE):
    return Heading("Homework", "digest", {"c": 20.0}, due=due, late=late)


def attempt(name, submitted="", number="", key="", late=False, passed=True):
    sender = Sender(key or name, name, number, submitted, late)
    marks = (Mark("c", 20.0, passed, False),)
    return Result(f"{name} {submitted}".strip(), "d", marks, sender=sender)


def applied(*results, late="10 % a day", agreed=None, times=None, due=DUE):
    return lateness.apply(heading(late, due), results, agreed or {}, times or {})


@pytest.mark.parametrize(
    ("rule", "late", "lost"),
    [
        ("", 5 * DAY, 0),
        ("10 % a day", 0, 0),
        ("10 % a day", 1, 2),
        ("10 % a day", DAY, 2),
        ("10 % a day", DAY + 1, 4),
        ("10% per day", 30 * DAY, 20),
        ("3 points an hour", 90 * 60, 6),
        ("1 point a day", 3 * DAY, 3),
        ("10 % a day, at most 50 %", 9 * DAY, 10),
        ("10 % a day, at most 3 points", 9 * DAY, 3),
        ("10 % a day, nothing after 3 days", 3 * DAY, 6),
        ("10 % a day, nothing after 3 days", 3 * DAY + 1, 20),
        ("nothing after 2 hours", HOUR, 0),
        ("nothing after 2 hours", 3 * HOUR, 20),
        ("50 % a week, 15 minutes free", 15 * 60, 0),
        ("50 % a week, 15 minutes free", 16 * 60, 10),
    ],
)
def test_a_rule_in_one_line_says_what_lateness_takes(rule, late, lost):
    assert read_rule(rule).take(20.0, late) == pytest.approx(lost)


@pytest.mark.parametrize(
    "text", ["10 a day", "ten % a day", "10 % a day, 10 % a day", "10 % a month", "late"]
)
def test_a_line_that_is_no_rule_says_what_one_is(text):
    with pytest.raises(ValueError, match=r"`late` must be a rule, got .*; do '10 % a day' or"):
        read_rule(text)


def test_what_is_in_time_loses_nothing():
    (result,), notes = applied(attempt("ada", "2026-11-20T23:59:00"))
    assert (result.earned, result.lateness, notes) == (20.0, "", [])


def test_what_is_late_says_so():
    (result,), _ = applied(attempt("ada", "2026-11-22T01:04:00"))
    assert result.earned == 16.0
    assert result.lateness == "1 d 1 h 5 min late: 4 of 20 points are taken"


def test_zones_are_told_apart():
    ours = "2026-11-20T23:59:00+08:00"
    (early, late), _ = applied(
        attempt("ada", "2026-11-20T15:58:00+00:00"), attempt("bob", "2026-11-21T00:00:00"), due=ours
    )
    assert (early.earned, late.earned) == (20.0, 18.0)


def test_an_extension_moves_the_due_time_of_its_student():
    agreed = {"ada": Agreed(due="2026-11-25T23:59:00")}
    results, notes = applied(
        attempt("ada", "2026-11-24T00:00:00"), attempt("bob", "2026-11-24T00:00:00"), agreed=agreed
    )
    assert [result.taken for result in results] == [0.0, 8.0]
    assert notes == []


def test_who_has_an_extension_and_nothing_else_is_told():
    assert applied(attempt("ada"), agreed={"adah": Agreed()})[1] == [
        "extensions.csv: there is no student 'adah'"
    ]


def test_a_time_is_the_platform_s_or_what_a_person_wrote():
    agreed = {"ada (7)": Agreed(submitted="2026-11-20T12:00:00")}
    results, _ = applied(
        attempt("ada (7)", number="7"),
        attempt("bob (8)", number="8"),
        agreed=agreed,
        times={"7": "2026-11-30T00:00:00", "8": "2026-11-21T00:00:00"},
    )
    assert [result.taken for result in results] == [0.0, 2.0]


def test_late_without_a_time_takes_nothing_and_is_told():
    (result,), (note,) = applied(attempt("ada", late=True))
    assert result.earned == 20.0
    assert note.startswith("ada is late, and nobody says how much")


def test_of_several_attempts_the_last_in_time_counts_and_all_are_listed():
    times = ["2026-11-18T00:00:00", "2026-11-19T00:00:00", "2026-11-22T00:00:00"]
    results, _ = applied(*(attempt("ada", time) for time in times))
    assert [result.counts for result in results] == [False, True, False]
    assert [result.state for result in results] == [
        "attempt 1 of 3, another one counts",
        "graded",
        "attempt 3 of 3, another one counts",
    ]


@pytest.mark.parametrize(
    ("rule", "broken", "counts"),
    [
        ("", [1], [False, True]),
        ("a syntax error is no attempt", [1], [True, False]),
        ("10 % a day, a syntax error is no attempt", [0, 1], [False, True]),
    ],
)
def test_an_attempt_with_a_syntax_error_may_be_none(rule, broken, counts):
    attempts = [attempt("ada", f"2026-11-1{day}T00:00:00") for day in (7, 8)]
    for place in broken:
        outcomes = (Outcome("f", "failed", "SyntaxError: invalid syntax"),)
        attempts[place] = replace(attempts[place], outcomes=outcomes)
    results, _ = applied(*attempts, late=rule)
    assert [result.counts for result in results] == counts


def test_where_all_attempts_are_late_the_last_one_counts():
    times = ["2026-11-22T00:00:00", "2026-11-21T00:00:00"]
    results, _ = applied(*(attempt("ada", time) for time in times))
    assert [(result.counts, result.attempt) for result in results] == [
        (True, "2 of 2"),
        (False, "1 of 2"),
    ]


def test_attempts_at_unknown_times_all_stay_and_are_told():
    results, notes = applied(attempt("ada", DUE), attempt("ada"))
    assert [(result.counts, result.attempt) for result in results] == [(True, ""), (True, "")]
    assert notes == [
        f"ada: 2 submissions count, ada {DUE}, ada; write into extensions.csv when each was "
        "submitted, and the last one counts"
    ]


def test_of_two_that_came_at_the_same_time_none_is_chosen_by_its_name():
    old = attempt("ada", "2026-11-18T00:00:00")
    both = [replace(attempt("ada", DUE), submission=f"ada: {name}") for name in ("a", "b")]
    results, notes = applied(old, *both)
    assert [result.counts for result in results] == [False, True, True]
    assert [note.partition(";")[0] for note in notes] == [
        "ada: 2 submissions count, ada: a, ada: b"
    ]
    agreed = {"ada: b": Agreed(submitted="2026-11-19T00:00:00")}
    results, notes = applied(old, *both, agreed=agreed)
    assert ([result.counts for result in results], notes) == ([False, True, False], [])


def test_a_row_for_a_student_and_one_for_a_submission_both_hold():
    agreed = {"ada": Agreed(due="2026-11-25T23:59:00"), "ada: b": Agreed(submitted=DUE)}
    one = replace(attempt("ada", "2026-11-26T00:00:00"), submission="ada: b")
    (result,), _ = applied(one, agreed=agreed)
    assert (result.due, result.submitted) == ("2026-11-25T23:59:00", DUE)


def test_extensions_are_read_from_a_table(tmp_path):
    path = tmp_path / "extensions.csv"
    path.write_text("student,due,submitted\nada,2026-11-25 23:59,\n张三,,2026-11-20 10:00\n", "gbk")
    assert lateness.read_extensions(tmp_path) == {
        "ada": Agreed("2026-11-25T23:59:00"),
        "张三": Agreed("", "2026-11-20T10:00:00"),
    }
    path.write_text("student,due\nada,soon\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"extensions.csv, line 2: a time must be as .*got 'soon'"):
        lateness.read_extensions(tmp_path)
