import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ATTACKS = Path(__file__).parents[1] / "attacks"
# What pytest reads near its arguments, or below them.
HOSTILE = {
    "conftest.py": "import os; os._exit(77)",
    "ada/conftest.py": "import os; os._exit(77)",
    "test_x.py": "import os; os._exit(77)",
    "ada/x_test.py": "import os; os._exit(77)",
    "evil.py": '""">>> import os; os._exit(77)"""\nimport os; os._exit(77)',
    "test_doc.txt": ">>> import os; os._exit(77)\n",
    "setup.py": "import os; os._exit(77)",
    "pytest.ini": "[pytest]\naddopts = -p evil --doctest-modules\npythonpath = .\n",
    "ada/tox.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p evil"\npythonpath = ["."]\n',
    "setup.cfg": "[tool:pytest]\naddopts = -p evil\npythonpath = .\n",
}


@pytest.fixture
def submissions(tmp_path):
    """An honest and a dishonest submission, and a file that is no notebook."""
    shutil.copy(ATTACKS / "reference.md", tmp_path)
    folder = tmp_path / "submissions"
    folder.mkdir()
    for name in ("honest", "edited_outputs"):
        shutil.copy(ATTACKS / f"{name}.ipynb", folder)
    (folder / "torn.ipynb").write_text("{", encoding="utf-8")
    return folder


def run(submissions, *arguments):
    command = [sys.executable, "-m", "d2lcompute", "pytest", "reference.md", str(submissions)]
    command += ["--allow-unisolated", "-p", "no:cacheprovider", *arguments]
    wide = {**os.environ, "COLUMNS": "200"}  # or the summary's lines are cut
    cwd = submissions.parent
    return subprocess.run(command, cwd=cwd, env=wide, capture_output=True, text=True)


def test_every_check_is_an_item_of_its_submission(submissions, tmp_path):
    finished = run(submissions, "-rA", "--junitxml", "junit.xml")
    assert finished.returncode == 1
    assert "isolation: " in finished.stdout
    for line in (
        "PASSED reference.md::honest::twice-hidden",
        "PASSED reference.md::edited_outputs::flip-shown",
        "FAILED reference.md::edited_outputs::twice-shown",
        "FAILED reference.md::edited_outputs::twice-hidden",
        "FAILED reference.md::torn::flip-shown",
        "the answer must be a tensor: got None",
        "not passed",
        "the file is not a notebook: ",
        "6 failed, 6 passed",
    ):
        assert line in finished.stdout
    cases = ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
    points = {case.get("name"): case.find(".//property[@name='points']") for case in cases}
    assert points["flip-hidden"].get("value") == "8"


def test_one_check_can_be_chosen(submissions):
    finished = run(submissions, "-k", "flip-hidden and not torn", "--collect-only", "-q")
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[:2] == [
        "reference.md::edited_outputs::flip-hidden",
        "reference.md::honest::flip-hidden",
    ]


@pytest.mark.parametrize("where", [".", "submissions/ada"])
def test_no_file_among_the_submissions_but_a_notebook_is_read(submissions, where):
    (submissions / "ada").mkdir()
    (submissions / "honest.ipynb").rename(submissions / "ada" / "honest.ipynb")
    for name, text in HOSTILE.items():
        (submissions / name).write_text(text, encoding="utf-8")
    # As `d2lcompute` on the path; `python -m` would itself import from the folder it starts in.
    command = [sys.executable, "-c", "import sys; del sys.path[0]; import d2lcompute.__main__ as m"]
    command[-1] += "; m.main()"
    reference = submissions.parent / "reference.md"
    command += ["pytest", str(reference), str(submissions), "--allow-unisolated", "-rA"]
    cwd = submissions.parent / where
    finished = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert "6 failed, 6 passed" in finished.stdout, finished.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--d2l-reference=reference.md", "submissions"],  # of the first edition
        ["--d2l-submissions=submissions", "reference.md"],
        ["--d2l-submissions=submissions", "--noconftest", "submissions"],
        ["--d2l-submissions=submissions", "--noconftest", "-c", "x.ini", "reference.md", "."],
    ],
)  # fmt: skip
def test_pytest_itself_is_refused_before_it_reads_a_conftest(submissions, tmp_path, arguments):
    (submissions / "conftest.py").write_text("open('../ran', 'w')", encoding="utf-8")
    (tmp_path / "x.ini").write_text("[pytest]\n", encoding="ascii")
    command = [sys.executable, "-m", "pytest", "-p", "d2lcompute.grading.plugin", *arguments]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "do d2lcompute pytest REFERENCE SUBMISSIONS" in finished.stderr
    assert not list(tmp_path.glob("**/ran"))


def test_more_paths_are_refused(submissions):
    finished = run(submissions, str(submissions))
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert "do d2lcompute pytest REFERENCE SUBMISSIONS" in finished.stderr


@pytest.mark.parametrize(
    ("text", "message", "status"),
    [
        (None, "which is not there; do write its path", 2),
        ("# Nothing\n", "no cell has the tag check", pytest.ExitCode.USAGE_ERROR),
    ],
)
def test_a_reference_that_is_none_is_wrong_use(submissions, tmp_path, text, message, status):
    reference = tmp_path / "reference.md"
    reference.unlink()
    if text is not None:
        reference.write_text(text, encoding="utf-8")
    finished = run(submissions)
    assert finished.returncode == status
    assert message in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


def test_submissions_that_are_none_are_wrong_use(submissions):
    shutil.rmtree(submissions)
    finished = run(submissions)
    assert finished.returncode != 0
    assert "`submissions` must be a folder" in finished.stdout + finished.stderr
