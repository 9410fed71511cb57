"""An assignment: the reference notebook, its solutions, checks and points.

A *solution cell* carries the tag `solution` and metadata `{"d2lcompute": {"id": ...}}`; what
stands between `### BEGIN SOLUTION` and `### END SOLUTION` (without them, all of it) is the
reference's own. A *check cell* carries the tag `check`, or `hidden-check` if students are not to
see it, and metadata with `id`, `points` and optionally `rtol` and `atol`. It draws inputs from
random numbers that the grader seeds, and ends in `d2c.grading.answer(value)`.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

SOLUTION, CHECK, HIDDEN_CHECK = TAGS = ("solution", "check", "hidden-check")
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "...  # your answer"


@dataclass(frozen=True)
class Cell:
    """A code cell of the reference; `tag` is one of `TAGS`, or empty for code without a role."""

    source: str
    tag: str = ""
    id: str = ""
    points: float = 0.0
    tolerances: tuple[float, float] | None = None

    @property
    def is_check(self) -> bool:
        """Whether the cell gives marks."""
        return self.tag in (CHECK, HIDDEN_CHECK)

    @property
    def hidden(self) -> bool:
        """Whether students are not to see the cell."""
        return self.tag == HIDDEN_CHECK

    @property
    def stub(self) -> str:
        """What a student finds in place of a solution cell's source."""
        if BEGIN not in self.source:
            return STUB
        pattern = rf"^([ \t]*){BEGIN}.*?{END}[^\n]*$"
        return re.sub(pattern, rf"\1{STUB}", self.source, flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Assignment:
    """The code cells of a reference notebook, in their order, and its first heading."""

    cells: tuple[Cell, ...]
    title: str = ""

    @cached_property
    def solutions(self) -> dict[str, Cell]:
        """The solution cells by id."""
        return {cell.id: cell for cell in self.cells if cell.tag == SOLUTION}

    @cached_property
    def checks(self) -> dict[str, Cell]:
        """The check cells by id."""
        return {cell.id: cell for cell in self.cells if cell.is_check}

    @property
    def points(self) -> float:
        """What a perfect submission earns."""
        return sum(check.points for check in self.checks.values())

    @cached_property
    def digest(self) -> str:
        """A text that differs when anything in the assignment does."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()


class AssignmentError(ValueError):
    """A reference notebook is no assignment; `defects` are what is wrong with it, a line each."""

    def __init__(self, defects: list[str]) -> None:
        super().__init__(defects)
        self.defects = defects

    def __str__(self) -> str:
        return "\n".join(self.defects)


def read_notebook(path: str | Path) -> NotebookNode:
    """Return the notebook at `path`, MyST (.md) or ipynb; raises `AssignmentError`."""
    import jupytext

    try:
        notebook: NotebookNode = jupytext.read(path)
    except Exception as error:  # jupytext and nbformat raise errors of many kinds
        raise AssignmentError([f"{path} can not be read as a notebook: {error}"]) from error
    return notebook


def parse(notebook: NotebookNode) -> Assignment:
    """Return the assignment that a notebook defines.

    Raises `AssignmentError` with all that is wrong, if anything is.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    defects = find_defects(code)
    if defects:
        raise AssignmentError(defects)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", prose, re.MULTILINE)
    return Assignment(tuple(map(_parse_cell, code)), heading[1].strip() if heading else "")


def _parse_cell(node: NotebookNode) -> Cell:
    tag = next((tag for tag in node.metadata.get("tags", ()) if tag in TAGS), "")
    declared = node.metadata.get("d2lcompute", {})
    tolerances = (declared["rtol"], declared["atol"]) if "rtol" in declared else None
    return Cell(node.source, tag, declared.get("id", ""), declared.get("points", 0.0), tolerances)


IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KEYS = {SOLUTION: ("id",)}
CHECK_KEYS = ("id", "points", "rtol", "atol")


def find_defects(code: Sequence[NotebookNode]) -> list[str]:
    """Return a line for each thing that is wrong with the code cells of a reference notebook."""
    defects = []
    for number, cell in enumerate(code, start=1):
        first_line = cell.source.strip().partition("\n")[0][:40]
        defects += [f"code cell {number} ({first_line}): {defect}" for defect in _of_cell(cell)]
    return defects + list(_of_all(code))


def _of_all(code: Sequence[NotebookNode]) -> Iterator[str]:
    for role in ("solution", "check"):
        ids = Counter(_declared(cell).get("id") for cell in code if _role(cell) == role)
        for name, count in ids.items():
            if count > 1 and isinstance(name, str):
                yield f"{count} {role}s have the id {name}; give each its own"
        if not ids:
            yield f"no cell has the tag {role}; tag one"


def _of_cell(cell: NotebookNode) -> Iterator[str]:
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
    yield from _of_tags(cell, tags)
    yield from _of_marks(cell.source, SOLUTION in tags)
    if len(tags) == 1:
        yield from _of_metadata(tags[0], _declared(cell))
        if tags[0] != SOLUTION and not re.search(r"\banswer\(", cell.source):
            yield "a check without an answer; end it in d2c.grading.answer(value)"


def _of_tags(cell: NotebookNode, tags: Sequence[str]) -> Iterator[str]:
    if len(tags) > 1:
        yield f"the tags {' and '.join(tags)} exclude each other; keep one"
    for tag in set(cell.metadata.get("tags", [])) - set(TAGS):
        meant = difflib.get_close_matches(tag.lower(), TAGS, n=1, cutoff=0.75)
        if meant or (_declared(cell) and not tags):
            yield f"unknown tag {tag}; do {meant[0] if meant else ', '.join(TAGS)}"
    if _declared(cell) and not cell.metadata.get("tags"):
        yield f"metadata for grading without a tag; do {', '.join(TAGS)}"


def _of_marks(source: str, is_solution: bool) -> Iterator[str]:
    marks = [line.strip() for line in source.splitlines() if line.strip() in (BEGIN, END)]
    if marks and not is_solution:
        yield f"{marks[0]} in a cell without the tag {SOLUTION}: students would see what follows"
    elif marks != [BEGIN, END] * (len(marks) // 2):
        yield f"{BEGIN} and {END} must come in pairs, got {', '.join(marks)}"
    elif len(marks) != source.count(BEGIN) + source.count(END):
        yield f"{BEGIN} and {END} must stand on lines of their own"


def _of_metadata(tag: str, declared: Mapping[str, Any]) -> Iterator[str]:
    name = declared.get("id")
    if not isinstance(name, str) or not IDS.fullmatch(name):
        yield f"a {tag} needs an id of letters, digits, dots and dashes, got {name!r}"
    known = KEYS.get(tag, CHECK_KEYS)
    for key in declared.keys() - set(known):
        yield f"unknown metadata {key} of a {tag}; it may have {', '.join(known)}"
    if tag == SOLUTION:
        return
    if "points" not in declared:
        yield 'a check without points; add "points" to its metadata'
    for key in ("points", "rtol", "atol"):
        if key in declared and not _is_size(declared[key]):
            yield f"{key} must be a number of at least 0, got {declared[key]!r}"
    if ("rtol" in declared) != ("atol" in declared):
        yield "rtol and atol must come together; add the other one"


def _role(cell: NotebookNode) -> str:
    tag = next((tag for tag in cell.metadata.get("tags", []) if tag in TAGS), "")
    return tag.removeprefix("hidden-")


def _declared(cell: NotebookNode) -> dict[str, Any]:
    declared = cell.metadata.get("d2lcompute", {})
    return declared if isinstance(declared, dict) else {"id": declared}


def _is_size(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )
