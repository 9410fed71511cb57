"""Other graders, on equivalents of the assignment: the same cells with the reference's solutions.

A check just runs; what it answers is compared with nothing, so they have less to do than ours. Each
`prepare_*` writes into a folder and returns a function that grades, half on each worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import nbformat

WORKERS = 2
# nbgrader and otter would make notebooks slower to import for ours in the same environment.
PYTHON = os.environ.get("GRADERS_PYTHON", sys.executable)
OTTER_TEST = """
from otter.test_files import test_case

OK_FORMAT = False
name, points = {name!r}, {points}

@test_case(hidden={hidden})
def test_check(env):
    exec({source!r}, env)
"""


@cache
def has(module):
    """Say whether `module` is installed where the graders are."""
    command = [PYTHON, "-c", f"import {module}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def prepare_nbval(assignment, folder, count):
    notebook = notebook_of(assignment.cells)
    names = write(notebook, folder, [f"student_{number}.ipynb" for number in range(count)])
    command = [PYTHON, "-m", "pytest", "--nbval-lax", "--nbval-current-env"]
    command += ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder)]
    return partial(on_workers, [[(folder, [*command, *half])] for half in halves(names)])


def prepare_nbgrader(assignment, folder, count):
    """Write a course for each worker: two processes cannot share one."""
    notebook = notebook_of(assignment.cells, nbgrader_metadata)
    courses = [folder / f"course_{worker}" for worker in range(WORKERS)]
    for course, students in zip(courses, halves(range(count)), strict=True):
        places = ["source", *(f"submitted/student_{number}" for number in students)]
        write(notebook, course, [f"{place}/assignment/assignment.ipynb" for place in places])
    command = [PYTHON, "-m", "nbgrader"]
    prepared = [*command, "generate_assignment", "assignment", "--create"]
    on_workers([[(course, prepared)] for course in courses])
    graded = [*command, "autograde", "assignment", "--force"]
    return partial(on_workers, [[(course, graded)] for course in courses])


def prepare_otter(assignment, folder, count):
    (folder / "tests").mkdir()
    for check in assignment.checks.values():
        name = check.id.replace("-", "_")
        text = OTTER_TEST.format(
            name=name, points=check.points, hidden=check.hidden, source=check.source
        )
        (folder / "tests" / f"{name}.py").write_text(text, encoding="utf-8")
    nothing_else = ["--no-requirements", "--no-environment", "--no-config"]
    generate = [PYTHON, "-m", "otter", "generate", "-t", "tests", "-o", "tests.zip", *nothing_else]
    on_workers([[(folder, generate)]])
    notebook = notebook_of(cell for cell in assignment.cells if not cell.is_check)
    jobs = []
    for number in range(count):
        (name,) = write(notebook, folder, [f"student_{number}/submission.ipynb"])
        run = [PYTHON, "-m", "otter", "run", "-a", "../tests.zip", "--no-logo", "submission.ipynb"]
        jobs.append(((folder / name).parent, run))
    return partial(on_workers, halves(jobs))


def notebook_of(cells, metadata=lambda number, cell: {}):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        metadata={"kernelspec": kernel},
        cells=[
            nbformat.v4.new_code_cell(cell.source, metadata=metadata(number, cell))
            for number, cell in enumerate(cells)
        ],
    )


def nbgrader_metadata(number, cell):
    is_solution = bool(cell.tag) and not cell.is_check
    found = {
        "schema_version": 3,
        "grade_id": cell.id or f"cell-{number}",
        "grade": cell.is_check,
        "solution": is_solution,
        "locked": not is_solution,
        "task": False,
    }
    return {"nbgrader": found | ({"points": cell.points} if cell.is_check else {})}


def write(notebook, folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
    return names


def halves(items):
    return [items[worker::WORKERS] for worker in range(WORKERS)]


def on_workers(jobs):
    """Run each worker's jobs, pairs of a folder and a command, one after the other."""
    # nbgrader looks there for a command that it needs.
    path = os.pathsep.join([str(Path(PYTHON).parent), os.environ["PATH"]])

    def work(own):
        for folder, command in own:
            environment = {**os.environ, "PATH": path}
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, jobs))
