"""What every report can do: give its data, let columns be chosen, be printed anywhere."""

import csv
import io
import json
import sys
from dataclasses import dataclass

import pytest

from d2lcompute.tables import Rows, Shown, Table
from d2lcompute.words.language import marks


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
