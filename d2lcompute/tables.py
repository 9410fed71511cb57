"""The table that every report shows, as text and as HTML."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from unicodedata import combining, east_asian_width

from .passes.collector import collector_paused


@dataclass(frozen=True)
class Table:
    """A table that prints the same on every machine.

    >>> Table(("name", "shape"), [("weight", (2, 3)), ("bias", (2,))], notes=["8 in all"])
    name    shape
    ------  -------
    weight  (2, 3)
    bias    (2,)
    8 in all

    `headers` and `rows` hold anything that `str` renders; `title` is a line above and `notes`
    are lines below. Columns of numbers and blanks align right, the rest left; HTML is
    escaped.
    """

    headers: Sequence[str]
    rows: Sequence[Sequence[object]]
    title: str = ""
    notes: Sequence[str] = ()

    @collector_paused()
    def text(self) -> str:
        """Return the table as lines without trailing space."""
        body = [
            line
            for row in self._cells()
            for line in zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
        ]
        columns = zip(zip(self.headers, *body, strict=True), self._alignment(), strict=True)
        padded = [_text_column(column, side) for column, side in columns]
        lines = [self.title, *map("  ".join, zip(*padded, strict=True)), *self.notes]
        return "\n".join(line.rstrip() for line in lines if line)

    def html(self) -> str:
        """Return the table as one HTML element that notebooks render."""
        sides = self._alignment()
        caption = f"<caption>{html.escape(self.title)}</caption>" if self.title else ""
        head = _html_row("th", self.headers, sides)
        body = "".join(_html_row("td", row, sides) for row in self._cells())
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        table = f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"
        return f"<div>{table}{notes}</div>"

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.html()

    def _cells(self) -> list[list[str]]:
        return [[_cell(value) for value in row] for row in self.rows]

    def _alignment(self) -> list[str]:
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headers)
        return ["right" if _numeric(column) else "left" for column in columns]


class Report(ABC):
    """What shows itself as a table, in a shell and in a notebook.

    A dataclass needs `repr=False` for it, or it would write a `__repr__` of its own.
    """

    @abstractmethod
    def _table(self) -> Table: ...

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()


def listed(names: Sequence[str], most: int) -> str:
    """Return the names with commas between, about the first `most` if there are more.

    >>> from d2lcompute.tables import listed
    >>> listed(["a", "b", "c"], 2), listed(["a", "b", "c", "d"], 2)
    ('a, b, c', 'a, b and 2 more')
    """
    hidden = len(names) - most
    if hidden <= 1:  # to say that there is one more takes as much space as its name
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {hidden:,} more"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _numeric(column: Sequence[object]) -> bool:
    values = [value for value in column if value != ""]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _text_column(column: Sequence[str], side: str) -> list[str]:
    """Return a column with its header, the first cell, underlined, and all of one width."""
    widths = [_width(cell) for cell in column]
    width = max(widths[0] + 2, *widths)
    blanks = [" " * (width - one) for one in widths]
    parts = (blanks, column) if side == "right" else (column, blanks)
    header, *cells = map("".join, zip(*parts, strict=True))
    return [header, "-" * width, *cells]


def _width(text: str) -> int:
    """Return how many letters wide a text is: a Chinese character takes the space of two."""
    if text.isascii():
        return len(text)
    return sum(1 if letter < "\x7f" else _letter_width(letter) for letter in text)


@cache
def _letter_width(letter: str) -> int:
    return 0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1


def _html_row(tag: str, cells: Sequence[str], sides: Sequence[str]) -> str:
    return "".join(
        [
            "<tr>",
            *(
                f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            ),
            "</tr>",
        ]
    )
