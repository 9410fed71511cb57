"""What the cells of a reference declare, in our way or nbgrader's, and what is wrong with it.

An assignment that was written for nbgrader is read as it is: its cells, its points, its asserts.
Those run beside the student's code, which can patch what they use: so their checks are called
`forgeable` in every report, until they are rewritten with `answer`.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from .lateness import read_rule
from .platforms import read_time
from .rules import TERM

SOLUTION, CHECK, HIDDEN_CHECK, WRITTEN = "solution", "check", "hidden-check", "written"
WRONG, ALSO_RIGHT = OTHERS = ("wrong", "also-right")
TAGS = (SOLUTION, CHECK, HIDDEN_CHECK, WRITTEN, *OTHERS)
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
RULES = ("forbids", "asks")
DRAWS, MOST_DRAWS = 3, 100
LARGEST_FILES = 16 << 20  # they go into each kernel
IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODULE = re.compile(r"([A-Za-z_]\w*)\.py", re.ASCII)
KEYS = {
    SOLUTION: ("id", "equivalent", "points", "rubric", *RULES),
    WRITTEN: ("id", "points", "rubric", "task"),
    WRONG: ("id",),
    ALSO_RIGHT: ("id",),
}
CHECK_KEYS = ("id", "points", "rtol", "atol", "draws", "forgeable")


def find_defects(cells: Sequence[NotebookNode]) -> list[str]:
    """Return a line for each thing that is wrong with the cells of a reference notebook."""
    defects, numbers = [], Counter[str]()
    for cell in cells:
        numbers[cell.cell_type] += 1
        first_line = cell.source.strip().partition("\n")[0][:40]
        where = f"{cell.cell_type} cell {numbers[cell.cell_type]} ({first_line})"
        of_cell = _of_cell if cell.cell_type == "code" else _of_prose
        defects += [f"{where}: {defect}" for defect in of_cell(cell)]
    defects += _of_all([cell for cell in cells if cell.cell_type == "code"], _has_written(cells))
    return [*defects, *_of_written(cells)]


def find_defects_of_all(declared: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that is wrong with the metadata of the notebook itself."""
    for key in declared.keys() - {"due", "late", "files", "modules"}:
        yield f"unknown metadata {key} of the notebook; it may have due, late, files, modules"
    names = declared.get("files", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield f"files must be a list of names beside the notebook, got {names!r}"
    elif wrong := [name for name in names if re.search(r"^[/\\.]|\.\.|[\\:]|^$", name)]:
        yield f"files must lie beside the notebook or below, got {', '.join(wrong)}"
    yield from _of_modules(declared)
    due = str(declared.get("due", ""))
    if due and not read_time(due):
        yield f"due must be a time such as 2026-11-20 23:59 +08:00, got {due!r}"
    if declared.get("late") and not due:
        yield "late is a rule for what comes after due; add due"
    try:
        read_rule(str(declared.get("late", "")))
    except ValueError as error:
        yield str(error)


def rules_of_modules(declared: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the modules that students write beside the notebook, each with its rules, if any."""
    modules = declared.get("modules", {})
    return dict(modules) if isinstance(modules, Mapping) else {name: {} for name in modules}


def _of_modules(declared: Mapping[str, Any]) -> Iterator[str]:
    given = declared.get("modules", {})
    if not isinstance(given, list | Mapping) or not all(isinstance(name, str) for name in given):
        yield f"modules must be a list as ['helper.py'], or rules by name, got {given!r}"
        return
    for name, rules in rules_of_modules(declared).items():
        found = MODULE.fullmatch(name)
        if not found or found[1] in sys.stdlib_module_names:
            yield f"a module must be called as helper.py, and not as Python's own, got {name!r}"
        if name in declared.get("files", []):
            yield f"{name} is among the files of the course and the modules of students; keep one"
        if not isinstance(rules, Mapping) or rules.keys() - {*RULES}:
            yield f"the module {name} may have {' and '.join(RULES)}, got {rules!r}"
        else:
            yield from _of_rules(rules)


def _of_rules(declared: Mapping[str, Any]) -> Iterator[str]:
    for key in RULES:
        terms = declared.get(key, [])
        if not isinstance(terms, list) or not all(TERM.fullmatch(str(term)) for term in terms):
            yield f"{key} must be a list as ['nn.Linear', 'import x', 'loop', '.data'], got {terms}"


def find_defects_of_files(paths: Mapping[str, Path]) -> Iterator[str]:
    """Yield a line for each file of an assignment that is not there, or that is too large."""
    for name, path in paths.items():
        if not path.is_file():
            yield f"the file {name} is not there; put it beside the notebook"
    size = sum(path.stat().st_size for path in paths.values() if path.is_file())
    if size > LARGEST_FILES:
        yield f"the files take {size >> 20} MiB, of at most {LARGEST_FILES >> 20}"


def _has_written(cells: Sequence[NotebookNode]) -> bool:
    """Whether people mark something: then there may be no check, and no code at all."""
    roles = (WRITTEN, SOLUTION)
    return any(_role(cell) in roles and _declared(cell).get("points") for cell in cells)


def _of_all(code: Sequence[NotebookNode], has_written: bool) -> Iterator[str]:
    for role in ("solution", "check"):
        ids = Counter(_declared(cell).get("id") for cell in code if _role(cell) == role)
        for name, count in ids.items():
            if count > 1 and isinstance(name, str):
                yield f"{count} {role}s have the id {name}; give each its own"
        if not ids and not (has_written and "check" not in map(_role, code)):
            yield f"no cell has the tag {role}; tag one"
    solutions = {_declared(cell).get("id") for cell in code if _role(cell) == SOLUTION}
    for cell in code:
        name = _declared(cell).get("id")
        if _role(cell) in OTHERS and name and name not in solutions:
            yield f"a cell tagged {_role(cell)} is for no solution: {name!r}"


def _of_written(cells: Sequence[NotebookNode]) -> Iterator[str]:
    """Compare the written questions with each other and with the code's ids."""
    written = [cell for cell in cells if _role(cell) == WRITTEN]
    spoken = Counter((_declared(cell).get("id"), cell.metadata.get("lang")) for cell in written)
    for (name, _), count in spoken.items():
        if count > 1:
            yield f"{count} written questions have the id {name}; give each its own"
    taken = {_declared(cell).get("id") for cell in cells if _role(cell) in (SOLUTION, CHECK)}
    worth: dict[object, object] = {}
    for cell in written:
        name, points = _declared(cell).get("id"), _declared(cell).get("points")
        if name in taken:
            yield f"the id {name} of a written question is that of a cell of code; give it another"
        if worth.setdefault(name, points) != points:
            yield f"the written question {name} has other points in another language"


def _of_prose(cell: NotebookNode) -> Iterator[str]:
    """Students would read it, whatever its tags say."""
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
    if tags == [WRITTEN] and cell.cell_type == "markdown":
        yield from _of_marks(cell.source, True)
        yield from _of_metadata(WRITTEN, _declared(cell))
    elif tags or _declared(cell):
        yield f"{tags[0] if tags else 'metadata for grading'} on a cell that is not code"


def _of_cell(cell: NotebookNode) -> Iterator[str]:
    tags = [tag for tag in cell.metadata.get("tags", []) if tag in TAGS]
    yield from _of_tags(cell, tags)
    yield from _of_marks(cell.source, SOLUTION in tags or bool(set(tags) & set(OTHERS)))
    if tags == [WRITTEN]:
        yield "a written question in a cell of code; make it a text cell"
    elif len(tags) == 1:
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
    name, kind = declared.get("id"), "written question" if tag == WRITTEN else tag
    if not isinstance(name, str) or not IDS.fullmatch(name):
        yield f"a {kind} needs an id of letters, digits, dots and dashes, got {name!r}"
    known = KEYS.get(tag, CHECK_KEYS)
    for key in declared.keys() - set(known):
        yield f"unknown metadata {key} of a {kind}; it may have {', '.join(known)}"
    marked = declared.get("equivalent", [])
    if not (isinstance(marked, list) and all(isinstance(each, str) for each in marked)):
        yield f"equivalent must be a list of the names that `examine` shows, got {marked!r}"
    yield from _of_rules(declared)
    if not isinstance(declared.get("rubric", ""), str):
        yield f"rubric must be a text, got {declared['rubric']!r}"
    if tag in (CHECK, HIDDEN_CHECK, WRITTEN) and "points" not in declared:
        yield f'a {kind.removeprefix("hidden-")} without points; add "points" to its metadata'
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


HIDDEN = "### BEGIN HIDDEN TESTS"
SCHEME = re.compile(r"=== BEGIN MARK SCHEME ===\n(.*?)=== END MARK SCHEME ===\n?", re.DOTALL)
CODE_STUB, TEXT_STUB = "# YOUR CODE HERE\nraise NotImplementedError()", "YOUR ANSWER HERE"
PASSED = """

import d2lcompute as _d2c
_d2c.grading.answer("no assert failed")"""


def declared_id(metadata: Mapping[str, Any]) -> object:
    """Return the id that nbgrader gave to a cell, None where it gave none.

    >>> from d2lcompute.grading.cells import declared_id
    >>> declared_id({"nbgrader": {"grade_id": "squares", "solution": True}})
    'squares'
    """
    declared = metadata.get("nbgrader")
    return declared.get("grade_id") if isinstance(declared, dict) else None


def adopt(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook with nbgrader's cells declared in our way; others stay as they are."""
    if not any("nbgrader" in cell.metadata for cell in notebook.cells):
        return notebook
    notebook.cells = [_adopted(cell) for cell in notebook.cells]
    return notebook


def _adopted(cell: NotebookNode) -> NotebookNode:
    """Return a cell with our tag and metadata; nbgrader calls an answer that people mark both.

    Such an answer in code runs, as others may use it.
    """
    declared = cell.metadata.get("nbgrader", {})
    if cell.metadata.get("d2lcompute") or not isinstance(declared, dict):
        return cell
    points = {"points": declared.get("points") or 0}
    by_hand = declared.get("grade") and declared.get("solution")
    if declared.get("task") or (by_hand and cell.cell_type != "code"):
        rubric = "\n".join(SCHEME.findall(cell.source)).strip()
        cell = new_markdown_cell(SCHEME.sub("", cell.source), metadata=cell.metadata)
        more = {"rubric": rubric, "task": bool(declared.get("task"))}
        return _declare(cell, WRITTEN, declared, points | more)
    if declared.get("solution"):
        return _declare(cell, SOLUTION, declared, points if by_hand else {})
    if declared.get("grade"):
        tag = HIDDEN_CHECK if HIDDEN in cell.source else CHECK
        cell.source += PASSED
        return _declare(cell, tag, declared, {**points, "draws": 1, "forgeable": True})
    return cell


def _declare(
    cell: NotebookNode, tag: str, declared: Mapping[str, Any], more: Mapping[str, Any]
) -> NotebookNode:
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), tag]
    cell.metadata["d2lcompute"] = {"id": declared.get("grade_id"), **more}
    return cell
