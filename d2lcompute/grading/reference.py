"""Read the instructor's notebook."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from .assignment import TAGS, Assignment, Cell
from .defects import find_defects


class AssignmentError(ValueError):
    """A reference notebook is no assignment; `defects` are what is wrong with it, a line each."""

    def __init__(self, defects: list[str]) -> None:
        super().__init__(defects)
        self.defects = defects

    def __str__(self) -> str:
        return "\n".join(self.defects)


def read_notebook(path: str | Path) -> NotebookNode:
    """Return the notebook at `path`, MyST (.md) or ipynb; raises `AssignmentError`."""
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
