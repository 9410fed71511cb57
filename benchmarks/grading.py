"""Grading the chapter's assignment on two workers: notebooks a minute, and isolation's share."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nbformat

from d2lcompute.grading.assignment import parse, read_notebook
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.grade import Workers, grade, processes
from d2lcompute.grading.results import Journal
from d2lcompute.grading.submissions import find

from .graders import WORKERS, has, prepare_nbgrader, prepare_nbval, prepare_otter
from .harness import RATE, ROUNDS, Case, Target, limit, ours, peer

REFERENCE = Path(__file__).parents[1] / "chapters" / "assignment" / "reference.md"
PEERS = {"nbval": prepare_nbval, "nbgrader": prepare_nbgrader, "otter": prepare_otter}


class Unboxed(Conditions):
    """Kernels that trust the code of students."""

    isolation = None


def cases(quick):
    many, some, few = (4, 4, 2) if quick else (200, 12, 4)
    small, large = (2, 4) if quick else (50, 1000)
    assignment = parse(read_notebook(REFERENCE))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(assignment, folder / "many", many)
        write(assignment, folder / "some", some)
        write(assignment, folder / "small", small)
        write(assignment, folder / "large", large)
        yield rates(assignment, folder, many, few)
        yield share(assignment, folder / "some", some)
        yield growth(folder, small, large)


def rates(assignment, folder, many, few):
    """Let peers grade a few: what they take for one does not depend on how many there are."""
    return Case(
        f"{many} submissions, peers {few}",
        (
            ours("grade", each(many, partial(grade_by_command, folder / "many")), rounds=1),
            *(
                peer(
                    name,
                    lambda run: each(few, run)(),
                    fresh=partial(prepared, prepare, assignment, folder, few),
                    needs="" if has(name) else name,
                    rounds=2,
                )
                for name, prepare in PEERS.items()
            ),
        ),
        tuple(Target("grade", 1, name) for name in PEERS),
        headline=f"grade {many} submissions, two workers (peers {few})",
        unit=RATE,
        returned=True,
    )


def prepared(prepare, assignment, folder, count):
    return prepare(assignment, Path(tempfile.mkdtemp(dir=folder)), count)


def share(assignment, folder, some):
    def graded(conditions):
        return each(some, lambda: grade_here(assignment, folder, conditions))

    return Case(
        f"{some} submissions, in boxes or not",
        (
            ours("isolated", graded(Conditions()), rounds=ROUNDS),
            limit("not isolated", graded(Unboxed()), rounds=ROUNDS),
        ),
        (Target("isolated", 1.1, "not isolated"),),
        headline=f"grade {some} submissions, isolated",
        unit=RATE,
        returned=True,
    )


def growth(folder, small, large):
    """Grade many beside few: each submission takes no longer."""
    return Case(
        f"{large} submissions beside {small}",
        (
            ours("many", each(large, partial(grade_by_command, folder / "large")), rounds=1),
            limit("few", each(small, partial(grade_by_command, folder / "small")), rounds=1),
        ),
        (Target("many", 1, "few"),),
        headline=f"grade {large} submissions beside {small}",
        unit=RATE,
        returned=True,
    )


def write(assignment, folder, count):
    """Write submissions, all with the solutions of the reference, so that all of them runs."""
    notebook = nbformat.v4.new_notebook()
    for name, cell in assignment.solutions.items():
        metadata = {"d2lcompute": {"id": name}}
        notebook.cells.append(nbformat.v4.new_code_cell(cell.source, metadata=metadata))
    folder.mkdir()
    for number in range(count):
        nbformat.write(notebook, folder / f"student_{number:03}.ipynb")


def each(count, run):
    """Return what gives the seconds that `run` takes for each of `count` submissions."""

    def seconds():
        start = time.perf_counter()
        run()
        return (time.perf_counter() - start) / count

    return seconds


def grade_by_command(submissions):
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, "-m", "d2lcompute", "grade", str(REFERENCE), str(submissions)]
        command += ["--jobs", str(WORKERS), "--to", results]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    if "mean 100.0 of 100" not in done.stdout:
        raise RuntimeError(f"not all submissions have all points: {done.stdout}")


def grade_here(assignment, submissions, conditions):
    with tempfile.TemporaryDirectory() as results:
        journal = Journal.start(results, assignment)
        workers = Workers(lambda: processes(WORKERS), WORKERS)
        found = find(submissions, assignment).submissions
        grade(assignment, found, journal, conditions, workers, lambda progress: None)
