"""What every report is: a table of rows and columns, as text and as data, that shows itself."""

from __future__ import annotations

import csv
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar, overload
from unicodedata import combining, east_asian_width

from ..arguments import one_of, written
from ..words.language import _, ngettext

if TYPE_CHECKING:
    from pandas import DataFrame

Row = TypeVar("Row")
_GUIDE = "│ "  # before each row that is a part of one above
_LATIN = str.maketrans({"│": "|", "µ": "u", "×": "x", "→": "->", "≈": "~"})


class Report(ABC):
    """What shows itself as a table, in a shell and in a notebook, and gives its data.

    A dataclass needs `repr=False` for it, or it would write a `__repr__` of its own.
    """

    @abstractmethod
    def _table(self) -> Table: ...

    def _tree(self) -> Table:
        """Return the table for notebooks, where what stands deeper can be folded away."""
        return self._table()

    def columns(self, *names: str) -> Table:
        """Return the table with these columns alone, in this order.

        >>> d2c.describe(nn.Linear(2, 3)).columns("name", "count")
        Linear
        name      count
        ------  -------
        weight        6
        bias          3
        ...

        Columns that are not shown at first can be chosen too; `to_dict` has all of them. Raises
        `ValueError` for one that does not exist.
        """
        return self._table().select(names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `json.dumps` takes: the rows, and what the report says of all."""
        facts = {name: _lists(value) for name, value in vars(self).items() if _is_plain(value)}
        return {**facts, "rows": self._table().records()}

    def to_pandas(self) -> DataFrame:
        """Return the rows as a `DataFrame`; raises `ImportError` where pandas is missing."""
        try:
            import pandas
        except ImportError:
            raise ImportError(
                "`to_pandas` must find pandas, got none; do pip install pandas, "
                "or use to_dict() or to_csv(path), which do without"
            ) from None
        table = self._table()
        return pandas.DataFrame(table.records(), columns=list(table.headers))

    def to_csv(self, path: str | Path) -> None:
        """Write the rows to a file of comma-separated values, below the names of the columns."""
        table = self._table()
        with (
            written(path, do="to_csv('table.csv')") as target,
            target.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(table.headers)
            writer.writerows(table.fields())

    def __repr__(self) -> str:
        return printable(self._table().text())

    def _repr_html_(self) -> str:
        return self._tree().html()


class Rows(Report, Generic[Row]):
    """A report that is a sequence of what its rows tell of."""

    @abstractmethod
    def _rows(self) -> Sequence[Row]: ...

    def __len__(self) -> int:
        return len(self._rows())

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows())

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        return self._rows()[index]


class Named(Report, Mapping[str, Row]):
    """A report that is a mapping from the names of its rows to what these tell of."""

    @abstractmethod
    def _rows(self) -> Mapping[str, Row]: ...

    def __getitem__(self, name: str) -> Row:
        return self._rows()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows())

    def __len__(self) -> int:
        return len(self._rows())


def printable(text: str) -> str:
    """Return a text that can be printed here: a pipe on Windows may know Latin letters only."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_LATIN).encode(encoding, "backslashreplace").decode(encoding)
    return text


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


def _lists(value: object) -> object:
    return [_lists(one) for one in value] if isinstance(value, tuple | list) else value


class Shown(NamedTuple):
    """A value in a table that has a text of its own."""

    value: object
    text: str


@dataclass(frozen=True, repr=False)
class Table(Rows[Sequence[object]]):
    """A table that prints the same on every machine.

    >>> Table(("name", "shape"), [("weight", (2, 3)), ("bias", (2,))], notes=["8 in all"])
    name    shape
    ------  -------
    weight  (2, 3)
    bias    (2,)
    8 in all

    `headers` name the columns, in English; a header that is marked is shown in the language
    chosen. `rows` hold values: numbers have commas and align right, None is blank, `Shown` has a
    text of its own, and `str` renders the rest. `title` is a line above and `notes` are lines
    below. `depths` tells how deep each row is inside those above it, and `paths` what a part is
    called in the net; in a notebook deep rows can be folded away, and a path is there to copy.
    Columns named in `hidden` are data that is shown only when it is chosen.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    notes: Sequence[str] = ()
    depths: Sequence[int] = ()
    paths: Sequence[str] = ()
    hidden: Sequence[str] = ()

    def text(self) -> str:
        """Return the table as lines without trailing space."""
        shown = self.shown()
        cells = shown.cells()
        for row, depth in zip(cells, shown.depths, strict=False):
            row[0] = _GUIDE * depth + row[0]
        body = [line for row in cells for line in _lines(row)]
        heads = [_(header) for header in shown.headers]
        columns = zip(zip(heads, *body, strict=True), shown.alignment(), strict=True)
        padded = [_text_column(column, side) for column, side in columns]
        lines = [self.title, *map("  ".join, zip(*padded, strict=True)), *self.notes]
        return "\n".join(line.rstrip() for line in lines if line)

    def html(self) -> str:
        """Return the table as one HTML element that notebooks render."""
        from .html import html_of

        return html_of(self.shown())

    def shown(self) -> Table:
        """Return the table without its hidden columns."""
        names = [header for header in self.headers if header not in self.hidden]
        return self._only(names) if self.hidden else self

    def select(self, names: Sequence[str]) -> Table:
        """Return the table with the columns of these names alone, see `Report.columns`."""
        known = f"among {', '.join(self.headers)}"
        for name in names:
            one_of("names", name, self.headers, what=known)
        return self._only(names)

    def _only(self, names: Sequence[str]) -> Table:
        places = [self.headers.index(name) for name in names]
        rows = [[row[place] for place in places] for row in self.rows]
        return replace(self, headers=tuple(names), rows=rows, hidden=())

    def records(self) -> list[dict[str, Any]]:
        """Return the rows as plain data under the names of all columns."""
        return [dict(zip(self.headers, map(_data, row), strict=True)) for row in self.rows]

    def fields(self) -> Iterator[list[object]]:
        """Yield the rows with numbers as they are and all else as its text."""
        for row in self.rows:
            data = [(_data(value), _cell(value)) for value in row]
            yield [text if isinstance(value, list) else value for value, text in data]

    def cells(self) -> list[list[str]]:
        """Return the text of every cell."""
        return [[_cell(value) for value in row] for row in self.rows]

    def alignment(self) -> list[str]:
        """Return for every column whether it is aligned left or right."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headers)
        return ["right" if _numeric(column) else "left" for column in columns]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the rows, and the lines above and below them."""
        return {"title": self.title, "rows": self.records(), "notes": list(self.notes)}

    def _table(self) -> Table:
        return self

    def _rows(self) -> Sequence[Sequence[object]]:
        return self.rows


def listed(names: Sequence[str], most: int) -> str:
    """Return the names with commas between, about the first `most` if there are more.

    >>> from d2lcompute.tables import listed
    >>> listed(["a", "b", "c"], 2), listed(["a", "b", "c", "d"], 2)
    ('a, b, c', 'a, b and 2 more')
    """
    hidden = len(names) - most
    if hidden <= 1:  # to say that there is one more takes as much space as its name
        return ", ".join(names)
    first = ", ".join(names[:most])
    return ngettext("{names} and {n} more", "{names} and {n:,} more", hidden, names=first)


def size_text(count: int) -> str:
    """Return a number of bytes in the unit that suits it, 1,000 to the next.

    >>> from d2lcompute.tables import size_text
    >>> size_text(40), size_text(10_280), size_text(2_480_000_000)
    ('40 B', '10.3 kB', '2.48 GB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size >= 999.5:
            size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.3g} {unit}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Shown):
        return value.text
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value).removeprefix("torch.")


