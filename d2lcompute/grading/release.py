"""The student's notebook, made from the reference; and what in it invites guessing."""

from __future__ import annotations

import copy
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbformat import NotebookNode

from ..notebooks.isolation import count_cores
from .answers import decode
from .assignment import OTHERS, Assignment, AssignmentError, Cell, parse_cell
from .attempt import Conditions, put_files, to_run
from .comparison import compare
from .examine import constants, examine, findings
from .judge import Expected, expect

ENOUGH_BITS = 16
NO_FILES: Mapping[str, bytes] = {}
KEPT = ("tags", "name", "slideshow")  # of a solution's metadata
SEEDED = """\
import d2lcompute as d2c

d2c.grading.seed(0)  # the grader draws another seed
{source}"""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}

Outputs = Mapping[str, Sequence[NotebookNode]]


def release(notebook: NotebookNode, outputs: Outputs) -> dict[str, NotebookNode]:
    """Return the students' notebook for each language of the reference `notebook`.

    Solutions are stubs, hidden checks are left out, checks have the reference's `outputs` from
    `show_checks`. Without languages there is one notebook, under an empty name.
    """
    languages = dict.fromkeys(cell.metadata.get("lang", "") for cell in notebook.cells)
    names = [name for name in languages if name] or [""]
    return {name: _release(notebook, name, outputs) for name in names}


def rehearse(assignment: Assignment, conditions: Conditions) -> list[str]:
    """Run the reference, and return warnings: what is easy to guess or to copy.

    Raises `AssignmentError` where a check fails with the reference itself, answers differently
    under one seed, or passes who answered nothing, gives back what it gets, or changes a part of
    the answer (the quick part of `examine`).
    """
    seeds = [{name: [1] for name in assignment.checks}]
    with ThreadPoolExecutor(count_cores()) as executor:
        twice = executor.submit(expect, assignment, conditions, seeds)
        (first,) = expect(assignment, conditions, seeds)
        (again,) = twice.result()
    agree = partial(_agree, assignment)
    unsteady = [name for name in assignment.checks if not agree(name, first, again)]
    if unsteady:
        raise AssignmentError(
            [f"check {name} answers differently under the same seed" for name in unsteady]
        )
    with ThreadPoolExecutor(count_cores()) as executor:
        *_, (_, found) = examine(assignment, conditions, executor, quick=True)
    if weak := findings(assignment, found):
        raise AssignmentError(weak)
    same = constants(assignment, found)
    guesses = (line for name, line in _guesses(assignment, first) if name not in same)
    return [*same.values(), *guesses]


def show_checks(assignment: Assignment, conditions: Conditions) -> Outputs:
    """Return what the checks that are not hidden show with the reference's solutions."""
    outputs = {}
    with conditions.start() as kernel:
        put_files(kernel, assignment, conditions.seconds)
        for cell in assignment.cells:
            if not cell.is_check:
                for source in to_run(cell, cell.source):
                    kernel.run(source, conditions.seconds)
            elif not cell.hidden:
                shown = kernel.run(SEEDED.format(source=cell.source), conditions.seconds)
                outputs[cell.id] = shown.outputs
    return outputs


def write(
    released: Mapping[str, NotebookNode], folder: Path, files: Mapping[str, bytes] = NO_FILES
) -> list[Path]:
    """Write the notebooks, each language's into a folder of its own; return their paths.

    The assignment's `files` lie beside each.
    """
    to_text: Callable[[NotebookNode], str] = nbformat.writes
    paths = []
    for language, notebook in released.items():
        path = folder / language / "assignment.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_text(notebook) + "\n", encoding="utf-8")
        paths.append(path)
        for name, content in files.items():
            beside = path.parent / name
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(content)
            paths.append(beside)
    return paths


def _guesses(assignment: Assignment, first: Expected) -> Iterator[tuple[str, str]]:
    for name, check in assignment.checks.items():
        found = bits(decode(first[name][0].answer))
        if check.hidden and found < ENOUGH_BITS:
            line = f"hidden check {name} answers with {found:.0f} bits: it can be guessed"
            yield name, line


def _agree(assignment: Assignment, name: str, first: Expected, second: Expected) -> bool:
    got, wanted = (expected[name][0].answer for expected in (first, second))
    return compare(got, wanted, assignment.checks[name].tolerances) is None


def _release(notebook: NotebookNode, language: str, outputs: Outputs) -> NotebookNode:
    released = copy.deepcopy(notebook)
    released.metadata.clear()
    released.metadata.update(METADATA)
    spoken = [cell for cell in released.cells if cell.metadata.pop("lang", language) == language]
    cells = []
    for cell in spoken:
        role = parse_cell(cell)
        if not (role.hidden or role.tag in OTHERS):
            cells.append(cell)
            _show(cell, role, outputs)
    released.cells = cells
    _number(cells)
    return released


def _show(cell: NotebookNode, role: Cell, outputs: Outputs) -> None:
    """Leave of a cell what students are to see: of its outputs, those of checks."""
    if cell.cell_type == "code":
        cell.outputs, cell.execution_count = list(outputs.get(role.id, ())), None
    if role.is_answer:
        cell.source = role.stub
        cell.pop("attachments", None)
        cell.metadata = {key: cell.metadata[key] for key in KEPT if key in cell.metadata}
        cell.metadata.update(deletable=False, d2lcompute={"id": role.id})
    elif role.is_check:
        cell.source = SEEDED.format(source=cell.source)
        del cell.metadata["d2lcompute"]  # an id there would make it a solution
        cell.metadata.update(deletable=False, editable=False)


def _number(cells: Sequence[NotebookNode]) -> None:
    """Give ids that depend on content alone, and counts to the cells with outputs."""
    seen: Counter[str] = Counter()
    for cell in cells:
        seen[cell.source] += 1
        key = f"{cell.cell_type}\n{cell.source}\n{seen[cell.source]}"
        cell.id = hashlib.sha256(key.encode()).hexdigest()[:8]
        if parse_cell(cell).is_answer:
            cell.id = parse_cell(cell).notebook_id
    for count, cell in enumerate((cell for cell in cells if cell.get("outputs")), start=1):
        cell.execution_count = count


def bits(value: Any) -> float:
    """Return about how many bits it takes to say `value`: what a guess would have to hit.

    >>> from d2lcompute.grading.release import bits
    >>> [bits(value) for value in (True, [2, 3], torch.zeros(100), torch.rand(4))]
    [1.0, 7.6, 1.0, 104.0]

    The sum over its different numbers and texts of the bits of each, and what it takes to say
    which one stands where. `value` is what `decode` gives.
    """
    counts = Counter(_leaves(value))
    total = sum(counts.values())
    places = sum(count * math.log2(total / count) for count in counts.values())
    return sum(map(_bits_of_leaf, counts)) + places


def _leaves(value: Any) -> Iterator[Hashable]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, torch.Tensor):
        yield from value.flatten().tolist()
    elif isinstance(value, complex):
        yield from (value.real, value.imag)
    else:
        yield value


def _bits_of_leaf(leaf: Any) -> float:
    if leaf is None:
        return 0.0
    if isinstance(leaf, str):
        return 8.0 * len(leaf)
    if isinstance(leaf, complex):
        return _bits_of_leaf(leaf.real) + _bits_of_leaf(leaf.imag)
    if isinstance(leaf, bool) or not math.isfinite(leaf):
        return 1.0
    above, below = leaf.as_integer_ratio()
    return min(24.0, 1 + math.log2(1 + abs(above)) + math.log2(below))
