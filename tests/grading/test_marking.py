import csv
import io

import pytest

from d2lcompute.grading import marking
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Mark, Result

HEADING = Heading("Homework", "digest", {"c": 3.0, "why": 4.0}, {"why": "two for the reason"})


def result(name, text="because", digest="d", state=TO_BE_MARKED, passed=True):
    marks = (
        Mark("c", 3.0, passed, False, "" if passed else "no answer"),
        Mark("why", 4.0, False, False, state, written=True),
    )
    return Result(name, digest, marks, sources={"x": "x = 1", "why": text})


CLASS = [result("ada"), result("bob", "=1+1"), result("eve", "", state="missing")]


@pytest.fixture
def round_(tmp_path):
    """Read what was typed and write the table: (results by name, notes)."""

    def run(results=CLASS, heading=HEADING):
        typed = marking.read(tmp_path, heading, results)
        typed.write(heading, results)
        found = {each.submission: each for each in typed.apply(results)}
        return found, list(typed.notes(results))

    return run


def rows(path):
    with path.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def save(path, table):
    text = io.StringIO()
    writer = csv.DictWriter(text, table[0].keys(), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(table)
    path.write_bytes(text.getvalue().encode("utf-8-sig"))


def type_(table, question, submission, /, **cells):
    for row in table:
        if (row["question"], row["submission"]) == (question, submission):
            row.update(cells)
    return table


def mark_of(found, name, question):
    return next(mark for mark in found[name].marks if mark.check == question)


def test_written_answers_stand_side_by_side_with_their_rubric(round_, tmp_path):
    round_()
    table = rows(tmp_path / "marking.csv")
    assert [(row["question"], row["submission"], row["answer"]) for row in table[:3]] == [
        ("why", "ada", "because"),
        ("why", "bob", "'=1+1"),
        ("why", "eve", "missing"),
    ]
    assert {row["rubric"] for row in table[:3]} == {"two for the reason"}
    assert [row["question"] for row in table[3:]] == 3 * ["(overall)"] + 3 * ["c"]
    assert [row["automatic"] for row in table[6:]] == 3 * ["3"]


def test_nothing_in_an_answer_can_turn_a_terminal_round(round_, tmp_path):
    round_([result("ada", "because\x1b[2J\u202e\nof it")])
    assert rows(tmp_path / "marking.csv")[0]["answer"] == "because\\x1b[2J\\u202e\nof it"


def test_what_is_typed_counts_and_stays(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    table = type_(rows(path), "why", "ada", points="2,5", comment="-1 for the unit", by="kim")
    save(path, type_(table, "c", "bob", points="1"))
    for _ in range(3):
        found, notes = round_()
        mark = mark_of(found, "ada", "why")
        assert (mark.earned, mark.comment, mark.by) == (2.5, "-1 for the unit", "kim")
        assert mark.at.startswith("20")
        mark = mark_of(found, "bob", "c")
        assert (mark.earned, mark.automatic) == (1.0, 3.0)
        assert notes == []
    assert (tmp_path / "marking.jsonl").read_bytes().count(b"\n") == 2
    assert rows(path)[0]["points"] == "2.5"


def test_points_and_a_comment_for_the_whole(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(rows(path), "(overall)", "ada", points="-1", comment="no name on it"))
    found, _ = round_()
    assert (found["ada"].earned, found["ada"].comment) == (2.0, "no name on it")


def test_an_empty_cell_takes_points_back(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(rows(path), "c", "ada", points="1"))
    round_()
    save(path, type_(rows(path), "c", "ada", points=""))
    assert mark_of(round_()[0], "ada", "c").earned == 3.0


def test_two_people_mark_at_once_in_copies(round_, tmp_path):
    round_()
    table = rows(tmp_path / "marking.csv")
    save(tmp_path / "marking-kim.csv", type_(table, "why", "ada", points="3"))
    table = rows(tmp_path / "marking.csv")
    save(tmp_path / "marking-lee.csv", type_(table, "why", "bob", points="1"))
    for _ in range(2):
        found, notes = round_()
        assert [mark_of(found, name, "why").earned for name in ("ada", "bob")] == [3.0, 1.0]
        assert [mark_of(found, name, "why").by for name in ("ada", "bob")] == ["kim", "lee"]
        assert notes == []


def test_where_two_people_differ_both_are_kept_and_said_until_one_decides(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    for name, points in (("kim", "3"), ("lee", "2")):
        save(tmp_path / f"marking-{name}.csv", type_(rows(path), "why", "ada", points=points))
    for _ in range(2):
        found, (note,) = round_()
        assert note.startswith("ada, why: two people differ, the last counts: 3 (kim, 20")
        assert "; 2 (lee, 20" in note
        assert mark_of(found, "ada", "why").earned == 2.0
        assert rows(path)[0]["points"] == "3 or 2"
    save(path, type_(rows(path), "why", "ada", points="2"))
    found, notes = round_()
    assert (mark_of(found, "ada", "why").earned, notes) == (2.0, [])
    assert "3 (kim" in rows(path)[0]["history"]


def test_where_two_people_agree_there_is_nothing_to_decide(round_, tmp_path):
    round_()
    for name in ("kim", "lee"):
        table = rows(tmp_path / "marking.csv")
        save(tmp_path / f"marking-{name}.csv", type_(table, "why", "ada", points="3"))
    assert round_()[1] == []
    assert rows(tmp_path / "marking.csv")[0]["points"] == "3"


def test_an_old_copy_that_is_saved_late_overwrites_nobody(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    opened_long_ago = rows(path)
    save(path, type_(rows(path), "why", "ada", points="3", by="kim"))
    round_()
    save(path, type_(opened_long_ago, "why", "bob", points="1", by="lee"))
    found, notes = round_()
    assert [mark_of(found, name, "why").earned for name in ("ada", "bob")] == [3.0, 1.0]
    assert notes == []


def test_a_table_that_is_saved_while_it_is_read_is_not_overwritten(tmp_path):
    typed = marking.read(tmp_path, HEADING, CLASS)
    typed.write(HEADING, CLASS)
    path = tmp_path / "marking.csv"
    typed = marking.read(tmp_path, HEADING, CLASS)
    save(path, type_(rows(path), "why", "ada", points="3"))
    before = path.read_bytes()
    typed.write(HEADING, CLASS)
    assert path.read_bytes() == before


def test_of_a_dispute_over_a_former_answer_nobody_is_said_to_count(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    for name, points in (("kim", "3"), ("lee", "2")):
        save(tmp_path / f"marking-{name}.csv", type_(rows(path), "why", "ada", points=points))
    round_()
    _, (note,) = round_([result("ada", "another answer", "e"), *CLASS[1:]])
    assert note.startswith("ada, why: the answer has changed since it was marked: 3 (kim, 20")
    assert "; 2 (lee, 20" in note


def test_points_for_an_answer_that_has_changed_do_not_count_and_are_not_lost(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(rows(path), "why", "ada", points="3", comment="good"))
    round_()
    found, (note,) = round_([result("ada", "another answer", "e"), *CLASS[1:]])
    assert mark_of(found, "ada", "why").waits
    assert "ada, why: the answer has changed since it was marked: 3 'good'" in note
    row = rows(path)[0]
    assert (row["points"], "3 'good'" in row["history"]) == ("", True)
    save(path, type_(rows(path), "why", "ada", points="3"))
    found, notes = round_([result("ada", "another answer", "e"), *CLASS[1:]])
    assert (mark_of(found, "ada", "why").earned, notes) == (3.0, [])


def test_points_typed_while_the_answer_changed_are_for_the_answer_that_was_read(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(rows(path), "why", "ada", points="3"))
    found, notes = round_([result("ada", "another answer", "e"), *CLASS[1:]])
    assert mark_of(found, "ada", "why").waits
    assert len(notes) == 1


def test_blind_marking_shows_codes_and_finds_whose_they_are(round_, tmp_path):
    round_()
    codes = marking.codes(tmp_path, ["ada", "bob", "eve"])
    typed = marking.read(tmp_path, HEADING, CLASS)
    path = typed.write(HEADING, CLASS, codes)
    assert path == tmp_path / "anonymous" / "marking.csv"
    assert not any(name in path.read_text(encoding="utf-8") for name in codes)
    table = rows(path)
    assert [row["submission"] for row in table[:3]] == sorted(codes.values())
    save(path, type_(table, "why", codes["bob"], points="3"))
    assert mark_of(round_()[0], "bob", "why").earned == 3.0
    assert marking.codes(tmp_path, ["bob"]) == {"bob": codes["bob"]}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"points": "five"}, "line 2: `points` must be a number from 0 to 4, or empty, got 'five'"),
        ({"points": "5"}, "line 2: `points` must be a number from 0 to 4, or empty, got '5'"),
        ({"points": "-1"}, "line 2: `points` must be a number from 0 to 4, or empty, got '-1'"),
        ({"points": "1", "submission": "adah"}, "line 2: there is no submission 'adah'"),
        ({"points": "1", "question": "wy"}, "line 2: there is no question 'wy'; do c, why"),
        ({"points": "1", "seen": ""}, "line 2: `seen` must be left as it was written, got ''"),
    ],
)
def test_a_cell_that_can_not_be_read_is_named_and_nothing_is_changed(
    round_, tmp_path, cells, message
):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(type_(rows(path), "why", "bob", points="2"), "why", "ada", **cells))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        round_()
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_rows_that_nobody_touched_may_be_deleted_or_sorted(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(rows(path), "why", "ada", points="3")[1::-1])
    assert mark_of(round_()[0], "ada", "why").earned == 3.0
    assert len(rows(path)) == 9


def test_a_last_line_that_was_cut_off_costs_itself(round_, tmp_path):
    round_()
    path = tmp_path / "marking.csv"
    save(path, type_(type_(rows(path), "why", "ada", points="3"), "why", "bob", points="1"))
    round_()
    kept = tmp_path / "marking.jsonl"
    kept.write_bytes(kept.read_bytes()[:-5])
    found, _ = round_()
    assert mark_of(found, "ada", "why").earned == 3.0
