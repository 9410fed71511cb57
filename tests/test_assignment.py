"""The chapter's assignment: its two languages, its release, and samples graded end to end."""

import csv
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import nbformat
import pytest

from d2lcompute.grading.assignment import parse, read_notebook
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.grade import Workers, cluster, grade, processes
from d2lcompute.grading.report import settle, write_reports
from d2lcompute.grading.results import Journal
from d2lcompute.grading.submissions import find

ROOT = Path(__file__).parent.parent
ASSIGNMENT = ROOT / "chapters" / "assignment"
REFERENCE = ASSIGNMENT / "reference.md"
SUBMISSIONS = Path(__file__).parent / "submissions"
LANGUAGES = ("en", "zh")
sys.path.insert(0, str(SUBMISSIONS))
spec = importlib.util.spec_from_file_location("submissions_make", SUBMISSIONS / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

EARNED = {
    "honest": 100,
    "messy": 100,
    "partly": 63,
    "mistaken": 29,
    "unfinished": 10,
    "empty": 0,
    "broken": 0,
}


def run(*arguments, **options):
    command = [sys.executable, "-m", "d2lcompute", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", **options)


def marks(folder):
    with (folder / "marks.csv").open(encoding="utf-8") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def notebook():
    return read_notebook(REFERENCE)


def test_ten_questions_are_worth_a_hundred_points(notebook):
    assignment = parse(notebook)
    assert len(assignment.solutions) == 10
    assert assignment.points == 100
    assert sum(check.points for check in assignment.checks.values() if check.hidden) > 50


def test_every_passage_exists_in_both_languages(notebook):
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    assert [cell.metadata.lang for cell in prose] == list(LANGUAGES) * (len(prose) // 2)
    for english, chinese in zip(prose[::2], prose[1::2], strict=True):
        for mark in (r"^#+ ", r"^\* ", r"\]\(", r"`", r"\$", r"\*\*"):
            found = [len(re.findall(mark, cell.source, re.M)) for cell in (english, chinese)]
            assert found[0] == found[1], f"{mark} in {english.source[:80]!r}"


def test_each_passage_is_written_in_its_language(notebook):
    for cell in notebook.cells:
        has_chinese = re.search("[\u4e00-\u9fff]", cell.source) is not None
        assert has_chinese == (cell.metadata.get("lang") == "zh"), cell.source[:80]


def test_points_in_the_headings_are_those_of_the_checks(notebook):
    assignment = parse(notebook)
    prose = "\n".join(cell.source for cell in notebook.cells)
    told = [int(points) for points in re.findall(r"^## .*\((\d+) points\)", prose, re.MULTILINE)]
    told_in_chinese = [int(n) for n in re.findall(r"^## .*（(\d+) 分）", prose, re.MULTILINE)]
    by_question, points = [], 0.0
    for cell in assignment.cells[::-1]:
        points += cell.points
        if cell.tag == "solution":
            by_question, points = [points, *by_question], 0.0
    assert told == told_in_chinese == by_question


def test_no_solution_and_no_hidden_check_is_released(notebook):
    assignment = parse(notebook)
    for language in LANGUAGES:
        released = nbformat.read(ASSIGNMENT / language / "assignment.ipynb", as_version=4)
        text = "\n".join(cell.source for cell in released.cells)
        assert "SOLUTION" not in text
        for check in assignment.checks.values():
            assert (check.source in text) == (not check.hidden)


def test_samples_are_made_from_what_is_released():
    for name, text in make.samples():
        assert (SUBMISSIONS / f"{name}.ipynb").read_text(encoding="utf-8") == text


@pytest.fixture(scope="module")
def instructed(tmp_path_factory):
    """A folder in which the README's commands for instructors ran, and what they printed."""
    folder = tmp_path_factory.mktemp("instructed")
    for part in ("chapters/assignment", "tests/submissions"):
        shutil.copytree(ROOT / part, folder / part)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## Grading\n.*?```sh\n(.*?)```", readme, re.DOTALL)[1]
    install, new, *commands = block.splitlines()
    assert install == 'pip install ".[grading]" -c constraints.txt'
    assert new == "d2lcompute new course"  # test_course holds it
    commands.insert(0, "d2lcompute release chapters/assignment/reference.md")
    said = {}
    for command in commands:
        program, name, *arguments = command.split()
        allowed = ["--allow-unisolated"] if name == "grade" else []
        finished = run(name, *arguments, *allowed, cwd=folder)
        assert (program, finished.returncode, finished.stderr) == ("d2lcompute", 0, "")
        said[name] = finished.stdout
    return folder, said


@pytest.fixture(scope="module")
def graded(instructed):
    """The folder with the samples' results and reports."""
    return instructed[0] / "results"


def test_the_readmes_commands_lead_to_a_graded_folder(instructed):
    folder, said = instructed
    assert list(said) == ["release", "grade", "report"]
    assert "7 graded, mean 43.1 of 100" in said["grade"]
    for name in ("release", "report"):
        assert all((folder / path).is_file() for path in said[name].splitlines())


def test_what_is_released_is_what_the_reference_releases(instructed):
    folders = instructed[0] / "release", ASSIGNMENT
    for language in LANGUAGES:
        name = Path(language, "assignment.ipynb")
        written = [nbformat.read(folder / name, as_version=4) for folder in folders]
        for book in written:  # digits differ between machines
            book.metadata["d2lcompute"]["self-check"].pop("answers")
            for cell in book.cells:
                cell.pop("outputs", None)
        assert written[0] == written[1]


def test_samples_earn_what_they_are_worth(graded):
    assert {name: float(row["earned"]) for name, row in marks(graded).items()} == EARNED
    assert marks(graded)["broken"]["state"] == "unreadable"


def test_every_hidden_check_catches_a_mistake(graded, notebook):
    mistaken = marks(graded)["mistaken"]
    hidden = [check for check in parse(notebook).checks.values() if check.hidden]
    assert {check.id: mistaken[check.id] for check in hidden} == dict.fromkeys(
        (check.id for check in hidden), "0"
    )


def test_marks_are_the_same_cold_and_from_a_zip(graded, tmp_path):
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        data = (SUBMISSIONS / "partly.ipynb").read_bytes()
        opened.writestr("partly_1_assignsubmission_file_/homework.ipynb", data)
    options = ("--cold", "--jobs", 1, "--allow-unisolated", "--to", tmp_path)
    assert run("grade", REFERENCE, archive, *options).returncode == 0
    assert run("report", tmp_path).returncode == 0
    cold = marks(tmp_path)["partly (1)"]
    assert {**cold, "submission": "partly"} == marks(graded)["partly"]


class Unisolated(Conditions):
    """Kernels have all rights, as where nothing holds them back."""

    isolation = None


@pytest.fixture
def regraded(notebook, tmp_path):
    """Grade the samples otherwise than the command does, and return their marks."""

    def run(workers, conditions=None, show=lambda progress: None):
        assignment = parse(notebook)
        journal = Journal.start(tmp_path, assignment)
        found = find(SUBMISSIONS, assignment).submissions
        grade(
            assignment,
            found,
            journal,
            conditions or Conditions(allow_unisolated=True),
            workers,
            show,
        )
        write_reports(journal.heading, settle(journal, tmp_path), tmp_path)
        return marks(tmp_path)

    return run


def test_marks_are_the_same_without_isolation_and_in_one_process(graded, regraded):
    workers = Workers(partial(processes, 1), 1)
    assert regraded(workers, Unisolated()) == marks(graded)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_marks_are_the_same_on_a_cluster_that_loses_a_worker(graded, regraded, local_cluster):
    victims = [next(iter(local_cluster.workers.values())).pid]

    def kill(progress):
        while victims:
            os.kill(victims.pop(), signal.SIGKILL)

    workers = Workers(partial(cluster, local_cluster.scheduler_address), 4)
    assert regraded(workers, show=kill) == marks(graded)
    assert not victims
