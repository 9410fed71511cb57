"""What students handed in: of a notebook, the source of the declared solution cells alone.

Found in a folder, in a zip as a learning platform exports it, in a list, or in one notebook. Nobody
gets lost without a line that says so, and no file is read but notebooks and the modules that the
assignment asks for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from ..notebooks.errors import plain
from .assignment import SOLUTION, Assignment
from .cells import declared_id
from .platforms import NOBODY, NOTEBOOK, Sender, find_sender, is_of_a_platform, readable, sent_as
from .sources import ARCHIVES, LARGEST, UnreadableError, find_files, read_file

LARGEST_MODULE = 1 << 20
LONGEST_NAME, ITS_END = 100, 40
MOST_TOLD = 3  # of a student's files that are no notebooks
NEXT_CELL = "\n\f\n"  # between the cells of one solution


@dataclass(frozen=True)
class Submission:
    """A submission: source by solution id, or the `fault` for which it has none.

    `texts` are the answers to written questions by id. `notes` say what in the notebook was not as
    it should be. `sender` is who handed it in, if the name of the file says so.
    """

    name: str
    solutions: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    notes: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    sender: Sender = NOBODY

    @property
    def digest(self) -> str:
        """A text that differs when what is graded does."""
        texts = [self.texts] if self.texts else []
        content = json.dumps([self.name, self.solutions, self.fault, *texts])
        return hashlib.sha256(content.encode("ascii")).hexdigest()


@dataclass(frozen=True)
class Collection:
    """The submissions, each under a name of its own, and a line for what was `left_out`."""

    submissions: list[Submission]
    left_out: list[str]


def read(data: bytes, assignment: Assignment) -> Submission:
    """Return the submission, without a name, in a notebook file, which anyone may have written.

    >>> from d2lcompute.grading.assignment import Assignment
    >>> from d2lcompute.grading.submissions import read
    >>> read(b"my homework", Assignment(())).fault
    'the file is not a notebook: Expecting value: line 1 column 1 (char 0)'

    A solution is known by its id in the metadata, or by its cell's id where a tool dropped those.
    One that a student split into several cells runs in as many, in their order. The answer to one
    of nbgrader's tasks is what stands below it.
    """
    if len(data) > LARGEST:
        return Submission("", fault=f"the file is larger than {LARGEST >> 20} MiB")
    try:
        cells = _cells(json.loads(data))
    except Exception as error:  # a file can be wrong in any way
        return Submission("", fault=f"the file is not a notebook: {plain(str(error), 100)}")
    asked = [*assignment.solutions.values(), *assignment.texts]
    by_cell_id = {cell.notebook_id: cell.id for cell in asked}
    tasks = {cell.id for cell in assignment.texts if cell.task}
    pieces: defaultdict[str, list[str]] = defaultdict(list)
    texts: defaultdict[str, list[str]] = defaultdict(list)
    others, notes, task = [], [], ""
    for cell in cells:
        name = cell.declared if cell.declared in by_cell_id.values() else None
        name = name or (cell.id and by_cell_id.get(cell.id))
        if name or cell.declared:
            task = name if name in tasks else ""
        if task and not name:
            texts[task].append(cell.source)
        elif name is None:
            others += [cell] if cell.declared not in assignment.checks else []
        elif cell.is_code and name in assignment.solutions:
            pieces[name].append(cell.source)
        else:
            texts[name].append(cell.source)
        if name and cell.has_picture:
            notes.append(f"{name} holds a picture: look at the notebook")
    solutions = {each: NEXT_CELL.join(filter(None, pieces[each])) for each in pieces}
    written = {each: "\n\n".join(texts[each]) for each in texts if each in assignment.written}
    notes += [f"{each} stands in {len(pieces[each])} cells" for each in pieces if pieces[each][1:]]
    lost = [each for each in texts if each not in pieces and each not in written]
    notes += [f"{each} is a text cell: it was not run" for each in lost]
    notes += _about_others(others, bool(solutions or written), assignment)
    return Submission("", solutions, notes=tuple(notes), texts=written)


@dataclass(frozen=True)
class _NotebookCell:
    is_code: bool
    source: str
    id: str | None
    declared: str | None
    has_picture: bool


def _cells(notebook: Mapping[str, Any]) -> list[_NotebookCell]:
    """Return the cells of a notebook of any format; raises some error for what is none."""
    sheets = notebook["worksheets"] if "cells" not in notebook else [notebook]
    return [_cell(cell) for sheet in sheets for cell in sheet["cells"]]


def _cell(cell: Mapping[str, Any]) -> _NotebookCell:
    declared = cell.get("metadata", {}).get("d2lcompute", {})
    lines = cell["source"] if "source" in cell else cell["input"]  # up to format 3
    source = lines if isinstance(lines, str) else "".join(lines)
    identity = declared.get("id") if isinstance(declared, dict) else None
    identity = identity or declared_id(cell.get("metadata", {}))
    cell_id = cell.get("id")
    return _NotebookCell(
        is_code=cell["cell_type"] == "code",
        # Half a character, which JSON can express, could not be sent to a kernel.
        source=source.encode("utf-8", "replace").decode("utf-8"),
        id=cell_id if isinstance(cell_id, str) else None,
        declared=identity if isinstance(identity, str) else None,
        has_picture=bool(cell.get("attachments")),
    )


def _about_others(
    others: list[_NotebookCell], answered: bool, assignment: Assignment
) -> Iterator[str]:
    """Yield what is to be said about code outside of the answers."""
    ours = [cell.source.split() for cell in assignment.cells if cell.tag != SOLUTION]
    code = [cell.source.split() for cell in others if cell.is_code]
    if not answered:
        yield f"no answer of this assignment was found among {len(code)} code cells"
    foreign = [source for source in code if source and not any(map(partial(_ends, source), ours))]
    if answered and foreign:
        cells = "1 code cell stands" if len(foreign) == 1 else f"{len(foreign)} code cells stand"
        yield f"{cells} outside of the answers: only answers are run"


def _ends(source: list[str], ours: list[str]) -> bool:
    return bool(ours) and source[-len(ours) :] == ours


def find(source: Path, assignment: Assignment) -> Collection:
    """Return the submissions in `source`, sorted by name, each under a name of its own.

    `source` is a folder (of notebooks, or of a folder for each student), a zip of one, a notebook,
    or a text file with a path on each line. Students are called by what learning platforms make of
    their names, or by the name of their folder or file. Of several notebooks of one student, those
    without any answer of the assignment are left out; who handed in no notebook has an empty
    submission. A zip that a student handed in is as a folder. The modules of an assignment are
    those that lie beside the notebook, or that the same student handed in. No link is followed,
    nothing is unpacked to disk.

    Raises `ValueError` for a source that is none of this, holds no notebook, or is too large.
    """
    students, left_out = _gather(source, assignment)
    if not any(student.notebooks for student in students):
        told = f"got {source}, which has none"
        raise ValueError("; ".join([f"`submissions` must hold notebooks, {told}", *left_out]))
    found: dict[str, Submission] = {}
    for student in students:
        chosen, others = _choose(student)
        for label, place, submission in chosen:
            name = _free(_short(label), found)
            near = student.modules or _beside(source, assignment.modules)
            found[name] = replace(_with_modules(submission, place, near), name=name)
        left_out += others
    return Collection([found[name] for name in sorted(found)], left_out)


@dataclass
class _Student:
    """What one student handed in: notebooks by path, modules, and names of the rest.

    Of the rest, archives that are not opened are `closed`, each with the reason.
    """

    sender: Sender
    notebooks: dict[str, Submission] = field(default_factory=dict)
    modules: list[_Module] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def _gather(source: Path, assignment: Assignment) -> tuple[list[_Student], list[str]]:
    """Return what each student handed in, and a line for what is nobody's."""
    students: dict[str, _Student] = {}
    left_out: list[str] = []
    passed_over: defaultdict[str, list[str]] = defaultdict(list)
    with ExitStack() as stack:
        files = sorted(find_files(source, stack), key=lambda file: os.fsencode(file[0]))
        handed_in = [path for path, _ in files if NOTEBOOK.search(path.name) and not _why_not(path)]
        deep = all(map(is_of_a_platform, handed_in))
        for path, load in files:
            is_notebook = bool(NOTEBOOK.search(path.name))
            reason, sender = _why_not(path), find_sender(path, deep)
            if reason and is_notebook:
                passed_over[reason].append(readable(str(path)))
            elif sender and sender.name and not reason:
                student = students.setdefault(sender.key, _Student(sender))
                if is_notebook:
                    loaded = replace(_read_notebook(load, assignment), sender=sender)
                    student.notebooks[_free(str(path), student.notebooks)] = loaded
                else:
                    student.modules += _modules(path, load, assignment.modules)
                    closed = _why_closed(path, load)
                    student.closed += closed
                    student.rest += closed or [readable(sent_as(path))]
            elif not reason:
                left_out += [f"{told}; it was left out" for told in _why_closed(path, load)]
    for reason, paths in passed_over.items():
        left_out.append(f"{len(paths)} notebooks {reason} were left out, the first is {paths[0]}")
    return list(students.values()), left_out


