import yaml

from d2lcompute.grading import course
from d2lcompute.grading.assignment import parse, read_notebook
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
