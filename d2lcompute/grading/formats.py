"""Tables and markup that nothing in a text can break: CSV, elements for the page and for JUnit.

Tables are read as people and platforms write them, in whatever encoding a spreadsheet leaves them.
"""

from __future__ import annotations

import csv
import io
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Element

LONGEST_CELL = 30_000  # a spreadsheet cuts off what is longer than 32,767 characters
# A Chinese spreadsheet takes wide signs for narrow ones.
FORMULA = (*"=+-@", *"＝＋－＠", "\t", "\r")

csv.field_size_limit(1 << 24)


def read_rows(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file, in UTF-8, UTF-16, or the Chinese GB 18030.

    Cells are parted by commas, semicolons or tabs, whichever the first line has most of. Raises
    `ValueError` for a file that is no table.
    """
    text = decode(path.read_bytes())
    if "\0" in text:
        raise ValueError(f"`{path.name}` must be a table as CSV, got another kind of file")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    return [list(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)]


def decode(data: bytes) -> str:
    """Return the text of a file that a spreadsheet wrote.

    >>> from d2lcompute.grading.formats import decode
    >>> [decode("张三,5".encode(encoding)) for encoding in ("utf-8-sig", "gbk", "utf-16")]
    ['张三,5', '张三,5', '张三,5']
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("gb18030", "replace")


def read_table(path: Path, needed: Iterable[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file by the names of its columns, without empty ones.

    Each has its number as a line of a spreadsheet under "line". Raises `ValueError` where a column
    that is needed is missing.
    """
    head, *rows = read_rows(path) or [[]]
    names = [name.strip() for name in head]
    missing = [name for name in needed if name not in names]
    if missing:
        raise ValueError(
            f"`{path.name}` must have the columns {', '.join(needed)}, got {', '.join(names)}"
        )
    found = []
    for number, row in enumerate(rows, start=2):
        if any(cell.strip() for cell in row):
            cells = [typed(cell) for cell in row] + [""] * (len(names) - len(row))
            found.append({**dict(zip(names, cells, strict=False)), "line": str(number)})
    return found


def to_text(names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return a table as CSV; nothing that a student wrote can be a formula in it."""
    return to_csv([names, *([shown(row.get(name, "")) for name in names] for row in rows)])


def to_csv(rows: Iterable[Sequence[str]]) -> str:
    """Return cells as CSV, as they are."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def shown(value: object) -> str:
    """Return a cell's text as it is written: numbers short, no formulas, not too long.

    >>> from d2lcompute.grading.formats import shown, typed
    >>> [shown(value) for value in (2.50, None, "=1+1", -1.0)]
    ['2.5', '', "'=1+1", '-1']
    >>> typed("'=1+1")
    '=1+1'
    """
    if value is None:
        return ""
    if isinstance(value, int | float):
        return f"{value:g}"
    text = str(value)
    if len(text) > LONGEST_CELL:
        text = text[:LONGEST_CELL] + " ..."
    return f"'{text}" if text.startswith(FORMULA) else text


def typed(cell: str) -> str:
    """Return what stands in a cell: what `shown` wrote, or what somebody typed there."""
    text = "\n".join(cell.splitlines()).strip()
    return text[1:] if text[:1] == "'" and text[1:].startswith(FORMULA) else text


def to_number(text: str) -> float | None:
    """Return the number in a cell, with a point or a comma; None for an empty cell.

    Raises `ValueError` for anything else.
    """
    if not text:
        return None
    number = float(text.replace(",", ".") if text.count(",") == 1 else text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def write(path: Path, text: str) -> Path:
    """Write a file whole or not at all; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
    return path


Child = Element | str


def tag(name: str, /, *children: Child | None, **attributes: str | None) -> Element:
    """Return an element; `class_` and `data_name` become class and data-name, None is left out.

    >>> from d2lcompute.grading.formats import tag, to_html
    >>> to_html(tag("p", "a < b ", tag("b", "c"), " & d", class_="small"))
    '<p class="small">a &lt; b <b>c</b> &amp; d</p>'
    """
    given = {key: value for key, value in attributes.items() if value is not None}
    element = Element(name, {key.rstrip("_").replace("_", "-"): given[key] for key in given})
    for child in children:
        if isinstance(child, str):
            _add_text(element, child)
        elif child is not None:
            element.append(child)
    return element


def to_html(element: Element) -> str:
    """Return the element's text."""
    return ElementTree.tostring(element, encoding="unicode", method="html")


def _add_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def visible(code: str) -> str:
    r"""Return code with what cannot be seen, and what turns text around, as escapes.

    >>> from d2lcompute.grading.formats import visible
    >>> print(visible("x = 1\u202e\n    y"))
    x = 1\u202e
        y
    """
    hidden = (unicodedata.category(char)[0] == "C" and char not in "\n\t" for char in code)
    pairs = zip(code, hidden, strict=True)
    return "".join(ascii(char)[1:-1] if is_hidden else char for char, is_hidden in pairs)