def _why_closed(path: PurePosixPath, load: Callable[[], bytes]) -> list[str]:
    """Return a line that says why an archive is not opened; none for other files."""
    if path.name.lower().endswith(ARCHIVES):
        try:
            load()
        except UnreadableError as error:
            return [f"{readable(sent_as(path))} {error}"]
    return []


def _choose(student: _Student) -> tuple[list[tuple[str, str, Submission]], list[str]]:
    """Return what a student's submissions are called, their paths and they; and lines on others."""
    name, notebooks = student.sender.name, student.notebooks
    if not notebooks:
        told = f": {'; '.join(student.rest[:MOST_TOLD])}" if student.rest else ""
        fault = f"no notebook was handed in{told}"
        return [(name, "", Submission("", fault=fault, sender=student.sender))], []
    fitting = {
        path: each for path, each in notebooks.items() if each.solutions or each.texts
    } or notebooks
    left_out = [f"{name}: {told}; it was left out" for told in student.closed]
    left_out += [
        f"{name}: {readable(path)} was left out, it holds no answer of this assignment"
        for path in notebooks
        if path not in fitting
    ]
    if len(fitting) == 1:
        return [(name, path, each) for path, each in fitting.items()], left_out
    found = [(f"{name}: {readable(path)}", path, each) for path, each in fitting.items()]
    return found, left_out


