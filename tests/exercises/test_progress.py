"""Progress is the person's: wherever a notebook stands, in both languages, and resettable."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from stored_answers import defined

import d2lcompute as d2c
from d2lcompute.exercises import progress as records
from d2lcompute.exercises.exercise import SOLUTION, exercises

NAMES = [one.name for one in exercises()]
PARALLEL = defined(exercises()[1].material.answers[SOLUTION][0])


def states():
    return {row["exercise"]: row["state"] for row in d2c.progress().to_dict()["rows"]}


def test_what_passed_is_remembered_in_every_folder(said, tmp_path, monkeypatch):
    assert d2c.progress().notes == [f"0 of {len(NAMES)} exercises passed"]
    said("blocks.parallel", PARALLEL)
    said("blocks.factory", None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [name for name, state in states().items() if state == "passed"] == ["blocks.parallel"]
    assert d2c.progress().notes[0].startswith("1 of ")


def test_another_process_knows_it_too(said, tmp_path):
    said("blocks.parallel", PARALLEL)
    code = "import d2lcompute as d2c; print(d2c.progress().notes[0])"
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert shown == f"1 of {len(NAMES)} exercises passed\n"


def test_both_languages_share_it(said, chinese):
    said("blocks.parallel", PARALLEL)
    assert "已通过" in str(d2c.progress())
    d2c.language("en")
    assert "passed" in str(d2c.progress())


def test_it_can_be_reset(said):
    said("blocks.parallel", PARALLEL)
    assert set(dict(d2c.progress(reset=True).rows).values()) == {None}
    assert d2c.progress(reset=True).notes[0].startswith("0 of ")


def test_passing_twice_counts_once_and_next_is_what_is_left(said):
    for _ in range(2):
        assert said("blocks.parallel", PARALLEL)[-1] == "next  blocks.factory"
    assert d2c.progress().notes[0].startswith("1 of ")


def test_who_has_passed_all_is_told(said):
    for name in NAMES:
        records.note(passed=name)
    assert said("blocks.parallel", PARALLEL)[-1].startswith("next  nothing: you have passed all")


@pytest.mark.parametrize("broken", [b"{", b"\xff\xfe", b"[1]\n3\nnull\n", b'{"other": 1}\n'])
def test_what_is_broken_in_the_file_is_left_out(said, tmp_path, broken):
    file = tmp_path / "d2lcompute" / "progress.jsonl"
    file.parent.mkdir()
    file.write_bytes(broken + b"\n" + json.dumps({"passed": "blocks.super"}).encode() + b"\n")
    assert sum(state == "passed" for state in states().values()) == (broken != b"\xff\xfe")
    said("blocks.parallel", PARALLEL)


def test_where_nothing_can_be_written_checking_goes_on(said, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    lines = said("blocks.parallel", PARALLEL)
    assert any(line.startswith("Your progress could not be written down") for line in lines)


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".local/share"),
        ("darwin", "Library/Application Support"),
        ("win32", "AppData/Local"),
    ],
)
def test_the_file_lies_where_the_system_has_a_users_data(monkeypatch, platform, folder):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert records._file() == Path.home() / folder / "d2lcompute" / "progress.jsonl"
