"""An assignment that was written for nbgrader, read as it is: its cells, its points, its asserts.

Its asserts run beside the student's code, which can patch what they use: so their checks are called
`forgeable` in every report, until they are rewritten with `answer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from .defects import CHECK, HIDDEN_CHECK, SOLUTION, WRITTEN

HIDDEN = "### BEGIN HIDDEN TESTS"
SCHEME = re.compile(r"=== BEGIN MARK SCHEME ===\n(.*?)=== END MARK SCHEME ===\n?", re.DOTALL)
CODE_STUB, TEXT_STUB = "# YOUR CODE HERE\nraise NotImplementedError()", "YOUR ANSWER HERE"
PASSED = """

import d2lcompute as _d2c
_d2c.grading.answer("no assert failed")"""


def declared_id(metadata: Mapping[str, Any]) -> object:
    """Return the id that nbgrader gave to a cell, None where it gave none.

    >>> from d2lcompute.grading.nbgrader import declared_id
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
