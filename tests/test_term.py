"""The guide through a term, in both languages: its commands print what stands below them."""

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

GUIDES = {
    language: (Path(__file__).parent.parent / "docs" / language / "guides" / "term.md").read_text(
        encoding="utf-8"
    )
    for language in ("en", "zh")
}


def files(guide):
    """Return the files that the guide writes, by name."""
    fenced = re.finditer(r"<!-- (\S+) -->\n(`{3,})\w+\n(.*?)\n\2\n", guide, re.DOTALL)
    return {match[1]: match[3] for match in fenced}


def steps(guide):
    """Return the commands of the guide, each with what it prints."""
    return re.findall(r"```console\n\$ (d2lcompute [^\n]+)\n(.*?)```", guide, re.DOTALL)


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


def to_type(guide):
    """Return what the guide's table says: columns by question and submission."""
    table = re.search(r"\| question \|.*?\n\n", guide, re.DOTALL)[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]
    return {tuple(row[:2]): dict(zip(cells[0][2:], row[2:], strict=True)) for row in cells[2:-1]}


def type_into(path, guide):
    """Type what the guide's table says."""
    typed = to_type(guide)
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row.update(typed.pop((row["question"], row["submission"]), {}))
    assert not typed
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module", params=GUIDES)
def term(request, tmp_path_factory):
    """A guide, a folder in which it was followed, what each command printed: (wanted, got)."""
    guide = GUIDES[request.param]
    folder, before = tmp_path_factory.mktemp("term"), Path.cwd()
    os.chdir(folder)
    try:
        Path("reference.md").write_text(files(guide)["reference.md"], encoding="utf-8")
        said = []
        for command, wanted in steps(guide):
            if "report" in command:
                type_into(Path("results", "marking.csv"), guide)
                for name in ("results/extensions.csv", "results/gradebook.csv"):
                    Path(name).write_text(files(guide)[name], encoding="utf-8")
            if "self-check" in command:
                draft()
            finished = run(command)
            said.append((command, wanted, finished.stdout, finished.returncode, finished.stderr))
            if "release" in command:
                hand_in()
    finally:
        os.chdir(before)
    return guide, folder, said


def test_every_command_prints_what_stands_below_it(term):
    checker, flags = doctest.OutputChecker(), doctest.ELLIPSIS
    _, _, said = term
    assert len(said) == 6
    for command, wanted, printed, status, errors in said:
        lines = printed.replace(os.sep, "/").splitlines(keepends=True)
        text = "".join(line for line in lines if not line.startswith("grading "))
        assert (status, errors) == (int("self-check" in command), ""), command
        assert checker.check_output(wanted, text, flags), f"{command}\n{text}"


def test_the_marks_are_those_of_the_guide(term):
    guide, folder, _ = term
    text = Path(folder, "results", "marks.csv").read_text(encoding="utf-8")
    assert text == files(guide)["results/marks.csv"] + "\n"


def test_the_platform_gets_back_its_rows_with_marks_and_feedback(term):
    guide, folder, _ = term
    with Path(folder, "results", "gradebook-filled.csv").open(encoding="utf-8") as file:
        rows = {row["Full name"]: row for row in csv.DictReader(file)}
    assert [row["Grade"] for row in rows.values()] == ["9.5", "2.5", "7.2", "0"]
    assert "1 h 1 min late: 0.8 of 8 points are taken" in rows["张三"]["Feedback comments"]
    for (_, submission), typed in to_type(guide).items():
        feedback = rows[submission.partition(" (")[0]]["Feedback comments"]
        assert typed["comment"] in feedback


def test_what_students_read_says_nothing_of_the_hidden_check(term):
    for path in Path(term[1], "results", "gradescope").iterdir():
        tests = json.loads(path.read_text(encoding="utf-8"))["tests"]
        (hidden,) = [each["output"] for each in tests if each["name"] == "scale-gradient"]
        assert hidden in ("passed", "not passed")


def test_both_languages_give_the_same_commands():
    assert steps(GUIDES["zh"]) == steps(GUIDES["en"])
