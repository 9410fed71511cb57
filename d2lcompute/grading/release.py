"""The student's notebook, made from the reference; and what in it invites guessing."""

from __future__ import annotations

import copy
import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import torch
from nbformat import NotebookNode

from .assignment import SOLUTION, Assignment, AssignmentError, parse
from .attempt import Conditions
from .comparison import difference
from .judge import Expectation, expect

ENOUGH_BITS = 16
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

    Raises `AssignmentError` where a check fails with the reference itself, or answers differently
    under one seed.
    """
    first, again, other = (expect(assignment, conditions, secret) for secret in ("a", "a", "b"))
    unsteady = [name for name in assignment.checks if not _agree(assignment, name, first, again)]
    if unsteady:
        raise AssignmentError(
            [f"check {name} answers differently under the same seed" for name in unsteady]
        )
    return list(_warnings(assignment, first, other))


def show_checks(assignment: Assignment, conditions: Conditions) -> Outputs:
    """Return what the checks that are not hidden show with the reference's solutions."""
    outputs = {}
    with conditions.start() as kernel:
        for cell in assignment.cells:
            if not cell.is_check:
                kernel.run(cell.source, conditions.seconds)
            elif not cell.hidden:
                shown = kernel.run(SEEDED.format(source=cell.source), conditions.seconds)
                outputs[cell.id] = shown.outputs
    return outputs


def write(released: Mapping[str, NotebookNode], folder: Path) -> list[Path]:
    """Write the notebooks, each language's into a folder of its own; return their paths."""
    to_text: Callable[[NotebookNode], str] = nbformat.writes
    paths = []
    for language, notebook in released.items():
        path = folder / language / "assignment.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_text(notebook) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _warnings(
    assignment: Assignment, first: Mapping[str, Expectation], other: Mapping[str, Expectation]
) -> Iterator[str]:
    for name, check in assignment.checks.items():
        if _agree(assignment, name, first, other):
            way = "hard-coded" if check.hidden else "copied from what the notebook shows"
            yield f"check {name} answers the same under two seeds: it can be {way}"
        elif check.hidden and bits(first[name].value) < ENOUGH_BITS:
            found = bits(first[name].value)
            yield f"hidden check {name} answers with {found:.0f} bits: it can be guessed"


def _agree(
    assignment: Assignment,
    name: str,
    first: Mapping[str, Expectation],
    second: Mapping[str, Expectation],
) -> bool:
    tolerances = assignment.checks[name].tolerances
    return difference(first[name].value, second[name].value, tolerances) is None


def _release(notebook: NotebookNode, language: str, outputs: Outputs) -> NotebookNode:
    released = copy.deepcopy(notebook)
    released.metadata.clear()
    released.metadata.update(METADATA)
    code = iter(parse(notebook).cells)
    cells = []
    for cell in released.cells:
        role = next(code) if cell.cell_type == "code" else None
        spoken = cell.metadata.pop("lang", language)
        if spoken != language or (role and role.hidden):
            continue
        if role and role.tag == SOLUTION:
            cell.source = role.stub
            cell.metadata.deletable = False
        elif role and role.is_check:
            cell.source = SEEDED.format(source=cell.source)
            cell.outputs = list(outputs[role.id])
            del cell.metadata["d2lcompute"]  # an id there would make it a solution
            cell.metadata.update(deletable=False, editable=False)
        cells.append(cell)
    released.cells = cells
    _number(cells)
    return released


def _number(cells: Sequence[NotebookNode]) -> None:
    """Give ids that depend on content alone, and counts to the cells with outputs."""
    seen: Counter[str] = Counter()
    for cell in cells:
        seen[cell.source] += 1
        key = f"{cell.cell_type}\n{cell.source}\n{seen[cell.source]}"
        cell.id = hashlib.sha256(key.encode()).hexdigest()[:8]
    for count, cell in enumerate((cell for cell in cells if cell.get("outputs")), start=1):
        cell.execution_count = count


def bits(value: Any) -> float:
    """Return about how many bits it takes to say `value`: what a guess would have to hit.

    >>> from d2lcompute.grading.release import bits
    >>> [bits(value) for value in (True, [2, 3], torch.zeros(100), torch.rand(4))]
    [1.0, 7.6, 1.0, 104.0]

    The sum over its different numbers and texts of the bits of each, and what it takes to say
    which one stands where. `value` is what `payload.decode` gives.
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
