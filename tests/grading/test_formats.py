import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.formats import read_table, shown, to_number, to_text, typed

TABLE = [["name", "points"], ["张三", "2.5"], ["Zoë", ""]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_table_is_read_however_a_spreadsheet_saved_it(tmp_path, encoding, delimiter, newline):
    path = tmp_path / "table.csv"
    path.write_bytes(newline.join(map(delimiter.join, TABLE)).encode(encoding))
    assert read_table(path, ["name", "points"]) == [
        {"name": "张三", "points": "2.5", "line": "2"},
        {"name": "Zoë", "points": "", "line": "3"},
    ]


def test_rows_may_be_shorter_or_empty(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,points,more\nada\n,,\nbob,1,2,3\n", encoding="utf-8")
    assert [row["points"] for row in read_table(path, ["name"])] == ["", "1"]


def test_a_missing_column_is_named(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name,point\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"`table.csv` must have the columns name, points, got"):
        read_table(path, ["name", "points"])
    path.write_bytes(b"PK\x03\x04\x00\x00")
    with pytest.raises(ValueError, match="must be a table as CSV, got another kind of file"):
        read_table(path, ["name"])


# A spreadsheet trims blanks, and `plain` leaves no control characters.
texts = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" \n'=+-@＝＋－＠,;\"")
)


@given(texts)
def test_what_is_written_is_what_is_read(text):
    assert typed(shown(text)) == typed(text)
    assert not shown(text).startswith((*"=+-@", *"＝＋－＠"))


@given(st.lists(texts, min_size=2, max_size=2))
def test_cells_stay_apart(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text(to_text(["a", "b"], [dict(zip("ab", cells, strict=True))]), encoding="utf-8")
    rows = read_table(path, ["a", "b"])
    assert [[row["a"], row["b"]] for row in rows] == [
        list(map(typed, cells)) for _ in [0] if any(map(str.strip, map(shown, cells)))
    ]


@pytest.mark.parametrize(
    ("text", "number"), [("", None), ("2", 2.0), ("2.5", 2.5), ("2,5", 2.5), ("-1", -1.0)]
)
def test_numbers_have_a_point_or_a_comma(text, number):
    assert to_number(text) == number


@pytest.mark.parametrize("text", ["two", "nan", "inf", "1,2,3", "1e999"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=r".*"):
        to_number(text)
