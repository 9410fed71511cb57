"""What can be wrong with a reference notebook, found before anything runs."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbformat import NotebookNode

from .assignment import BEGIN, END, SOLUTION, TAGS

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