def _data(value: object) -> Any:
    if isinstance(value, Shown):
        return _data(value.value)
    if isinstance(value, tuple | list):
        return [_data(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value).removeprefix("torch.")


def _numeric(column: Sequence[object]) -> bool:
    found = False
    for value in column:
        value = value.value if isinstance(value, Shown) else value
        if isinstance(value, int | float):
            found = True
        elif value is not None and value != "":
            return False
    return found


def _lines(cells: Sequence[str]) -> Iterable[Sequence[str]]:
    """Return the lines that a row takes, as cells may have several."""
    if "\n" not in "".join(cells):
        return [cells]
    return zip_longest(*(cell.split("\n") for cell in cells), fillvalue="")


def _text_column(column: Sequence[str], side: str) -> list[str]:
    """Return a column with its header, the first cell, underlined, and all of one width."""
    widths = [*map(len if "".join(column).isascii() else display_width, column)]
    width = max(widths[0] + 2, *widths)
    blanks = [" " * (width - one) for one in widths]
    parts = (blanks, column) if side == "right" else (column, blanks)
    header, *cells = map("".join, zip(*parts, strict=True))
    return [header, "-" * width, *cells]


def display_width(text: str) -> int:
    """Return how many letters wide a text is: a Chinese character takes the space of two."""
    return len(text) if text.isascii() else sum(map(_letter_width, text))


@cache
def _letter_width(letter: str) -> int:
    return 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1
