import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from d2lcompute.grading import course
from d2lcompute.grading.assignment import load, parse, read_notebook
from d2lcompute.grading.course import autograder_zip
from d2lcompute.notebooks import published


def workflows(folder):
    return [*folder.rglob("*.yml")]


def packages(folder):
    loaded = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in workflows(folder)]
    return {(each.get("env") or each["variables"])["PACKAGE"] for each in loaded}


def test_a_course_starts_with_an_assignment_that_can_be_graded(tmp_path):
    written, kept = course.start(tmp_path)
    assert kept == []
    assert sorted(written) == sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert parse(read_notebook(tmp_path / "reference.md")).solutions


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "reference.md").write_text("mine", encoding="utf-8")
    written, kept = course.start(tmp_path)
    assert kept == [tmp_path / "reference.md"]
    assert (tmp_path / "reference.md").read_text(encoding="utf-8") == "mine"
    assert tmp_path / "constraints.txt" in written


def test_workflows_install_the_package_from_where_it_is_said_to_be(tmp_path, monkeypatch):
    course.start(tmp_path / "said", "git+https://example.org/copy")
    copy = "@ git+https://example.org/copy"
    assert packages(tmp_path / "said") == {
        f"d2lcompute[grading] {copy}",
        f"d2lcompute[notebooks] {copy}",
    }
    monkeypatch.setattr(published, "REPOSITORY", "https://example.org/one")
    course.start(tmp_path / "known")
    assert "d2lcompute[grading] @ git+https://example.org/one" in packages(tmp_path / "known")


def test_every_workflow_installs_the_versions_that_are_beside_it(tmp_path):
    course.start(tmp_path)
    for path in workflows(tmp_path):
        assert "pip install -c constraints.txt " in path.read_text(encoding="utf-8")
    assert "torch==" in (tmp_path / "constraints.txt").read_text(encoding="utf-8")
    assert (tmp_path / "for-students" / "constraints.txt").is_file()


def test_until_it_is_published_a_warning_says_what_is_left_to_do(call, tmp_path):
    status, output, errors = call("new", tmp_path / "course")
    assert status == 0
    assert "reference.md" in output
    assert errors.startswith("warning: this package is on no index yet; set PACKAGE")
    assert call("new", tmp_path / "other", "--url", "git+https://example.org/copy")[2] == ""
    assert "kept as it was" in call("new", tmp_path / "other")[1]


ATTACKS = Path(__file__).parents[1] / "attacks"
REFERENCE = ATTACKS / "reference.md"


@pytest.fixture
def autograder(tmp_path):
    """A folder as Gradescope makes it of the zip and of an upload."""
    if sys.platform != "linux" or not shutil.which("bash"):
        pytest.skip("Gradescope's machines are Linux")
    data = autograder_zip(REFERENCE, load(REFERENCE), allow_unisolated=True)
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
    data = autograder_zip(REFERENCE, assignment, allow_unisolated=False)
    assert data == autograder_zip(REFERENCE, assignment, allow_unisolated=False)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        script = archive.read("run_autograder").decode()
    assert list(names) == ["setup.sh", "run_autograder", "reference.md"]
    assert names["run_autograder"] == names["setup.sh"] == 0o755
    assert "--allow-unisolated" not in script
