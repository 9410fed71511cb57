"""The notebooks against their sources, without a kernel; nbval runs their code."""

import ast
import html
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import pytest
from markdown_it import MarkdownIt
from pinned import is_pinned

import d2lcompute as d2c
from d2lcompute.exercises.exercise import exercises
from d2lcompute.notebooks import published
from d2lcompute.tables import Report
from d2lcompute.words.language import _

ROOT = Path(__file__).parent.parent
CHAPTERS = ROOT / "chapters"
SYMPTOMS = CHAPTERS / "9_symptoms.md"

spec = importlib.util.spec_from_file_location("chapters_build", CHAPTERS / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

every_source = pytest.mark.parametrize("source", build.sources(), ids=lambda path: path.stem)
every_language = pytest.mark.parametrize("language", build.LANGUAGES)


def passages(source):
    return [cell for cell in jupytext.read(source).cells if cell.cell_type == "markdown"]


def notebook(source, language):
    return nbformat.read(build.committed(source, language), as_version=4)


def inputs(cells):
    return [(cell.id, cell.cell_type, cell.source, cell.metadata) for cell in cells]


def code(cells):
    return [cell for cell in cells if cell.cell_type == "code"]


def texts(cell):
    """What a cell shows, as text without markup."""
    for output in cell.outputs:
        data = output.get("data", {"text/plain": output.get("text") or output.get("evalue", "")})
        yield data.get("text/plain", "")
        page = re.sub(r"<style>.*?</style>", "", data.get("text/html", ""), flags=re.S)
        if "<svg" not in page and "base64" not in page:
            yield html.unescape(re.sub(r"<[^>]+>", " ", page))


def numbers(text):
    return Counter(re.findall(r"\d+(?:[.,]\d+)*", text))


def names(text):
    return Counter(re.findall(r"[A-Za-z_]\w*(?:\.\w+)*", text))


@every_source
@every_language
def test_notebook_is_the_one_its_source_builds(source, language):
    built = build.load(source, language)
    for cell in built.cells:
        cell.metadata.pop("alt", None)
    assert inputs(notebook(source, language).cells) == inputs(built.cells)


@every_source
def test_languages_share_code_but_for_the_first_cell(source):
    english, chinese = (code(notebook(source, language).cells) for language in build.LANGUAGES)
    assert [cell.source for cell in english[1:]] == [cell.source for cell in chinese[1:]]
    assert chinese[0].source.startswith(english[0].source)


@every_source
def test_outputs_of_the_languages_differ_in_words_only(source):
    english, chinese = (code(notebook(source, language).cells) for language in build.LANGUAGES)
    for left, right in zip(english, chinese, strict=True):
        for one, other in zip(texts(left), texts(right), strict=True):
            assert numbers(one) == numbers(other), left.source
            assert names(other) <= names(one), left.source


@every_source
@every_language
def test_passages_show_no_mark_that_should_have_made_them_bold(source, language):
    render = MarkdownIt("commonmark").enable("table").render
    for cell in build.load(source, language).cells:
        if cell.cell_type == "markdown":
            page = render(re.sub(r"\$[^$]*\$", "", cell.source))
            plain = re.sub(r"<pre>.*?</pre>|<code>.*?</code>|<[^>]+>", "", page, flags=re.S)
            assert "*" not in plain, cell.source[:200]


@every_source
def test_every_passage_exists_in_both_languages(source):
    languages = [cell.metadata.lang for cell in passages(source)]
    assert languages == list(build.LANGUAGES) * (len(languages) // 2)


@every_source
def test_passages_correspond_in_structure(source):
    """Headings, items, code spans and links of the two languages match one to one."""
    found = [cell.source for cell in passages(source)]
    for english, chinese in zip(found[::2], found[1::2], strict=True):
        for mark in (r"^#+ ", r"^\* ", r"^\d+\. ", r"\]\("):
            counts = [len(re.findall(mark, text, re.M)) for text in (english, chinese)]
            assert counts[0] == counts[1], f"{mark} in {english[:80]!r}"


@every_source
@every_language
def test_links_between_sections_lead_to_notebooks(source, language):
    for cell in build.load(source, language).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", cell.source):
                assert (CHAPTERS / language / target).is_file(), target


@every_language
def test_links_to_anchors_lead_to_one_each(language):
    anchors, targets = [], set()
    for source in build.sources():
        text = "\n".join(cell.source for cell in build.load(source, language).cells)
        within = re.findall(r'^<a id="(\w+)"></a>$', text, re.M)
        anchors += [(f"{source.stem}.ipynb", anchor) for anchor in within]
        links = re.findall(r"\]\(([\w.]*)#(\w+)\)", text)
        targets |= {(page or f"{source.stem}.ipynb", anchor) for page, anchor in links}
    assert targets == set(anchors)
    assert len({anchor for _, anchor in anchors}) == len(anchors)  # the site has them all at once


def images(cell):
    """The text of every image that a cell shows."""
    for output in cell.outputs:
        if "image/png" in output.get("data", {}):
            yield output.metadata.get("image/png", {}).get("alt", "")
        yield from re.findall(r'<img alt="(.*?)"', output.get("data", {}).get("text/html", ""))


@every_source
@every_language
def test_every_image_says_in_the_language_of_its_notebook_what_it_shows(source, language):
    for cell in code(notebook(source, language).cells):
        for said in images(cell):
            assert said, cell.source
            assert (re.search("[\u4e00-\u9fff]", said) is not None) == (language == "zh"), said


@every_source
def test_each_passage_is_written_in_its_language(source):
    cells = jupytext.read(source).cells
    for cell in (one for one in cells if "hide-input" not in one.metadata.get("tags", [])):
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
@every_language
def test_errors_show_the_lines_of_the_reader_and_no_others(source, language):
    shown = [output for cell in code(notebook(source, language).cells) for output in cell.outputs]
    for error in (output for output in shown if output.output_type == "error"):
        plain = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        assert not re.search(r"^File ", plain, re.M), plain
        assert len(plain.splitlines()) <= 40, plain


@every_source
def test_outputs_hold_nothing_that_differs_between_runs(source):
    for cell in code(notebook(source, "en").cells):
        assert not re.search(r"0x[0-9a-f]{6,}|/tmp/|site-packages", json.dumps(cell.outputs))
        assert not any(o.get("name") == "stderr" for o in cell.outputs), cell.source


@every_source
def test_cells_have_ids_of_their_own(source):
    ids = [cell.id for cell in build.load(source, "en").cells]
    assert len(set(ids)) == len(ids)


def test_every_public_name_of_the_library_appears_in_a_notebook():
    text = "\n".join(source.read_text(encoding="utf-8") for source in build.sources())
    code = (ROOT / "d2lcompute" / "__init__.pyi").read_text(encoding="utf-8")
    names = re.findall(r"^from \.\S+ import \w+ as (\w+)$", code, re.M)
    names = [name for name in names if not name.endswith("ipython_extension")]  # for `%load_ext`
    shown = {name for name, kind in ((n, getattr(d2c, n)) for n in names) if _shows_itself(kind)}
    assert len(names) > 40
    assert [n for n in names if n not in shown and not re.search(rf"\b{n}\b", text)] == []


def _shows_itself(kind):
    return isinstance(kind, type) and issubclass(kind, Report | d2c.Drawing | Exception)


def kinds_of_findings():
    return {
        call.args[0].args[0].value  # it is marked for translation
        for path in (ROOT / "d2lcompute" / "seeing" / "diagnose").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Finding"
    }


def test_every_kind_of_finding_is_shown_among_the_symptoms():
    kinds = kinds_of_findings()
    shown = "\n".join(t for c in code(notebook(SYMPTOMS, "en").cells) for t in texts(c))
    fixes = SYMPTOMS.read_text(encoding="utf-8").replace("\\_", "_")
    assert len(kinds) >= 30
    assert [kind for kind in sorted(kinds) if f"{kind}:" not in shown] == []
    assert [kind for kind in sorted(kinds) if fixes.count(kind) < len(build.LANGUAGES)] == []


def test_the_symptoms_call_each_finding_what_diagnose_calls_it_in_chinese(chinese):
    fixes = SYMPTOMS.read_text(encoding="utf-8").replace("\\_", "_")
    assert [k for k in sorted(kinds_of_findings()) if f"{k}（{_(k)}）" not in fixes] == []


def test_every_exercise_of_the_symptoms_stands_at_its_symptom():
    text = SYMPTOMS.read_text(encoding="utf-8")
    names = [one.name for one in exercises() if one.name.startswith("symptoms.")]
    assert names
    assert [name for name in names if f'd2c.check("{name}"' not in text] == []


def test_every_notebook_has_a_source():
    names = {path.stem for path in build.sources()}
    assert {path.stem for path in CHAPTERS.glob("*/*.ipynb")} - {"reference"} == names


def test_inserting_a_cell_renumbers_no_other(tmp_path):
    source = build.sources()[0]
    before = [cell.id for cell in build.load(source, "en").cells]
    text = source.read_text(encoding="utf-8")
    first = text.index("```{code-cell}")
    longer = tmp_path / source.name
    longer.write_text(
        text[:first] + "```{code-cell} ipython3\n'new'\n```\n\n" + text[first:], encoding="utf-8"
    )
    after = [cell.id for cell in build.load(longer, "en").cells]
    assert [cell_id for cell_id in after if cell_id in before] == before


@pytest.fixture
def copied(tmp_path):
    shutil.copy(CHAPTERS / "build.py", tmp_path)
    shutil.copy(CHAPTERS / "1_blocks.md", tmp_path)
    return tmp_path


def run_build(folder, *names):
    command = [sys.executable, folder / "build.py", *names]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


@pytest.mark.skipif(
    not is_pinned("torch", "ipython"), reason="outputs are those of the tested torch and IPython"
)
def test_rebuilding_an_unchanged_source_gives_the_same_bytes(copied):
    finished = run_build(copied)
    assert finished.stdout == "1_blocks: en, zh\n"
    for language in build.LANGUAGES:
        rebuilt = copied / language / "1_blocks.ipynb"
        assert rebuilt.read_bytes() == (CHAPTERS / language / "1_blocks.ipynb").read_bytes()


def test_building_an_unknown_section_names_the_known(copied):
    finished = run_build(copied, "9_nothing")
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "error: `section` must be one of blocks, got '9_nothing'\n"


def test_where_the_repository_has_an_address_notebooks_open_with_one_click(monkeypatch):
    monkeypatch.setattr(published, "REPOSITORY", "https://github.com/someone/d2lcompute")
    head = build.load(build.sources()[0], "zh").cells[0].source.splitlines()
    assert head[0].startswith("# ")
    assert "/someone/d2lcompute/blob/main/chapters/zh/" in head[2]
