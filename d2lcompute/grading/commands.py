"""The command line: `d2lcompute new`, `release`, `examine`, `grade`, `report` and the like."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..notebooks.console import a_file, a_folder, fail, require
from ..notebooks.published import install_command
from .terminal import (
    among,
    defects,
    examination_bar,
    lacking,
    progress_bar,
    say_gone,
    say_notes,
    sum_up,
)

if TYPE_CHECKING:
    from .grade import Workers

Reference = Annotated[
    Path, typer.Argument(help="The instructor's notebook, .md or .ipynb.", callback=a_file)
]
Jobs = Annotated[int | None, typer.Option(min=1, help="Processes; one a core without it.")]
Timeout = Annotated[
    float, typer.Option(min=0.1, help="Seconds for a cell; a submission has ten times that.")
]
Unisolated = Annotated[
    bool,
    typer.Option(
        "--allow-unisolated", help="Run student code with your rights where it can not be isolated."
    ),
]


def add_commands(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (new, release, examine, grade, report, replay, gradescope):
        app.command()(command)
    app.command("self-check")(self_check)
    foreign = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("pytest", context_settings=foreign)(pytest_)


def new(
    folder: Annotated[Path, typer.Argument(help="Where it goes.", callback=a_folder)],
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
    to: Annotated[
        Path, typer.Option(help="The folder for the students' notebook.", callback=a_folder)
    ] = Path("release"),
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
    from .selfcheck import pack, put_in

    with defects():
        notebook = read_notebook(reference)
        assignment = parse(notebook, reference.parent)
        conditions = Conditions(allow_unisolated=True)
        warnings = releasing.rehearse(assignment, conditions)
        packed = pack(assignment, conditions)
    released = releasing.release(notebook, releasing.show_checks(assignment, conditions))
    for each in released.values():
        put_in(each, packed)
    for path in releasing.write(released, to, assignment.beside_release):
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
    from .assignment import load
    from .attempt import Conditions

    with defects():
        assignment = load(reference)
        conditions = Conditions(allow_unisolated=True)
        workers = _workers(jobs, None)
        with workers.start() as executor, examination_bar() as show:
            for state in examining.examine(assignment, conditions, executor, seeds):
                show(state[0])
    found = state[1]
    for row in examining.table(assignment, found):
        print(row)
    weak = [
        *examining.findings(assignment, found),
        *examining.constants(assignment, found).values(),
    ]
    for finding in weak:
        print(f"\n{finding}")
    print(f"\n{len(weak)} findings")
    raise typer.Exit(bool(weak))


def grade(
    reference: Reference,
    submissions: Annotated[
        Path, typer.Argument(help="A folder, a zip of one, or a list of files.")
    ],
    to: Annotated[Path, typer.Option(help="The folder for the results.", callback=a_folder)] = Path(
        "results"
    ),
    jobs: Jobs = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler.")] = None,
    timeout: Timeout = 30.0,
    cold: Annotated[
        bool, typer.Option("--cold", help="Start every kernel instead of forking it.")
    ] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this check; may be given several times.")
    ] = None,
    student: Annotated[
        list[str] | None, typer.Option(help="Only this submission; may be given several times.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Grade what is graded already, too.")
    ] = False,
    allow_unisolated: Unisolated = False,
) -> None:
    """Grade submissions against the reference. A run that was stopped goes on where it was.

    What is graded stays so: again comes who handed in anew, who ran out of a time that is longer
    now, and a check that changed. Written answers wait in `marking.csv` in the folder of results.

    Example: `d2lcompute grade reference.md submissions --to results`
    """
    require("grading")
    if scheduler is not None:
        require("cluster")
    from .assignment import load
    from .attempt import Conditions, NotIsolatedError
    from .grade import grade as grade_all
    from .grade import keep_reference
    from .report import settle
    from .results import Journal
    from .submissions import find

    with defects():
        assignment = load(reference)
    conditions = Conditions(not cold, allow_unisolated, timeout)
    try:
        found = find(submissions, assignment)
        for line in found.left_out:
            print(f"note: {line}", file=sys.stderr)
        chosen = among([each.name for each in found.submissions], student, "student")
        among(list(assignment.questions), only, "only")
        wanted = [each for each in found.submissions if each.name in chosen]
        journal = Journal.start(to, assignment)
        say_gone(journal, {each.name for each in found.submissions})
        keep_reference(reference, assignment, to)
        workers, again = _workers(jobs, scheduler), (only or (), force)
        with defects(), progress_bar() as show:
            grade_all(assignment, wanted, journal, conditions, workers, show, *again)
        settled = settle(journal, to)
    except (ValueError, NotIsolatedError, OSError) as error:
        fail(*str(error).splitlines(), status=2)
    except KeyboardInterrupt:
        fail("stopped; the same command goes on where it was", status=1)
    status = sum_up(journal, settled.results)
    raise typer.Exit(say_notes(settled.notes) or status)


def report(
    results: Annotated[Path, typer.Argument(help="The folder that `grade` wrote.")] = Path(
        "results"
    ),
    anonymous: Annotated[
        bool, typer.Option("--anonymous", help="Write all of it without names, for blind marking.")
    ] = False,
) -> None:
    """Make marks.csv, report.json, junit.xml, Gradescope's files and a page from the results.

    First it reads what people put into the folder: points and comments typed into `marking.csv` or
    a copy of it such as `marking-kim.csv`; other due times in `extensions.csv`; and the file of
    Canvas or Moodle as `gradebook.csv`, which it fills in.

    Example: `d2lcompute report results`
    """
    require("grading")
    from .report import settle, without_names, write_reports
    from .results import Journal

    try:
        journal = Journal.open(results)
        settled = settle(journal, results)
    except ValueError as error:
        fail(*str(error).splitlines(), status=2)
    to, notes = results, [*settled.notes, *lacking(journal)]
    if anonymous:
        to, settled = without_names(results, journal, settled)
    for path in write_reports(journal.heading, settled, to):
        print(path)
    raise typer.Exit(say_notes(notes))


def replay(
    results: Annotated[Path, typer.Argument(help="The folder that `grade` wrote.")],
    student: Annotated[str, typer.Argument(help="The submission, as the reports call it.")],
    timeout: Timeout = 30.0,
    allow_unisolated: Unisolated = False,
) -> None:
    """Make the marks of one submission again, check by check, from the seeds that were kept.

    It runs what was graded: the answers and the reference that the folder of results keeps.

    Example: `d2lcompute replay results "Ada Lovelace (77)"`
    """
    require("grading")
    from .attempt import Conditions, NotIsolatedError
    from .grade import find_reference
    from .grade import replay as make_again
    from .results import Journal

    try:
        journal = Journal.open(results)
        by_name = {result.submission: result for result in journal.results}
        among(list(by_name), [student], "student")
        assignment = find_reference(results, journal)
        conditions = Conditions(True, allow_unisolated, timeout)
        with defects():
            found = list(make_again(assignment, conditions, by_name[student]))
    except (ValueError, NotIsolatedError, OSError) as error:
        fail(str(error), status=2)
    for again in found:
        print(again)
    differ = sum(not again.agrees for again in found)
    print(f"{len(found)} checks, {differ} other than before")
    raise typer.Exit(bool(differ))


def self_check(
    notebook: Annotated[Path, typer.Argument(help="Your notebook, saved.", callback=a_file)],
    released: Annotated[
        Path | None,
        typer.Option(
            help="The notebook as it was given to you, where yours lost its checks.",
            callback=a_file,
        ),
    ] = None,
) -> None:
    """For students: run the checks of your notebook, and read what the grader would say of them.

    It runs your answers between the course's own cells, as the grader does, and needs no network.
    Hidden checks are not in it, and what people mark they mark later.

    Example: `d2lcompute self-check assignment.ipynb`
    """
    require("notebooks")
    from .attempt import Conditions
    from .selfcheck import is_ready, lines, unpack
    from .selfcheck import self_check as check

    try:
        known = unpack(released or notebook)
        result = check(notebook, known, Conditions(warm=False, allow_unisolated=True))
    except ValueError as error:
        fail(str(error), status=2)
    for line in lines(result, known.points):
        print(line)
    raise typer.Exit(not is_ready(result))


def gradescope(
    reference: Reference,
    to: Annotated[Path, typer.Option(help="The zip to write.")] = Path("autograder.zip"),
    allow_unisolated: Unisolated = False,
) -> None:
    """Make Gradescope's autograder zip: it grades each upload as `grade` does.

    Where Gradescope's machine has no way to hold code back, it refuses, unless you allow it.

    Example: `d2lcompute gradescope reference.md`
    """
    require("grading")
    from .assignment import load
    from .course import autograder_zip

    with defects():
        assignment = load(reference)
    to.write_bytes(autograder_zip(reference, assignment, allow_unisolated))
    print(to)


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
    from .grade import Workers, cluster, count_threads, processes

    if scheduler is not None:
        # While a thread grades one, the next is on its way.
        return Workers(lambda: cluster(scheduler), width=2 * count_threads(scheduler))
    count = jobs or count_cores()
    return Workers(lambda: processes(count), width=count)
