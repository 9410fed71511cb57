"""An assignment: the reference notebook, its solutions, checks and points.

A *solution cell* carries the tag `solution` and metadata `{"d2lcompute": {"id": ...}}`; what
stands between `### BEGIN SOLUTION` and `### END SOLUTION` (without them, all of it) is the
reference's own. A *check cell* carries the tag `check`, or `hidden-check` if students are not to
see it, and metadata with `id`, `points` and optionally `rtol` and `atol`, and `draws`. It draws
inputs from random numbers that the grader seeds, and ends in `d2c.grading.answer(value)`; it is
asked under as many seeds as `draws` says, and passed only if all answers are right. A *written
question* is a text cell with the tag `written` and metadata with `id`, `points` and optionally
`rubric`; its source is the model answer, or holds it between the marks, and people mark it. So they
do with a solution cell that has `points` itself. A *module* is a file of Python beside the notebook
that students write too; it is a solution, and its name is its id.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from .cells import ALSO_RIGHT as ALSO_RIGHT
from .cells import BEGIN as BEGIN
from .cells import CHECK as CHECK
from .cells import (
    CODE_STUB,
    TEXT_STUB,
    adopt,
    find_defects,
    find_defects_of_all,
    find_defects_of_files,
    rules_of_modules,
)
from .cells import DRAWS as DRAWS
from .cells import END as END
from .cells import HIDDEN_CHECK as HIDDEN_CHECK
from .cells import OTHERS as OTHERS
from .cells import RULES as RULES
from .cells import SOLUTION as SOLUTION
from .cells import TAGS as TAGS
from .cells import WRITTEN as WRITTEN
from .cells import WRONG as WRONG
from .platforms import read_time
from .rules import called_names, find_breaches

STUB, WRITTEN_STUB = "...  # your answer", "*Your answer.*"


@dataclass(frozen=True)
class Cell:
    """A cell of the reference; `tag` is one of `TAGS`, or empty for code without a role."""

    source: str
    tag: str = ""
    id: str = ""
    points: float = 0.0
    tolerances: tuple[float, float] | None = None
    draws: int = DRAWS
    equivalent: tuple[str, ...] = ()
    rubric: str = ""
    forbids: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    forgeable: bool = False
    module: bool = False
    task: bool = False

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
    def is_answer(self) -> bool:
        """Whether students write it."""
        return self.tag in (SOLUTION, WRITTEN)

    @property
    def emptied(self) -> Cell:
        """The cell without what only the course has: a stub between the marks, no rubric."""
        if not self.is_answer:
            return self
        begin, end = rf"\1{BEGIN}\n", rf"\n\1{END}"
        return replace(self, source=self._without_answer(begin, end), rubric="", equivalent=())

    @property
    def stub(self) -> str:
        """What a student finds in place of the source of a solution or a model answer."""
        stub = self._without_answer("", "")
        rules = {"not allowed here": self.forbids, "asked for here": self.asks}
        told = [f"# {rule}: {', '.join(terms)}\n" for rule, terms in rules.items() if terms]
        return "".join([*told, stub])

    @property
    def stubs(self) -> list[str]:
        """What is no answer yet: our stub, nbgrader's, what a task says."""
        stub = TEXT_STUB if self.tag == WRITTEN else CODE_STUB
        return [self.stub, self._without_answer("", "", stub), *[self.source] * self.task]

    def _without_answer(self, begin: str, end: str, stub: str = "") -> str:
        """Return the source with a stub in place of each answer, between `begin` and `end`."""
        stub = stub or (WRITTEN_STUB if self.tag == WRITTEN else STUB)
        if BEGIN not in self.source:
            return stub
        pattern = re.compile(rf"^([ \t]*){BEGIN}.*?{END}[^\n]*$", re.MULTILINE | re.DOTALL)
        lines = "\n".join(rf"\1{line}" for line in stub.splitlines())
        return pattern.sub(rf"{begin}{lines}{end}", self.source)


