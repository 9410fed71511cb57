"""The command line: `d2lcompute new`, `release`, `examine`, `grade`, `report`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..notebooks.console import fail, require
from ..notebooks.published import install_command

if TYPE_CHECKING:
    from .grade import Progress, Workers
    from .results import Journal

Reference = Annotated[Path, typer.Argument(help="The instructor's notebook, .md or .ipynb.")]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; one a core without it.")]
Unisolated = Annotated[
    bool,
    typer.Option(
        "--allow-unisolated", help="Run student code with your rights where it can not be isolated."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (new, release, examine, grade, report):
        app.command()(command)
    foreign = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("pytest", context_settings=foreign)(pytest_)


def new(
    folder: Annotated[Path, typer.Argument(help="Where it goes.")],
    url: Annotated[
        str, typer.Option(help="Where pip finds this package in the workflows, such as git+https.")
    ] = "",
) -> None:
    """Write a course's starting point: an assignment, workflows that grade it, tested versions.

    A file that is already in the folder is kept as it is.

    Example: `d2lcompute new course`
    """
    from . import course

    written, kept = course.start(folder, url)
    for path in written:
        print(path)
    for path in kept:
        print(f"{path}: kept as it was")
    if not url and not install_command():
        print(
            "warning: this package is on no index yet; set PACKAGE in the workflows to what pip "
            "can install, or do --url git+https://... with the address of a copy of yours",
            file=sys.stderr,
        )


def release(
    reference: Reference,
    to: Annotated[Path, typer.Option(help="The folder for the students' notebook.")] = Path(
        "release"
    ),
) -> None:
    """Make the students' notebook: solutions become stubs, hidden checks stay here.

    The reference is run first, and its checks are asked with cheats: one that passes them is
    refused. What invites guessing is told.

    Example: `d2lcompute release reference.md`
    """
    require("grading")
    from . import release as releasing
    from .assignment import parse, read_notebook
    from .attempt import Conditions

    with _defects():
        notebook = read_notebook(reference)
        assignment = parse(notebook)
        conditions = Conditions(allow_unisolated=True)
        warnings = releasing.rehearse(assignment, conditions)
    released = releasing.release(notebook, releasing.show_checks(assignment, conditions))
    for path in releasing.write(released, to):
        print(path)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def examine(
    reference: Reference,
    seeds: Annotated[
        int, typer.Option(min=1, help="Under how many seeds right and wrong answers are asked.")
    ] = 2000,
    jobs: Jobs = None,
) -> None:
    """Measure how strong the checks are: what passes and must not, what fails and must not.

    They are asked with cheats, with solutions that have one small mistake, and with the cells that
    the reference tags `wrong` or `also-right`. A mistake that is none is said to be so in the
    solution's metadata: `"equivalent": ["1a2b3c4d"]`.

    Example: `d2lcompute examine reference.md`
    """
    require("grading")
    from . import examine as examining
    from .assignment import parse, read_notebook
    from .attempt import Conditions

    with _defects():
        assignment = parse(read_notebook(reference))
        conditions = Conditions(allow_unisolated=True)
        workers = _workers(jobs, None)
        with workers.start() as executor, _examination_bar() as show:
            for state in examining.examine(assignment, conditions, executor, seeds):
                show(state[0])
    found = state[1]
    for row in examining.table(assignment, found):
        print(row)
    weak = examining.findings(assignment, found)
    for finding in weak:
        print(f"\n{finding}")
    print(f"\n{len(weak)} findings")
    raise typer.Exit(bool(weak))


def grade(
    reference: Reference,
    submissions: Annotated[
        Path, typer.Argument(help="A folder, a zip of one, or a list of files.")
    ],
    to: Annotated[Path, typer.Option(help="The folder for the results.")] = Path("results"),
    jobs: Jobs = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a cell; a submission has ten times that.")
    ] = 30.0,
    cold: Annotated[
        bool, typer.Option("--cold", help="Start every kernel instead of forking it.")
    ] = False,
    allow_unisolated: Unisolated = False,
) -> None:
    """Grade submissions against the reference. A run that was stopped goes on where it was.

    Example: `d2lcompute grade reference.md submissions --to results`
    """
    require("grading")
    if scheduler is not None:
        require("cluster")
    from .assignment import parse, read_notebook
    from .attempt import Conditions, NotIsolatedError
    from .grade import grade as grade_all
    from .results import Journal
    from .submissions import find

    with _defects():
        assignment = parse(read_notebook(reference))
    conditions = Conditions(not cold, allow_unisolated, timeout)
    try:
        found = find(submissions, assignment)
        for line in found.left_out:
            print(f"note: {line}", file=sys.stderr)
        journal = Journal.start(to, assignment)
        workers = _workers(jobs, scheduler)
        with _defects(), _progress_bar() as show:
            grade_all(assignment, found.submissions, journal, conditions, workers, show)
    except (ValueError, NotIsolatedError, OSError) as error:
        fail(str(error), status=2)
    except KeyboardInterrupt:
        fail("stopped; the same command goes on where it was", status=1)
    raise typer.Exit(_sum_up(journal))


def report(
    results: Annotated[Path, typer.Argument(help="The folder that `grade` wrote.")] = Path(
        "results"
    ),
) -> None:
    """Make marks.csv, report.json, junit.xml, Gradescope's files and a page from the results.

    Example: `d2lcompute report results`
    """
    require("grading")
    from .report import write_reports
    from .results import Journal

    try:
        journal = Journal.open(results)
    except ValueError as error:
        fail(str(error), status=2)
    for path in write_reports(journal, results):
        print(path)


def pytest_(
    context: typer.Context,
    reference: Reference,
    submissions: Annotated[Path, typer.Argument(help="A folder, a zip of one, or a list.")],
) -> None:
    """Grade with a pytest item for each check, for `-k`, `-x`, `-n`, `--junitxml`.

    Other arguments go to pytest. It is never given the folder of submissions, where it would run
    code: in there it reads notebooks, and nothing else.

    Example: `d2lcompute pytest reference.md submissions -k flip --junitxml junit.xml`
    """
    require("grading")
    from .plugin import run

    raise typer.Exit(run(reference, submissions, context.args))


def _workers(jobs: int | None, scheduler: str | None) -> Workers:
    from ..notebooks.isolation import count_cores
    from .grade import Workers, cluster, processes

    if scheduler is not None:
        # More than any cluster takes at once; each submission in flight costs little memory.
        return Workers(lambda: cluster(scheduler), width=1000)
    count = jobs or count_cores()
    return Workers(lambda: processes(count), width=count)


@contextmanager
def _examination_bar() -> Iterator[Callable[[float], None]]:
    from rich import progress

    columns = progress.TextColumn("examining"), progress.BarColumn(), progress.TaskProgressColumn()
    with progress.Progress(*columns) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def _progress_bar() -> Iterator[Callable[[Progress], None]]:
    from rich import progress

    columns = (
        progress.TextColumn("grading"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[failures]} failed"),
        progress.TextColumn("{task.fields[left]}"),
    )
    with progress.Progress(*columns) as bar:
        task = bar.add_task("", total=None, failures=0, left="")

        def show(state: Progress) -> None:
            minutes, seconds = divmod(round(state.left), 60)
            left = f"{minutes}:{seconds:02} left" if state.done else "running the reference"
            failures = state.failures
            bar.update(task, total=state.total, completed=state.done, failures=failures, left=left)

        yield show


def _sum_up(journal: Journal) -> int:
    """Say what came out, and return the exit status."""
    results = journal.results
    troubled = [result for result in results if result.trouble]
    graded = [result.earned for result in results if not result.trouble]
    mean = f", mean {sum(graded) / len(graded):.1f} of {journal.heading.points:g}" if graded else ""
    print(f"{journal.path}: {len(graded)} graded{mean}")
    for (level, gaps), count in Counter((one.isolation, one.gaps) for one in results).items():
        if gaps:
            told = f"note: {count} of {len(results)} had isolation {level!r} only"
            print(f"{told}: {'; '.join(gaps)}", file=sys.stderr)
    for result in troubled:
        print(f"error: {result.submission} was not graded: {result.trouble}", file=sys.stderr)
    return 1 if troubled else 0


@contextmanager
def _defects() -> Iterator[None]:
    """End with a line for each defect where the reference has any."""
    from .assignment import AssignmentError

    try:
        yield
    except AssignmentError as error:
        fail(*error.defects, status=1)
