"""An assignment: the reference notebook, its solutions, checks and points.

A *solution cell* carries the tag `solution` and metadata `{"d2lcompute": {"id": ...}}`; what
stands between `### BEGIN SOLUTION` and `### END SOLUTION` (without them, all of it) is the
reference's own. A *check cell* carries the tag `check`, or `hidden-check` if students are not to
see it, and metadata with `id`, `points` and optionally `rtol` and `atol`. It draws inputs from
random numbers that the grader seeds, and ends in `d2c.grading.answer(value)`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import astuple, dataclass
from functools import cached_property

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
