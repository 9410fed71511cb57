"""An assignment: the reference notebook, its solutions, checks and points.

A *solution cell* carries the tag `solution` and metadata `{"d2lcompute": {"id": ...}}`; what
stands between `### BEGIN SOLUTION` and `### END SOLUTION` (without them, all of it) is the
reference's own. A *check cell* carries the tag `check`, or `hidden-check` if students are not to
see it, and metadata with `id`, `points` and optionally `rtol` and `atol`, and `draws`. It draws
inputs from random numbers that the grader seeds, and ends in `d2c.grading.answer(value)`; it is
asked under as many seeds as `draws` says, and passed only if all answers are right.
"""

from __future__ import annotations

import ast
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

SOLUTION, CHECK, HIDDEN_CHECK = "solution", "check", "hidden-check"
WRONG, ALSO_RIGHT = OTHERS = ("wrong", "also-right")
TAGS = (SOLUTION, CHECK, HIDDEN_CHECK, *OTHERS)
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "...  # your answer"
DRAWS, MOST_DRAWS = 3, 100


@dataclass(frozen=True)
class Cell:
    """A code cell of the reference; `tag` is one of `TAGS`, or empty for code without a role."""

    source: str
    tag: str = ""
    id: str = ""
    points: float = 0.0
    tolerances: tuple[float, float] | None = None
    draws: int = DRAWS
    equivalent: tuple[str, ...] = ()

    @property
    def is_check(self) -> bool:
        """Whether the cell gives marks."""
        return self.tag in (CHECK, HIDDEN_CHECK)

    @property
    def hidden(self) -> bool:
        """Whether students are not to see the cell."""
        return self.tag == HIDDEN_CHECK

    @property
    def notebook_id(self) -> str:
        """The cell's id in the students' notebook: it says which solution it is, as metadata do."""
        return hashlib.sha256(f"solution {self.id}".encode()).hexdigest()[:8]

    @property
    def stub(self) -> str:
        """What a student finds in place of a solution cell's source."""
        if BEGIN not in self.source:
            return STUB
        pattern = rf"^([ \t]*){BEGIN}.*?{END}[^\n]*$"
        return re.sub(pattern, rf"\1{STUB}", self.source, flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Assignment:
    """The code cells of a reference notebook, in their order, and its first heading.

    `others` are no part of it: answers that `examine` tries, right or wrong.
    """

    cells: tuple[Cell, ...]
    title: str = ""
    others: tuple[Cell, ...] = ()

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
        return hashlib.sha256(repr(astuple(self)[:2]).encode()).hexdigest()


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
    defects = find_defects(notebook.cells)
    if defects:
        raise AssignmentError(defects)
    cells = [parse_cell(cell) for cell in notebook.cells if cell.cell_type == "code"]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", prose, re.MULTILINE)
    return Assignment(
        cells=tuple(cell for cell in cells if cell.tag not in OTHERS),
        title=heading[1].strip() if heading else "",
        others=tuple(cell for cell in cells if cell.tag in OTHERS),
    )


def parse_cell(node: NotebookNode) -> Cell:
    """Return what a code cell of the reference declares."""
    tag = next((tag for tag in node.metadata.get("tags", ()) if tag in TAGS), "")
    declared = node.metadata.get("d2lcompute", {})
    tolerances = (declared["rtol"], declared["atol"]) if "rtol" in declared else None
    return Cell(
        source=node.source,
        tag=tag,
        id=declared.get("id", ""),
        points=declared.get("points", 0.0),
        tolerances=tolerances,
        draws=declared.get("draws", DRAWS),
        equivalent=tuple(declared.get("equivalent", ())),
    )


IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
KEYS = {SOLUTION: ("id", "equivalent"), WRONG: ("id",), ALSO_RIGHT: ("id",)}
CHECK_KEYS = ("id", "points", "rtol", "atol", "draws")


def find_defects(cells: Sequence[NotebookNode]) -> list[str]:
    """Return a line for each thing that is wrong with the cells of a reference notebook."""
    defects, numbers = [], Counter[str]()
    for cell in cells:
        numbers[cell.cell_type] += 1
        first_line = cell.source.strip().partition("\n")[0][:40]
        where = f"{cell.cell_type} cell {numbers[cell.cell_type]} ({first_line})"
        of_cell = _of_cell if cell.cell_type == "code" else _of_prose
        defects += [f"{where}: {defect}" for defect in of_cell(cell)]
    return defects + list(_of_all([cell for cell in cells if cell.cell_type == "code"]))


def _of_all(code: Sequence[NotebookNode]) -> Iterator[str]:
    for role in ("solution", "check"):
        ids = Counter(_declared(cell).get("id") for cell in code if _role(cell) == role)
        for name, count in ids.items():
            if count > 1 and isinstance(name, str):
                yield f"{count} {role}s have the id {name}; give each its own"
        if not ids:
            yield f"no cell has the tag {role}; tag one"
    solutions = {_declared(cell).get("id") for cell in code if _role(cell) == SOLUTION}
    for cell in code:
        name = _declared(cell).get("id")
        if _role(cell) in OTHERS and name and name not in solutions:
            yield f"a cell tagged {_role(cell)} is for no solution: {name!r}"


def _of_prose(cell: NotebookNode) -> Iterator[str]:
    """Students would read it, whatever its tags say."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
    if tags or _declared(cell):
        yield f"{tags[0] if tags else 'metadata for grading'} on a cell that is not code"


def _of_cell(cell: NotebookNode) -> Iterator[str]:
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
    yield from _of_tags(cell, tags)
    yield from _of_marks(cell.source, SOLUTION in tags or bool(set(tags) & set(OTHERS)))
    if len(tags) == 1:
        yield from _of_metadata(tags[0], _declared(cell))
        yield from _of_syntax(tags[0], cell.source)
        if tags[0] in (CHECK, HIDDEN_CHECK) and not re.search(r"\banswer\(", cell.source):
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
    marked = declared.get("equivalent", [])
    if not (isinstance(marked, list) and all(isinstance(each, str) for each in marked)):
        yield f"equivalent must be a list of the names that `examine` shows, got {marked!r}"
    if tag not in (CHECK, HIDDEN_CHECK):
        return
    if "points" not in declared:
        yield 'a check without points; add "points" to its metadata'
    for key in ("points", "rtol", "atol"):
        if key in declared and not _is_size(declared[key]):
            yield f"{key} must be a number of at least 0, got {declared[key]!r}"
    draws = declared.get("draws", DRAWS)
    if type(draws) is not int or not 1 <= draws <= MOST_DRAWS:
        yield f"draws must be a whole number from 1 to {MOST_DRAWS}, got {draws!r}"
    if ("rtol" in declared) != ("atol" in declared):
        yield "rtol and atol must come together; add the other one"


def _role(cell: NotebookNode) -> str:
    tag = next((tag for tag in cell.metadata.get("tags", []) if tag in TAGS), "")
    return tag.removeprefix("hidden-")


def _of_syntax(tag: str, source: str) -> Iterator[str]:
    """Code that cannot run would seem to be refused by every check."""
    try:
        ast.parse(source if tag in OTHERS else "")
    except SyntaxError as error:
        yield f"a cell tagged {tag} must be Python, got line {error.lineno}: {error.msg}"


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
