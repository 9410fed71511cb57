import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakekernel import FakeKernel
from handins import code, notebook
from waiting import wait_until

from d2lcompute.grading import grade as grading
from d2lcompute.grading.attempt import Conditions, NotIsolatedError
from d2lcompute.grading.results import Mark, Result
from d2lcompute.notebooks import console

REFERENCE = """---
jupytext:
  text_representation: {extension: .md, format_name: myst}
---

# Homework

```{code-cell} ipython3
:tags: [solution]
:d2lcompute: {"id": "x"}
x = 1.5
```

```{code-cell} ipython3
:tags: [check]
:d2lcompute: {"id": "c", "points": 3}
answer(x * draw) if "draw" in dir() else d2c.grading.answer(x * torch.rand(2))
```
"""


@pytest.fixture
def call(call, monkeypatch, tmp_path):
    """Call the command line beside a reference, with kernels that need none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Conditions, "start", lambda self: FakeKernel())
    Path("reference.md").write_text(REFERENCE, encoding="utf-8")
    return call


def hand_in(*names, source="x = 1.5"):
    Path("submissions").mkdir(exist_ok=True)
    for name in names:
        Path("submissions", f"{name}.ipynb").write_bytes(notebook(code(source, "x")))


@pytest.mark.parametrize("command", ["new", "release", "grade", "report"])
def test_every_command_has_help_with_an_example(call, command):
    status, output, _ = call(command, "--help")
    assert status == 0
    assert f"Example: d2lcompute {command}" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["release", "text.txt"], "text.txt can not be read as a notebook: Extension '.txt' is "),
        (["grade", "text.txt", "submissions"], "text.txt can not be read as a notebook: "),
    ],
)
def test_a_reference_that_is_none_is_a_finding(call, arguments, message):
    Path("text.txt").touch()
    status, output, errors = call(*arguments)
    assert (status, output) == (1, "")
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1
    assert len(errors) < 100


def test_every_defect_of_a_reference_is_a_line(call):
    broken = REFERENCE.replace('"points": 3', '"point": 3').replace('"id": "x"', '"id": "?"')
    Path("reference.md").write_text(broken, encoding="utf-8")
    for arguments in (["release", "reference.md"], ["grade", "reference.md", "submissions"]):
        status, _, errors = call(*arguments)
        assert status == 1
        assert [line[:18] for line in errors.splitlines()] == [
            "error: code cell 1",
            *2 * ["error: code cell 2"],
        ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["grade", "reference.md", "nowhere"], "`submissions` must be a folder, a zip, a notebook"),
        (["grade", "reference.md", ".", "--jobs", "0"], "Invalid value for '--jobs'"),
        (
            ["grade", "reference.md", "."],
            "`submissions` must hold notebooks, got ., which has none",
        ),
        (["grade", "reference.md"], "Missing argument"),
        (["report", "nowhere"], "`results` must be a folder with a results.jsonl, got nowhere"),
    ],
)
def test_wrong_use_exits_2_with_one_line(call, arguments, message):
    status, output, errors = call(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "package", "extra"),
    [
        (["release", "reference.md"], "ipykernel", "grading"),
        (["grade", "reference.md", "."], "jupytext", "grading"),
        (["report"], "ipykernel", "grading"),
        (["grade", "reference.md", ".", "--scheduler", "tcp://x:1"], "distributed", "cluster"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(call, monkeypatch, arguments, package, extra):
    monkeypatch.setattr(console, "installed", lambda name: None if name == package else "9999")
    status, _, errors = call(*arguments)
    assert status == 2
    assert errors.startswith(f"error: {package} is not installed; do pip install ")
    assert f"[{extra}]" in errors


def test_without_isolation_nothing_is_graded(call, monkeypatch):
    def refuse(*_):
        raise NotIsolatedError("student code can not be isolated here")

    hand_in("ada")
    monkeypatch.setattr(grading, "_grade_all", refuse)
    status, _, errors = call("grade", "reference.md", "submissions")
    assert status == 2
    assert "error: student code can not be isolated here" in errors


def test_grade_exits_0_whatever_the_marks(call, monkeypatch):
    hand_in("ada", "bob")
    monkeypatch.setattr(
        grading,
        "_grade_all",
        lambda task, waiting, *_: (Result(one.name, one.digest) for one in waiting),
    )
    status, output, errors = call("grade", "reference.md", "submissions")
    assert (status, errors) == (0, "")
    assert f"results{os.sep}results.jsonl: 2 graded, mean 0.0 of 3" in output


def test_grade_exits_1_where_one_was_not_graded(call, monkeypatch):
    hand_in("ada", "bob")
    monkeypatch.setattr(
        grading,
        "_grade_all",
        lambda task, waiting, *_: (
            Result(one.name, one.digest, trouble="no kernel" if one.name == "ada" else "")
            for one in waiting
        ),
    )
    status, output, errors = call("grade", "reference.md", "submissions")
    assert status == 1
    assert "1 graded, mean 0.0 of 3" in output
    assert errors == "error: ada was not graded: no kernel\n"


def test_an_interrupt_says_how_to_go_on(call, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    hand_in("ada")
    monkeypatch.setattr(grading, "_grade_all", interrupt)
    status, _, errors = call("grade", "reference.md", "submissions")
    assert status == 1
    assert errors == "error: stopped; the same command goes on where it was\n"


ATTACKED = Path(__file__).parents[1] / "attacks" / "reference.md"
HONEST = Path(__file__).parents[1] / "attacks" / "honest.ipynb"


@pytest.fixture
def crowd(tmp_path):
    """The arguments that grade a crowd of honest submissions, and the file of results."""
    folder = tmp_path / "crowd"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.ipynb").write_bytes(HONEST.read_bytes())
    options = ["--to", tmp_path, "--jobs", "1", "--allow-unisolated"]
    command = [sys.executable, "-m", "d2lcompute", "grade", ATTACKED, folder, *options]
    return [str(part) for part in command], tmp_path / "results.jsonl"


def wait_for_lines(path, count):
    wait_until(
        lambda: path.is_file() and path.read_bytes().count(b"\n") >= count,
        f"{count} lines in {path}",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_run_that_was_killed_goes_on_and_grades_nothing_twice(crowd):
    command, results = crowd
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as killed:
        wait_for_lines(results, 2)
        killed.send_signal(signal.SIGKILL)
    before = results.read_bytes()
    finished = subprocess.run(command, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert results.read_bytes().startswith(before[: before.rfind(b"\n")])
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()[1:]]
    assert sorted(line["submission"] for line in lines) == list("0123")
    assert "4 graded, mean 15.0 of 15" in finished.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="containers are Linux")
def test_where_namespaces_are_not_allowed_marks_stay_and_the_level_is_told(tmp_path):
    container = Path(__file__).parents[1] / "helpers" / "container.py"
    around = ["unshare", "-Ur", sys.executable, str(container)]
    probe = "from d2lcompute.notebooks.isolation import why_not; print(why_not('landlock'))"
    level = subprocess.run([*around, sys.executable, "-c", probe], capture_output=True, text=True)
    if level.stdout != "None\n":
        pytest.skip(f"landlock cannot be had here: {level.stdout}{level.stderr}")
    attacks = Path(__file__).parents[1] / "attacks"
    (tmp_path / "submissions").mkdir()
    for name in ("honest", "read_the_reference"):
        shutil.copy(attacks / f"{name}.ipynb", tmp_path / "submissions")
    command = [sys.executable, "-m", "d2lcompute", "grade", attacks / "reference.md"]
    command += [tmp_path / "submissions", "--to", tmp_path / "results"]
    found = subprocess.run([*around, *command], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "2 graded, mean 13.5 of 15" in found.stdout
    assert found.stderr.startswith("note: 2 of 2 had isolation 'landlock, memory ")
    assert "' only: names, sizes" in found.stderr
    assert found.stderr.count("\n") == 1


def fake_results(monkeypatch, asked):
    """Grade without kernels: each check that is asked is passed, and noted in `asked`."""

    def grade_all(task, waiting, *_):
        for one in waiting:
            checks = list(task._seeds(one))
            asked.append((one.name, checks))
            versions = task.assignment.versions
            marks = tuple(Mark(c, 3.0, True, False, version=versions[c]) for c in checks)
            yield Result(one.name, one.digest, marks, sources=one.solutions)

    monkeypatch.setattr(grading, "_grade_all", grade_all)


TWO_CHECKS = (
    REFERENCE
    + """