@dataclass(frozen=True)
class _Module:
    """A file that was handed in for the module `name`: its `source`, or the `fault` for none."""

    name: str
    path: PurePosixPath
    source: str = ""
    fault: str = ""

    def distance(self, notebook: str) -> tuple[bool, bool, PurePosixPath]:
        """How far it is from being what stands beside a notebook under its name."""
        beside = self.path.parent == PurePosixPath(notebook).parent
        return not beside, sent_as(self.path) != self.name, self.path


def _modules(path: PurePosixPath, load: Callable[[], bytes], names: Iterable[str]) -> list[_Module]:
    """Read a file if it is a module; one saved twice (`helper (1).py`) or in other case is, too."""
    for name in names:
        pattern = rf"{re.escape(name[:-3])}(-\d+| ?\(\d+\))?\.py"
        if re.fullmatch(pattern, sent_as(path), re.IGNORECASE):
            try:
                return [_Module(name, path, source=_read_module(load))]
            except UnreadableError as error:
                return [_Module(name, path, fault=str(error))]
    return []


def _beside(source: Path, names: Iterable[str]) -> list[_Module]:
    """Read the modules beside a source that is one notebook."""
    if source.is_dir() or not NOTEBOOK.search(source.name):
        return []
    paths = [Path(name) for name in names if (source.parent / name).exists()]
    files = [(PurePosixPath(path), partial(read_file, source.parent, path)) for path in paths]
    return [module for path, load in files for module in _modules(path, load, names)]


def _with_modules(submission: Submission, notebook: str, modules: list[_Module]) -> Submission:
    """Return a submission with its modules, of several files those nearest to the notebook."""
    solutions, notes = dict(submission.solutions), list(submission.notes)
    nearest = sorted(modules, key=lambda module: module.distance(notebook), reverse=True)
    for name, module in {module.name: module for module in nearest}.items():
        if module.fault:
            notes.append(f"{name} was not run: {module.fault}")
            continue
        solutions[name] = module.source
        if sent_as(module.path) != name:
            notes.append(f"{name} is what was handed in as {readable(sent_as(module.path))}")
    return replace(submission, solutions=solutions, notes=tuple(notes))


def _read_module(load: Callable[[], bytes]) -> str:
    data = load()
    if len(data) > LARGEST_MODULE:
        raise UnreadableError(f"it is larger than {LARGEST_MODULE >> 20} MiB")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableError("it is no text in UTF-8") from error


def _read_notebook(load: Callable[[], bytes], assignment: Assignment) -> Submission:
    try:
        return read(load(), assignment)
    except UnreadableError as error:
        return Submission("", fault=str(error))


def _why_not(path: PurePosixPath) -> str:
    """Return why a file was not handed in by anybody, nothing if it may have been."""
    if "__MACOSX" in path.parts or path.name.startswith("._"):
        return "in __MACOSX"
    if ".ipynb_checkpoints" in path.parts:
        return "in .ipynb_checkpoints"
    if path.parts[0] == "__pycache__":  # of a module that lies beside the submissions
        return "in __pycache__"
    hidden = any(part.startswith(".") for part in path.parts[:-1])
    return "in hidden folders" if hidden else ""


def _short(name: str) -> str:
    begin, end = name[: LONGEST_NAME - ITS_END], name[-ITS_END:]
    return name if len(name) <= LONGEST_NAME else f"{begin} ... {end}"


def _free(name: str, taken: Container[str]) -> str:
    names = chain([name], (f"{name} ({number})" for number in count(2)))
    return next(each for each in names if each not in taken)
