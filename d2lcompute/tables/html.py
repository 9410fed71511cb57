"""A table as HTML for notebooks: no script, no network, no colours but the reader's own.

Without its style sheet, as some sites show it, every cell still says which column it belongs to.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..words.language import _

if TYPE_CHECKING:
    from .table import Table

_MOST_OPEN = 40  # rows of a tree that are unfolded at first
_MOST_PARTS = 6  # that are unfolded at first
_WIDEST = 40  # letters of a column of a tree, before its text wraps
_TABLE_STYLE = """
.d2c{overflow-x:auto}
.d2c table{margin-left:0}
.d2c table caption{caption-side:top;text-align:left;font-weight:bold}
.d2c.d2c table th,.d2c.d2c table td{text-align:left;vertical-align:top}
.d2c table tbody th{font-weight:normal}
.d2c.d2c table .n{text-align:right}
"""  # the doubled class is stronger than JupyterLab's rules, which put all cells to the right
_PATH_STYLE = ".d2c .p{opacity:.7;user-select:all}"
_PART_STYLE = """
.d2c .c,.d2c summary{font-weight:bold}
.d2c summary .p{font-weight:normal}
.d2c details table{margin:0 0 .6em 1.2em}
.d2c details table th{padding:0 .7em 0 0}
"""
_TREE_STYLE = """
.d2c{overflow-x:auto}
.d2c ul{list-style:none;margin:0;padding:0 0 0 1.2em}
.d2c .t{min-width:max-content}
.d2c .t>ul{padding:0}
.d2c .r{display:grid;grid-template-columns:var(--g);column-gap:1em;list-style:none}
.d2c .r::-webkit-details-marker{display:none}
.d2c .r::before{content:""}
.d2c summary.r::before{content:"▸";content:"▸"/""}
.d2c details[open]>summary.r::before{content:"▾";content:"▾"/""}
.d2c summary.r:hover{background:rgba(128,128,128,.15)}
.d2c .head{font-weight:bold;border-bottom:1px solid}
.d2c .n{text-align:right}
.d2c .h{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
"""


def folded(title: str, parts: Sequence[tuple[str, str, Table]]) -> str:
    """Return one element with parts to unfold: a title, a place in the net, and a table each."""
    shown = []
    for number, (name, place, table) in enumerate(parts):
        state = " open" if number < _MOST_PARTS else ""
        summary = f"<summary>{_rich(name)}{_copied(place)}</summary>"
        shown.append(f"<details{state}>{summary}{_flat(table)}</details>")
    style = _TABLE_STYLE + _PART_STYLE + _PATH_STYLE
    return _element(style, f'<p class="c">{_rich(title)}</p>{"".join(shown)}')


def html_of(table: Table) -> str:
    """Return one element that shows a table, as a tree where some of its rows are parts."""
    is_tree = any(table.depths)
    style = _TREE_STYLE + _PATH_STYLE if is_tree else _TABLE_STYLE
    body = _tree(table) if is_tree else _flat(table)
    notes = "".join(f"<p>{_rich(note)}</p>" for note in table.notes)
    return _element(style, body + notes, f' style="--g:{_grid(table)}"' if is_tree else "")


def _element(style: str, body: str, grid: str = "") -> str:
    return f'<div class="d2c"{grid}><style>{style.replace(chr(10), "")}</style>{body}</div>'


def _flat(table: Table) -> str:
    classes = _classes(table)
    caption = f"<caption>{_rich(table.title)}</caption>" if table.title else ""
    heads = "".join(
        f'<th scope="col"{kind}>{_rich(_(header))}</th>'
        for header, kind in zip(table.headers, classes, strict=True)
    )
    head = f"<thead><tr>{heads}</tr></thead>" if any(table.headers) else ""
    rows = "".join(_row(cells, classes) for cells in table.cells())
    return f"<table>{caption}{head}<tbody>{rows}</tbody></table>"


def _row(cells: Sequence[str], classes: Sequence[str]) -> str:
    first, *rest = (f"{kind}>{_rich(cell)}" for cell, kind in zip(cells, classes, strict=True))
    head = f'<th scope="row"{first}</th>' if cells[0] else f"<td{first}</td>"
    return f"<tr>{head}{''.join(f'<td{cell}</td>' for cell in rest)}</tr>"


def _tree(table: Table) -> str:
    """Return nested lists whose columns line up, since all rows end at the same right edge."""
    classes = _classes(table)
    heads = [_rich(_(header)) for header in table.headers]
    title = f"<p><b>{_rich(table.title)}</b></p>" if table.title else ""
    shown = "".join(f"<span{kind}>{head}</span>" for head, kind in zip(heads, classes, strict=True))
    paths = table.paths or [""] * len(table.rows)
    lines = [
        _line(cells, path, heads, classes) for cells, path in zip(table.cells(), paths, strict=True)
    ]
    items = "".join(_nested(lines, table.depths))
    head = f'<div class="r head" aria-hidden="true">{shown}</div>'
    return f'{title}<div class="t">{head}<ul>{items}</ul></div>'


def _grid(table: Table) -> str:
    """Return the widths of the columns: the first one stretches, and is indented in deep rows."""
    heads = [_(header) for header in table.headers]
    names, *columns = zip(heads, *table.cells(), strict=True)
    paths = table.paths or [""] * len(table.rows)
    parts = zip(names[1:], paths, table.depths, strict=True)
    first = max(len(name) + len(path) + 2 * depth + 2 for name, path, depth in parts)
    widths = (min(_WIDEST, max(map(len, column))) for column in columns)
    return " ".join(["1em", f"minmax({first}ch,1fr)", *(f"{width}ch" for width in widths)])


def _nested(lines: Sequence[str], depths: Sequence[int]) -> Iterator[str]:
    """Yield an item for each line, and around those inside of another what folds them away."""
    unfolded = _unfolded(depths)
    for line, (depth, following) in zip(lines, pairwise([*depths, 0]), strict=True):
        if following > depth:
            state = " open" if depth < unfolded else ""
            yield f'<li><details{state}><summary class="r">{line}</summary><ul>'
        else:
            yield f'<li><div class="r">{line}</div></li>'
            yield "</ul></details></li>" * (depth - following)


def _unfolded(depths: Sequence[int]) -> int:
    """Return down to which depth a tree is unfolded: as far as not too many rows are seen."""
    visible, unfolded = 0, 0
    for depth, count in sorted(Counter(depths).items()):
        visible += count
        if visible <= _MOST_OPEN:
            unfolded = depth
    return unfolded


def _line(cells: Sequence[str], path: str, heads: Sequence[str], classes: Sequence[str]) -> str:
    copied = _copied(path) if path != cells[0] else ""
    spans = [f"<span>{_rich(cells[0])}{copied}</span>"]
    for cell, head, kind in zip(cells[1:], heads[1:], classes[1:], strict=True):
        text = f'<span class="h">{head} </span>{_rich(cell)}' if cell else ""
        spans.append(f"<span{kind}>{text}</span>")
    return "".join(spans)


def _copied(path: str) -> str:
    return f' <code class="p">{html.escape(path)}</code>' if path else ""


def _classes(table: Table) -> list[str]:
    return [' class="n"' if side == "right" else "" for side in table.alignment()]


def _rich(text: str) -> str:
    """Escape a text, and set as code what stands in backticks."""
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
    return code.replace("\n", "<br/>")
