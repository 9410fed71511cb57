"""What every report can do: show itself as a table, give its data, be printed anywhere."""

import csv
import io
import json
import sys
from dataclasses import dataclass

import pytest

from d2lcompute.tables import Rows, Shown, Table
from d2lcompute.words.language import marks

TABLE = Table(
    ("name", "count"), [("0.weight", 1234), ("a<b", 5)], title="A & B", notes=["at least 1,239"]
)


def test_text_aligns_numbers_right_and_groups_their_digits():
    assert TABLE.text().splitlines() == [
        "A & B",
        "name        count",
        "--------  -------",
        "0.weight    1,234",
        "a<b             5",
        "at least 1,239",
    ]


def test_a_number_may_be_left_out():
    assert Table(("a", "b"), [("x", 1000), ("y", "")]).text().splitlines()[1:] == [
        "---  -----",
        "x    1,000",
        "y",
    ]


def test_text_has_no_trailing_space():
    wide = Table(("a", "long header"), [("x", "")])
    assert all(line == line.rstrip() for line in wide.text().splitlines())


def test_text_lines_up_under_wide_letters_and_accents():
    lines = Table(("名", "b"), [("层", 1), ("e\u0301", 2), ("abcd", 3)]).text().splitlines()
    assert lines == ["名      b", "----  ---", "层      1", "e\u0301       2", "abcd    3"]


def test_cells_may_have_several_lines():
    lines = Table(("a", "b"), [("x\nyy", 1), ("z", "p\nq")]).text().splitlines()
    assert lines == ["a    b", "---  ---", "x    1", "yy", "z    p", "     q"]


def test_text_keeps_number_like_strings_as_they_are():
    assert "1e3" in Table(("a",), [("1e3",)]).text()
    assert "True" in Table(("a",), [(True,)]).text()


def test_html_escapes_what_a_net_may_be_called():
    assert "a&lt;b" in TABLE.html()
    assert "A &amp; B" in TABLE.html()


def test_html_closes_every_element(closes_every_element):
    assert closes_every_element(TABLE.html())


def test_a_table_without_rows_shows_its_headers():
    assert Table(("a", "b"), []).text().split() == ["a", "b", "---", "---"]


def test_a_table_shows_itself_in_a_shell_and_in_a_notebook():
    table = Table(("a",), [(1,)])
    assert repr(table) == str(table) == table.text()
    assert table._repr_html_() == table.html()


@dataclass(frozen=True, repr=False)
class Readings(Rows[str]):
    names: tuple[str, ...]
    total: int
    secret: object = object()

    def _rows(self):
        return self.names

    def _table(self):
        rows = [(name, Shown((2, None), "(2, ?)"), 1.23456, None, len(name)) for name in self.names]
        headers = (*marks("name", "shape"), "value", "nothing", "length")
        return Table(headers, rows, "readings", ["a note"], hidden=["length"])


READINGS = Readings(("weight", "bias"), 2)


def test_a_report_is_a_sequence_of_its_rows():
    assert list(READINGS) == ["weight", "bias"]
    assert (len(READINGS), READINGS[-1], READINGS[:1]) == (2, "bias", ("weight",))
    assert "bias" in READINGS
    assert not Readings((), 0)


def test_as_a_dict_it_is_plain_data_with_hidden_columns_and_totals():
    data = READINGS.to_dict()
    assert json.loads(json.dumps(data)) == {
        "names": ["weight", "bias"],
        "total": 2,
        "rows": [
            {"name": n, "shape": [2, None], "value": 1.23456, "nothing": None, "length": len(n)}
            for n in ("weight", "bias")
        ],
    }


def test_the_data_stay_english(chinese):
    assert "名称" in str(READINGS)
    assert READINGS.to_dict()["rows"][0]["name"] == "weight"


def test_as_pandas_it_has_a_column_for_each(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = READINGS.to_pandas()
    assert list(frame.columns) == ["name", "shape", "value", "nothing", "length"]
    assert frame["length"].sum() == 10
    assert list(Readings((), 0).to_pandas().columns) == list(frame.columns)
    assert isinstance(frame, pandas.DataFrame)


def test_without_pandas_the_error_says_what_else_there_is(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"must find pandas, got none; do pip install pandas"):
        READINGS.to_pandas()


def test_as_csv_it_can_be_read_back(tmp_path):
    READINGS.to_csv(tmp_path / "readings.csv")
    with (tmp_path / "readings.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "name": "weight", "shape": "(2, ?)", "value": "1.23456", "nothing": "", "length": "6"
    }  # fmt: skip


def test_columns_are_chosen_in_any_order_and_title_and_notes_stay():
    assert str(READINGS.columns("length", "name")).splitlines() == [
        "readings", "  length  name", "--------  ------", "       6  weight", "       4  bias",
        "a note",
    ]  # fmt: skip


def test_a_column_that_does_not_exist_names_the_near_one():
    with pytest.raises(
        ValueError, match=r"be among .*, got 'lenght'; do choose one such as 'length'"
    ):
        READINGS.columns("lenght")


@pytest.mark.parametrize(
    ("encoding", "shown"), [("cp1252", "| us -> \\u5c42"), ("ascii", "| us -> \\u5c42")]
)
def test_a_pipe_that_knows_few_letters_gets_what_it_can_show(monkeypatch, encoding, shown):
    table = Table(("│ µs → 层",), [])
    pipe = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", pipe)
    print(table)
    pipe.flush()
    written = pipe.buffer.getvalue().decode(encoding)
    assert written.splitlines()[0] == shown


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_where_nothing_is_known_of_the_output_the_text_stays_whole(monkeypatch, stream):
    table = Table(("│ 层",), [])
    monkeypatch.setattr(sys, "stdout", stream)
    assert repr(table).startswith("│ 层")
