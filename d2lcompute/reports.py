"""The table that every report shows, as text and as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table that prints the same on every machine.

    >>> table = Table(("name", "shape"), [("weight", (2, 3)), ("bias", (2,))], notes=["8 in all"])
    >>> print(table.text())
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

    def text(self) -> str:
        """Return the table as lines without trailing space."""
        from tabulate import tabulate

        body = tabulate(
            self._cells(), headers=self.headers, tablefmt="simple", disable_numparse=True,
            colalign=self._alignment(),
        )  # fmt: skip
        lines = [self.title, *body.split("\n"), *self.notes]
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

    def _cells(self) -> list[list[str]]:
        return [[_cell(value) for value in row] for row in self.rows]

    def _alignment(self) -> list[str]:
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.headers)
        return ["right" if _numeric(column) else "left" for column in columns]


def listed(names: Sequence[str], most: int) -> str:
    """Return the names with commas between, about the first `most` if there are more.

    >>> from d2lcompute.reports import listed
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
