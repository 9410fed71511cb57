"""The notebooks against their sources, without a kernel; nbval runs their code."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import d2lcompute as d2c
from d2lcompute.tables import Report

ROOT = Path(__file__).parent.parent
CHAPTERS = ROOT / "chapters"

spec = importlib.util.spec_from_file_location("chapters_build", CHAPTERS / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

every_source = pytest.mark.parametrize("source", build.sources(), ids=lambda path: path.stem)
every_language = pytest.mark.parametrize("language", build.LANGUAGES)


def notebook(source, language):
    return nbformat.read(build.committed(source, language), as_version=4)


def inputs(cells):
    return [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in cells]


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


@every_source
@every_language
def test_notebook_is_the_one_its_source_builds(source, language):
    built = build.select(build.load(source), language)
    assert inputs(notebook(source, language).cells) == inputs(built.cells)


@every_source
def test_languages_share_code_and_outputs(source):
    assert code(notebook(source, "en").cells) == code(notebook(source, "zh").cells)


@every_source
def test_every_passage_exists_in_both_languages(source):
    languages = [c.metadata.lang for c in build.load(source).cells if c.cell_type == "markdown"]
    assert languages == list(build.LANGUAGES) * (len(languages) // 2)


@every_source
def test_passages_correspond_in_structure(source):
    """Headings, items, code spans and links of the two languages match one to one."""
    passages = [c.source for c in build.load(source).cells if c.cell_type == "markdown"]
    for english, chinese in zip(passages[::2], passages[1::2], strict=True):
        for mark in (r"^#+ ", r"^\* ", r"^\d+\. ", r"\]\("):
            found = [len(re.findall(mark, text, re.M)) for text in (english, chinese)]
            assert found[0] == found[1], f"{mark} in {english[:80]!r}"


@every_source
def test_each_passage_is_written_in_its_language(source):
    for cell in build.load(source).cells:
        has_chinese = re.search("[\u4e00-\u9fff]", cell.source) is not None
        assert has_chinese == (cell.metadata.get("lang") == "zh"), cell.source[:80]


@every_source
def test_every_code_cell_was_run(source):  # nbval checks nothing in a cell without a count
    for cell in code(notebook(source, "en").cells):
        skipped = {"skip-execution", "nbval-skip"} & set(cell.metadata.get("tags", []))
        assert cell.execution_count or skipped, cell.source


@every_source
def test_only_cells_that_announce_it_raise(source):
    for cell in code(notebook(source, "en").cells):
        raised = any(output.output_type == "error" for output in cell.outputs)
        assert raised == ("raises-exception" in cell.metadata.get("tags", [])), cell.source


@every_source
def test_errors_show_their_message_and_no_frames(source):
    outputs = [output for cell in code(notebook(source, "en").cells) for output in cell.outputs]
    for error in (output for output in outputs if output.output_type == "error"):
        assert error.traceback == [f"{error.ename}: {error.evalue}"]


@every_source
def test_outputs_hold_nothing_that_differs_between_runs(source):
    for cell in code(notebook(source, "en").cells):
        assert not re.search(r"0x[0-9a-f]{6,}|/tmp/|site-packages", json.dumps(cell.outputs))
        assert not any(o.get("name") == "stderr" for o in cell.outputs), cell.source


@every_source
def test_cells_have_ids_of_their_own(source):
    ids = [cell.id for cell in build.load(source).cells]
    assert len(set(ids)) == len(ids)


def test_every_public_name_of_the_library_appears_in_a_notebook():
    text = "\n".join(source.read_text(encoding="utf-8") for source in build.sources())
    code = (ROOT / "d2lcompute" / "__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r"^from \.\S+ import \w+ as (\w+)$", code, re.M)
    shown = {name for name, kind in ((n, getattr(d2c, n)) for n in names) if _shows_itself(kind)}
    assert len(names) > 40
    assert [n for n in names if n not in shown and not re.search(rf"\b{n}\b", text)] == []


def _shows_itself(kind):
    return isinstance(kind, type) and issubclass(kind, Report | d2c.Drawing | Exception)


def test_every_notebook_has_a_source():
    names = {path.stem for path in build.sources()}
    assert {path.stem for path in CHAPTERS.glob("*/*.ipynb")} - {"reference"} == names


def test_inserting_a_cell_renumbers_no_other(tmp_path):
    source = build.sources()[0]
    before = [cell.id for cell in build.load(source).cells]
    text = source.read_text(encoding="utf-8")
    first = text.index("```{code-cell}")
    longer = tmp_path / source.name
    longer.write_text(
        text[:first] + "```{code-cell} ipython3\n'new'\n```\n\n" + text[first:], encoding="utf-8"
    )
    after = [cell.id for cell in build.load(longer).cells]
    assert [cell_id for cell_id in after if cell_id in before] == before


@pytest.fixture
def copied(tmp_path):
    shutil.copy(CHAPTERS / "build.py", tmp_path)
    shutil.copy(CHAPTERS / "1_blocks.md", tmp_path)
    return tmp_path


def run_build(folder, *names):
    command = [sys.executable, folder / "build.py", *names]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_rebuilding_an_unchanged_source_gives_the_same_bytes(copied):
    finished = run_build(copied)
    assert finished.stdout == "1_blocks: en, zh\n"
    for language in build.LANGUAGES:
        rebuilt = copied / language / "1_blocks.ipynb"
        assert rebuilt.read_bytes() == (CHAPTERS / language / "1_blocks.ipynb").read_bytes()


def test_building_an_unknown_section_names_the_known(copied):
    finished = run_build(copied, "9_nothing")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr == "no section 9_nothing; there are 1_blocks\n"
