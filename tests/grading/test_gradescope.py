import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from d2lcompute.grading.assignment import load
from d2lcompute.grading.gradescope import build

ATTACKS = Path(__file__).parents[1] / "attacks"
REFERENCE = ATTACKS / "reference.md"


@pytest.fixture
def autograder(tmp_path):
    """A folder as Gradescope makes it of the zip and of an upload."""
    if sys.platform != "linux" or not shutil.which("bash"):
        pytest.skip("Gradescope's machines are Linux")
    data = build(REFERENCE, load(REFERENCE), allow_unisolated=True)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "source")
    (tmp_path / "environment").symlink_to(sys.prefix)
    (tmp_path / "submission").mkdir()
    return tmp_path


def run(folder, *uploads):
    for upload in uploads:
        shutil.copy(upload, folder / "submission")
    command = ["bash", folder / "source" / "run_autograder"]
    clean = {"AUTOGRADER": str(folder), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, env=clean, capture_output=True, text=True)


def test_an_upload_is_graded_in_a_clean_root_as_everywhere(autograder):
    finished = run(autograder, ATTACKS / "honest.ipynb")
    assert finished.returncode == 0, finished.stderr
    found = json.loads((autograder / "results" / "results.json").read_text(encoding="utf-8"))
    assert found["score"] == load(REFERENCE).points
    assert {each["status"] for each in found["tests"]} == {"passed"}


def test_two_notebooks_with_answers_are_told(autograder):
    finished = run(autograder, ATTACKS / "honest.ipynb", ATTACKS / "longer.ipynb")
    assert finished.returncode == 1
    assert finished.stderr.endswith("2 notebooks hold answers of this assignment; hand in one\n")


def test_the_zip_holds_all_that_is_needed_and_is_the_same_each_time():
    assignment = load(REFERENCE)
    data = build(REFERENCE, assignment, allow_unisolated=False)
    assert data == build(REFERENCE, assignment, allow_unisolated=False)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        script = archive.read("run_autograder").decode()
    assert list(names) == ["setup.sh", "run_autograder", "reference.md"]
    assert names["run_autograder"] == names["setup.sh"] == 0o755
    assert "--allow-unisolated" not in script
