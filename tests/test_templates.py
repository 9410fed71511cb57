"""The CI templates: whole, and without a way for a student's code to a secret."""

import re
from pathlib import Path

import pytest
import yaml

from d2lcompute import __main__ as command_line

TEMPLATES = Path(__file__).parent.parent / "templates"
every_template = pytest.mark.parametrize(
    "path", sorted(TEMPLATES.glob("*.yml")), ids=lambda path: path.stem
)


def load(name):
    return yaml.safe_load((TEMPLATES / name).read_text(encoding="utf-8"))


@every_template
def test_every_template_is_yaml_whose_jobs_do_something(path):
    content = load(path.name)
    jobs = content.get("jobs") or {name: content[name] for name in content["stages"]}
    for job in jobs.values():
        steps = job.get("steps") or job["script"]
        assert all(isinstance(step, str) or "run" in step or "uses" in step for step in steps)


@pytest.mark.parametrize("name", ["github-grade.yml", "gitlab-grade.yml"])
def test_where_student_code_runs_the_way_around_apparmor_is_told(name):
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0" in text


def test_every_action_is_pinned_to_one_commit_everywhere():
    pins = {}
    for path in [*TEMPLATES.glob("*.yml"), *(TEMPLATES.parent / ".github").rglob("*.yml")]:
        for action, pin in re.findall(r"uses: ([\w/-]+)@(.*)", path.read_text(encoding="utf-8")):
            assert re.fullmatch(r"[0-9a-f]{40} # v[\d.]+", pin), (path, action)
            assert pins.setdefault(action, pin) == pin, (path, action)
    assert pins


@every_template
def test_no_template_runs_on_what_others_push(path):
    assert "pull_request" not in path.read_text(encoding="utf-8")


def test_on_github_the_job_that_grades_has_no_secret():
    jobs = load("github-grade.yml")["jobs"]
    assert "secrets." in str(jobs["collect"])
    assert "secrets." not in str(jobs["grade"])
    assert jobs["grade"]["permissions"] == {"contents": "read"}
    checkouts = [step for job in jobs.values() for step in job["steps"] if "checkout" in str(step)]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_on_gitlab_the_job_that_grades_has_no_token():
    jobs = load("gitlab-grade.yml")
    assert "STUDENTS_READ_TOKEN" in str(jobs["collect"]["script"])
    assert "environment" not in jobs["grade"]
    assert "TOKEN" not in str(jobs["grade"])


@pytest.mark.parametrize("name", ["github-grade.yml", "gitlab-grade.yml"])
def test_only_notebooks_leave_a_students_repository(name):
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert "find . -type f -name '*.ipynb'" in text  # no links


@every_template
def test_commands_are_those_of_the_command_line(path, monkeypatch, capsys):
    lines = re.findall(r"`?d2lcompute ((?:grade|report|open)[^`\n]*)", path.read_text("utf-8"))
    assert lines
    for line in lines:
        command, *arguments = line.split()
        monkeypatch.setattr("sys.argv", ["d2lcompute", command, "--help"])
        with pytest.raises(SystemExit, match=r"0|None"):
            command_line.main()
        shown = capsys.readouterr().out
        assert all(option in shown for option in arguments if option.startswith("--"))
