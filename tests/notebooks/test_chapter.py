import json
import os
import sys

import pytest

from d2lcompute.notebooks import chapter
from d2lcompute.notebooks.chapter import run_session


def test_find_gives_every_notebook_in_the_chapters_order():
    found = [(path.parent.name, path.name) for path in chapter.find()]
    assert [language for language, _ in found[:4]] == ["en", "zh", "en", "zh"]
    assert [name for _, name in found] == sorted(name for _, name in found)


@pytest.mark.parametrize("section", ["blocks", "1_blocks"])
def test_find_knows_a_section_by_its_name_and_by_its_files_name(section):
    assert [path.stem for path in chapter.find([section], ["zh"])] == ["1_blocks"]


def test_find_refuses_an_unknown_section_and_lists_the_known():
    with pytest.raises(ValueError, match=r"`section` must be one of .*blocks, .*, got 'block'"):
        chapter.find(["block"])


def test_find_refuses_an_unknown_language():
    with pytest.raises(ValueError, match=r"`lang` must be one of en, zh, got 'de'"):
        chapter.find(languages=["de"])


def test_copy_out_keeps_what_a_student_changed(tmp_path):
    copied, kept = chapter.copy_out(tmp_path / "new", ["en"])
    assert kept == []
    assert [path.name for path in copied] == [path.name for path in chapter.find(languages=["en"])]
    copied[0].write_text("my work", encoding="utf-8")
    again, kept = chapter.copy_out(tmp_path / "new", ["en"])
    assert again == []
    assert kept == copied
    assert copied[0].read_text(encoding="utf-8") == "my work"


def code_cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_copies_have_no_outputs_below_exercises_and_all_others(tmp_path):
    copied, _ = chapter.copy_out(tmp_path, ["zh"])
    for source, copy in zip(chapter.find(languages=["zh"]), copied, strict=True):
        for before, after in zip(code_cells(source), code_cells(copy), strict=True):
            if "d2c.check(" in "".join(before["source"]):
                before |= {"outputs": [], "execution_count": None}
            assert after == before
    assert any("d2c.check(" in "".join(cell["source"]) for cell in code_cells(copied[0]))


def test_copies_can_be_had_without_any_outputs(tmp_path):
    copied, _ = chapter.copy_out(tmp_path, ["en"], clear=True)
    for path in copied:
        for cell in code_cells(path):
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


def test_a_copy_that_nothing_is_cleared_in_keeps_its_bytes(tmp_path):
    copied, _ = chapter.copy_out(tmp_path, ["en"])
    sources = chapter.find(languages=["en"])
    unlike = [c for c, s in zip(copied, sources, strict=True) if c.read_bytes() != s.read_bytes()]
    assert all(b"d2c.check(" in path.read_bytes() for path in unlike)


class Counter:
    def __init__(self):
        self.names = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call":
            self.names.append(report.nodeid)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a test, and around it all that could disturb a session."""
    (tmp_path / "test_it.py").write_text("def test_it(): print('heard')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    monkeypatch.setenv("PYTEST_PLUGINS", "no_such_plugin")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_nothing_around_it_has_a_part_in_it_and_nothing_stays(folder, capsys):
    counter, environment, files = Counter(), dict(os.environ), sorted(folder.rglob("*"))
    status, said = run_session(folder, ["-p", "no:nbval", str(folder / "test_it.py")], counter)
    assert (status, counter.names) == (0, ["test_it.py::test_it"])
    assert "heard" in said
    assert capsys.readouterr().out == ""
    assert dict(os.environ) == environment
    assert sorted(folder.rglob("*")) == files


def test_what_went_wrong_is_returned(folder):
    path = folder / "test_wish.py"  # a module of its own: the other one stays imported
    path.write_text("def test_wish(): assert not 'a wish'\n")
    status, said = run_session(folder, [str(path)], Counter())
    assert status == 1
    assert "AssertionError" in said
