"""The guide through a term: every command in it, run as printed, prints what stands below it."""

import csv
import doctest
import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

GUIDE = (Path(__file__).parent.parent / "docs" / "term.md").read_text(encoding="utf-8")
FENCED = re.finditer(r"<!-- (\S+) -->\n(`{3,})\w+\n(.*?)\n\2\n", GUIDE, re.DOTALL)
FILES = {match[1]: match[3] for match in FENCED}
STEPS = re.findall(r"```console\n\$ (d2lcompute [^\n]+)\n(.*?)```", GUIDE, re.DOTALL)
ANSWERS = {
    "Ada Lovelace_11": ("return X * self.weight", "It must learn."),
    "Bob Roe_12": ("return X + self.weight", "It is a number."),
    "张三_13": ("return self.weight * X", "It must be a parameter."),
    "Eve Adams_14": (None, None),
}
CODE = """# not allowed here: nn.Linear, .data, loop
class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, X):
        {}
"""


def run(command):
    program, name, *arguments = shlex.split(command)
    assert program == "d2lcompute"
    allowed = ["--allow-unisolated"] if name in ("grade", "replay") else []
    line = [sys.executable, "-m", "d2lcompute", name, *arguments, *allowed]
    return subprocess.run(line, capture_output=True, text=True, encoding="utf-8")


DRAFT = "super().__init__()\n        self.weight = nn.Linear(3, 3).weight[0]"


def draft():
    """Fill in the released notebook as one does who has not read the rule."""
    notebook = nbformat.read("release/assignment.ipynb", as_version=4)
    for cell in notebook.cells:
        name = cell.metadata.get("d2lcompute", {}).get("id")
        if name == "scale":
            cell.source = CODE.format("return X * self.weight")
            cell.source = re.sub(r"super.*\n.*", DRAFT, cell.source, count=1)
        if name == "why":
            cell.source = "It must learn."
    nbformat.write(notebook, "homework.ipynb")


def hand_in():
    """Fill in the released notebook, and zip the notebooks as Moodle does."""
    with zipfile.ZipFile("submissions.zip", "w") as archive:
        for student, (line, text) in ANSWERS.items():
            notebook = nbformat.read("release/assignment.ipynb", as_version=4)
            for cell in notebook.cells:
                name = cell.metadata.get("d2lcompute", {}).get("id")
                if name == "scale" and line:
                    cell.source = CODE.format(line)
                if name == "why" and text:
                    cell.source = text
            path = f"{student}_assignsubmission_file_/homework.ipynb"
            archive.writestr(path, nbformat.writes(notebook))


def type_into(path):
    """Type what the guide's table says."""
    table = re.search(r"\| question \|.*?\n\n", GUIDE, re.DOTALL)[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    typed = {tuple(row[:2]): dict(zip(cells[0][2:], row[2:], strict=True)) for row in cells[2:-1]}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(typed.pop((row["question"], row["submission"]), {}))
    assert not typed
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def term(tmp_path_factory):
    """A folder in which the guide was followed, and what each command printed: (wanted, got)."""
    folder, before = tmp_path_factory.mktemp("term"), Path.cwd()
    os.chdir(folder)
    try:
        Path("reference.md").write_text(FILES["reference.md"], encoding="utf-8")
        said = []
        for command, wanted in STEPS:
            if "report" in command:
                type_into(Path("results", "marking.csv"))
                for name in ("results/extensions.csv", "results/gradebook.csv"):
                    Path(name).write_text(FILES[name], encoding="utf-8")
            if "self-check" in command:
                draft()
            finished = run(command)
            said.append((command, wanted, finished.stdout, finished.returncode, finished.stderr))
            if "release" in command:
                hand_in()
    finally:
        os.chdir(before)
    return folder, said


def test_every_command_prints_what_stands_below_it(term):
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    assert len(term[1]) == 6
    for command, wanted, printed, status, errors in term[1]:
        lines = printed.replace(os.sep, "/").splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("grading "))
        assert (status, errors) == (int("self-check" in command), ""), command
        assert checker.check_output(wanted, text, flags), f"{command}\n{text}"


def test_the_marks_are_those_of_the_guide(term):
    text = Path(term[0], "results", "marks.csv").read_text(encoding="utf-8")
    assert text == FILES["results/marks.csv"] + "\n"


def test_the_platform_gets_back_its_rows_with_marks_and_feedback(term):
    with Path(term[0], "results", "gradebook-filled.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["Grade"] for row in rows] == ["9.5", "2.5", "7.2", "0"]
    assert "Please hand in the notebook that you were given." in rows[0]["Feedback comments"]
    assert "1 h 1 min late: 0.8 of 8 points are taken" in rows[2]["Feedback comments"]
    assert "Why does the optimizer not find it?" in rows[2]["Feedback comments"]


def test_what_students_read_says_nothing_of_the_hidden_check(term):
    for path in Path(term[0], "results", "gradescope").iterdir():
        tests = json.loads(path.read_text(encoding="utf-8"))["tests"]
        (hidden,) = [each["output"] for each in tests if each["name"] == "scale-gradient"]
        assert hidden in ("passed", "not passed")