@dataclass(frozen=True)
class Assignment:
    """The code cells of a reference notebook, in their order, and its first heading.

    `others` are no part of it: answers that `examine` tries, right or wrong. `texts` are the
    written questions, one for each language. It is `due` at a time, and `late` is a rule.
    `files` belong to it, by their names beside the notebook: base64, which goes into kernels.
    """

    cells: tuple[Cell, ...]
    title: str = ""
    others: tuple[Cell, ...] = ()
    texts: tuple[Cell, ...] = ()
    due: str = ""
    late: str = ""
    files: tuple[tuple[str, str], ...] = ()

    @cached_property
    def solutions(self) -> dict[str, Cell]:
        """The solution cells by id."""
        return {cell.id: cell for cell in self.cells if cell.tag == SOLUTION}

    @cached_property
    def checks(self) -> dict[str, Cell]:
        """The check cells by id."""
        return {cell.id: cell for cell in self.cells if cell.is_check}

    @cached_property
    def written(self) -> dict[str, tuple[Cell, ...]]:
        """The questions that people mark by id, each in its languages: texts, and some code."""
        cells = [*self.texts, *(cell for cell in self.solutions.values() if cell.points)]
        ids = dict.fromkeys(cell.id for cell in cells)
        return {id_: tuple(cell for cell in cells if cell.id == id_) for id_ in ids}

    @cached_property
    def questions(self) -> dict[str, float]:
        """What each check and each written question is worth."""
        worth = {name: check.points for name, check in self.checks.items()}
        return worth | {name: cells[0].points for name, cells in self.written.items()}

    def find_breaches(self, solution: str, answers: Mapping[str, Sequence[str]]) -> list[str]:
        """Return the rules that an answer breaks, each with its line; `answers` are by cells."""
        cell = self.solutions[solution]
        around = [each.source for each in self.cells if not each.tag]
        around += [code for name in answers if name != solution for code in answers[name]]
        return find_breaches(answers[solution], cell.forbids, cell.asks, around)

    def not_to_be_called(self, solution: str) -> dict[str, str]:
        """Return the names that an answer may not call, by their full names."""
        around = [each.source for each in self.cells if not each.tag]
        return called_names(self.solutions[solution].forbids, around)

    @property
    def contents(self) -> dict[str, bytes]:
        """The files by name."""
        return {name: base64.b64decode(text) for name, text in self.files}

    @property
    def modules(self) -> dict[str, Cell]:
        """The modules that students write, by name."""
        return {name: cell for name, cell in self.solutions.items() if cell.module}

    @property
    def beside_reference(self) -> dict[str, bytes]:
        """What lies beside the reference, by name: files, and modules with their answers."""
        own = {name: cell.source.encode() for name, cell in self.modules.items()}
        return self.contents | own

    @property
    def beside_release(self) -> dict[str, bytes]:
        """What lies beside the students' notebook, by name: files, and modules as stubs."""
        return self.contents | {name: cell.stub.encode() for name, cell in self.modules.items()}

    @property
    def given(self) -> dict[str, list[str]]:
        """The code that the course has for each solution: the stub and right answers."""
        own = {name: [cell.stub, cell.source] for name, cell in self.solutions.items()}
        for cell in self.others:
            if cell.tag == ALSO_RIGHT:
                own[cell.id].append(cell.source)
        return own

    @property
    def points(self) -> float:
        """What a perfect submission earns."""
        return sum(self.questions.values())

    @cached_property
    def versions(self) -> dict[str, str]:
        """A text by check and written question that differs when its marks are to be made anew.

        A check depends on all that runs before it; what it is worth changes no answer.
        """
        found: dict[str, str] = {}
        before: list[tuple[object, ...]] = [*self.files]
        for cell in self.cells:
            if cell.is_check:
                own = (cell.source, cell.tag, cell.tolerances, cell.draws)
                found[cell.id] = _digest([before, own])
            else:
                before.append((cell.tag, cell.id, cell.source, cell.forbids, cell.asks))
        stubs = {name: [cell.stub for cell in cells] for name, cells in self.written.items()}
        return found | {name: _digest(each) for name, each in stubs.items()}

    @cached_property
    def digest(self) -> str:
        """A text that differs when anything in the assignment does."""
        return _digest([*astuple(self)[:2], *map(astuple, self.texts), *self.files])


class AssignmentError(ValueError):
    """A reference notebook is no assignment; `defects` are what is wrong with it, a line each."""

    def __init__(self, defects: list[str]) -> None:
        super().__init__(defects)
        self.defects = defects

    def __str__(self) -> str:
        return "\n".join(self.defects)


def read_notebook(path: str | Path) -> NotebookNode:
    """Return the notebook at `path`, MyST (.md) or ipynb, nbgrader's in our way.

    Raises `AssignmentError`.
    """
    import jupytext

    try:
        notebook: NotebookNode = jupytext.read(path)
    except Exception as error:  # jupytext and nbformat raise errors of many kinds
        why = str(error).partition(" Please use one of")[0]  # forty of them
        raise AssignmentError([f"{path} can not be read as a notebook: {why}"]) from error
    return adopt(notebook)


def load(path: Path) -> Assignment:
    """Return the assignment that the notebook at `path` defines; raises `AssignmentError`."""
    return parse(read_notebook(path), path.parent)


def parse(notebook: NotebookNode, folder: Path | None = None) -> Assignment:
    """Return the assignment that a notebook defines; its files lie in `folder`.

    Raises `AssignmentError` with all that is wrong, if anything is.
    """
    declared = notebook.metadata.get("d2lcompute", {})
    defects = [*find_defects(notebook.cells), *find_defects_of_all(declared)]
    names = [] if defects or folder is None else declared.get("files", [])
    paths = {name: Path(folder or "", name) for name in names}
    modules = {} if defects or folder is None else rules_of_modules(declared)
    defects += find_defects_of_files(paths | {name: Path(folder or "", name) for name in modules})
    if defects:
        raise AssignmentError(defects)
    cells = [_parse_module(Path(folder or "", name), modules[name]) for name in modules]
    cells += [parse_cell(cell) for cell in notebook.cells if cell.cell_type == "code"]
    texts = [parse_cell(cell) for cell in notebook.cells if cell.cell_type != "code"]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = re.search(r"^# (.+)$", prose, re.MULTILINE)
    return Assignment(
        cells=tuple(cell for cell in cells if cell.tag not in OTHERS),
        title=heading[1].strip() if heading else "",
        others=tuple(cell for cell in cells if cell.tag in OTHERS),
        texts=tuple(cell for cell in texts if cell.tag == WRITTEN),
        due=read_time(str(declared.get("due", ""))),
        late=str(declared.get("late", "")),
        files=tuple(
            (name, base64.b64encode(path.read_bytes()).decode()) for name, path in paths.items()
        ),
    )


def parse_cell(node: NotebookNode) -> Cell:
    """Return what a cell of the reference declares."""
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
        rubric=declared.get("rubric", ""),
        forbids=tuple(declared.get("forbids", ())),
        asks=tuple(declared.get("asks", ())),
        forgeable=declared.get("forgeable", False),
        task=declared.get("task", False),
    )


def _parse_module(path: Path, rules: Mapping[str, Any]) -> Cell:
    forbids, asks = (tuple(rules.get(key, ())) for key in RULES)
    source = path.read_text(encoding="utf-8")
    return Cell(source, SOLUTION, path.name, forbids=forbids, asks=asks, module=True)


def _digest(content: object) -> str:
    return hashlib.sha256(repr(content).encode()).hexdigest()