```{code-cell} ipython3
:tags: [check]
:d2lcompute: {"id": "d", "points": 2}
answer(-x * draw) if "draw" in dir() else d2c.grading.answer(-x * torch.rand(2))
```
"""
)


@pytest.fixture
def asked(monkeypatch):
    found = []
    fake_results(monkeypatch, found)
    Path("reference.md").write_text(TWO_CHECKS, encoding="utf-8")
    hand_in("ada", "bob")
    return found


def test_only_some_checks_of_some_students_are_graded_where_that_is_asked(call, asked):
    grade = ["grade", "reference.md", "submissions"]
    assert call(*grade, "--student", "ada", "--only", "d")[0] == 0
    assert asked == [("ada", ["d"])]
    call(*grade)
    assert asked[1:] == [("ada", ["c"]), ("bob", ["c", "d"])]
    call(*grade)
    assert asked[3:] == []
    call(*grade, "--force", "--student", "bob")
    assert asked[3:] == [("bob", ["c", "d"])]
    call(*grade, "--force", "--only", "c")
    assert asked[4:] == [("ada", ["c"]), ("bob", ["c"])]


def test_a_changed_check_is_asked_again_and_nothing_else(call, asked):
    call("grade", "reference.md", "submissions")
    changed = TWO_CHECKS.replace("answer(-x * draw)", "answer(-x - draw)")
    Path("reference.md").write_text(changed, encoding="utf-8")
    call("grade", "reference.md", "submissions")
    assert asked[2:] == [("ada", ["d"]), ("bob", ["d"])]


def test_who_is_not_handed_in_any_more_stays_and_is_told(call, asked):
    grade = ["grade", "reference.md", "submissions"]
    assert call(*grade)[2] == ""
    Path("submissions", "bob.ipynb").unlink()
    status, printed, errors = call(*grade)
    assert (status, "2 graded" in printed) == (0, True)
    told = "note: 1 of 2 results are not of these submissions and stay, the first is bob\n"
    assert errors == told


@pytest.mark.parametrize(("option", "name"), [("--student", "adah"), ("--only", "e")])
def test_an_unknown_name_leads_to_the_known_ones(call, asked, option, name):
    status, _, errors = call("grade", "reference.md", "submissions", option, name)
    assert (status, asked) == (2, [])
    assert errors.startswith(f"error: `{option[2:]}` must be one of 2 names, got {name}; do ")


def test_report_reads_what_people_put_into_the_folder(call, asked):
    call("grade", "reference.md", "submissions")
    table = Path("results", "marking.csv").read_text(encoding="utf-8")
    typed = table.replace("c,ada,3,3,,,,", "c,ada,3,3,1,see page 3,kim,")
    Path("results", "marking.csv").write_text(typed, encoding="utf-8")
    gradebook = "Student,ID,Homework (1)\nada,5,\neve,6,\n"
    Path("results", "gradebook.csv").write_text(gradebook, encoding="utf-8")
    status, output, errors = call("report")
    assert status == 1
    assert errors == "note: gradebook.csv: bob is not in it\n"
    assert "gradebook-filled.csv" in output
    filled = Path("results", "gradebook-filled.csv").read_text(encoding="utf-8")
    assert filled == "Student,ID,Homework (1)\nada,5,3\neve,6,\n"
    assert "see page 3" in Path("results", "gradescope", "ada.json").read_text(encoding="utf-8")


def test_report_without_names_names_nobody(call, asked):
    call("grade", "reference.md", "submissions")
    status, output, _ = call("report", "--anonymous")
    assert status == 0
    folder = Path("results", "anonymous")
    assert {Path(line).parents[-2] for line in output.splitlines()} == {Path("results")}
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    assert len(texts) == 8
    assert not any(re.search(r"\b(ada|bob)\b", text) for text in texts)


def test_a_cell_that_can_not_be_read_is_a_line(call, asked):
    call("grade", "reference.md", "submissions")
    path = Path("results", "marking.csv")
    text = path.read_text(encoding="utf-8").replace("c,ada,3,3,,", "c,ada,3,3,many,")
    path.write_text(text, encoding="utf-8")
    status, _, errors = call("report")
    assert status == 2
    assert errors.startswith("error: marking.csv, line 4: `points` must be a number from 0 to 3")
    assert path.read_text(encoding="utf-8") == text


def test_report_lists_what_it_wrote(call, asked):
    call("grade", "reference.md", "submissions")
    status, output, _ = call("report")
    assert status == 0
    assert all(Path(line).is_file() for line in output.splitlines())
    assert [Path(line).name for line in output.splitlines()] == [
        "report.html",
        "marks.csv",
        "questions.csv",
        "report.json",
        "junit.xml",
        "ada.json",
        "bob.json",
    ]


def test_report_says_whose_marks_are_not_up_to_date(call, asked):
    call("grade", "reference.md", "submissions", "--only", "c", "--student", "ada")
    status, _, errors = call("report")
    assert status == 1
    assert errors == (
        "note: marks of 1 of 1 submissions are missing or not up to date, the first is ada; "
        "do grade\n"
    )
    call("grade", "reference.md", "submissions")
    assert call("report")[0] == 0
