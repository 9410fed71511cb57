"""The documentation: the reference has every public name, and the pages lead somewhere."""

import html.parser
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from pinned import is_pinned

import d2lcompute as d2c
from d2lcompute.grading import release as releasing
from d2lcompute.grading.assignment import read_notebook
from d2lcompute.seeing.picture.sketch import ROOM
from docs import pictures as sheet

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"

spec = importlib.util.spec_from_file_location("docs_reference", DOCS / "reference.py")
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)

PAGES = {name: reference.page(*told) for name, told in reference.PAGES.items()}


def test_every_public_name_is_in_the_reference_once():
    shown = re.findall(r"^`{5}\{py:\w+\} (\w+)", "\n".join(PAGES.values()), re.M)
    modules = {"grading", "initializers", "lazy"}  # pages of their own
    assert set(d2c.__all__) - modules <= set(shown)
    assert len(shown) == len(set(shown))


def test_every_parameter_is_in_a_table_with_its_type():
    rows = re.findall(r"^\| `(\w+)` \| (`.+?`) \|", PAGES["files"], re.M)
    assert ("rename", "`Rename`") in rows
    assert ("allow_missing", "`bool`") in rows


def test_a_parameter_is_told_by_the_sentences_that_begin_with_it():
    row = next(line for line in PAGES["parameters"].splitlines() if line.startswith("| `pattern`"))
    assert "a regular expression" in row
    assert r"str \| re.Pattern[str] \| None" in row


def test_examples_are_code_and_prose_is_none():
    shown = reference.described(d2c.describe)
    code = re.findall(r"^```pycon\n(.*?)^```$", shown, re.M | re.S)
    assert len(code) == 1
    assert code[0].startswith(">>> net = ")
    assert shown.endswith("\n\nSource: D2L 6.2 / zh 5.2")


def test_every_command_is_told_with_its_options():
    shown = reference.commands()
    for command in ("run", "open", "info", "new", "release", "grade", "report", "pytest"):
        assert f"\n## `d2lcompute {command}`\n" in shown
    assert "| `--timeout` | `30.0` | Seconds for a cell" in shown
    assert "| `REFERENCE` |" in shown


@pytest.mark.parametrize("folder", ["guides", "explanations"])
def test_every_guide_is_linked_from_the_start(folder):
    for language in ("en", "zh"):
        index = (DOCS / language / "index.md").read_text(encoding="utf-8")
        for path in (DOCS / language / folder).glob("*.md"):
            assert f"\n{folder}/{path.stem}\n" in index


def test_all_but_the_reference_is_in_both_languages():
    names = {
        language: {path.relative_to(DOCS / language) for path in (DOCS / language).rglob("*.md")}
        for language in ("en", "zh")
    }
    assert names["zh"] - names["en"] == {Path("guides/assignment.md")}  # in English by the chapters
    assert names["en"] <= names["zh"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guide_names_the_notebooks_that_release_writes(language, tmp_path):
    released = releasing.release(read_notebook(ROOT / "chapters/assignment/reference.md"), {})
    written = releasing.write(released, tmp_path / "release")
    guide = (DOCS / language / "guides" / "grading.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(release/[^`]+)`", guide))
    assert named == {path.relative_to(tmp_path).as_posix() for path in written}


class Page(html.parser.HTMLParser):
    """What a page is linked to, and the places in it that links can lead to."""

    def __init__(self, text):
        super().__init__()
        self.links, self.ids, self.images = [], {""}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        self.links += [found[key] for key in ("href", "src") if found.get(key)]
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="module")
def site():
    pytest.importorskip("furo", reason='the documentation needs pip install ".[docs]"')
    command = [sys.executable, DOCS / "build.py"]
    finished = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    folder = ROOT / "build" / "site"
    return {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def test_the_pages_are_built_without_a_warning_and_every_link_leads_somewhere(site):
    languages = {path.relative_to(ROOT / "build" / "site").parts[0] for path in site}
    assert languages == {"en", "zh", "index.html"}
    for path, page in site.items():
        for link in page.links:
            address, _, place = unquote(link).partition("#")
            if re.match(r"[a-z]+:", address):
                continue
            target = (path.parent / address.partition("?")[0]).resolve() if address else path
            assert target.exists(), (path, link)
            if target in site and not place.startswith("heading-"):
                assert place in site[target].ids, (path, link)


def test_pages_need_no_network_and_pictures_have_words(site):
    for path, page in site.items():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//', text), path
        assert not re.search(r'<link [^>]*href="(?:https?:)?//', text), path
        for image in page.images:
            assert image.get("alt"), (path, image.get("src"))
        assert not re.search(r"<th[^>]*>(<p>)?\s*(</p>)?</th>", text), path  # read out as nothing


def test_formulas_are_there_without_a_script(site):
    page = next(path for path in site if path.name == "3_initializers.html")
    assert "<math" in page.read_text(encoding="utf-8")


def test_both_languages_can_be_searched(site):
    folder = ROOT / "build" / "site"
    index = {
        each: (folder / each / "searchindex.js").read_text(encoding="utf-8")
        for each in ("en", "zh")
    }
    assert '"embed"' in index["en"]
    assert '"\\u521d\\u59cb"' in index["zh"]  # 初始, the first pair of 初始化
    script = (folder / "zh" / "_static" / "language_data.js").read_text(encoding="utf-8")
    assert "window.Stemmer = EnglishStemmer;" in script
    assert "splitQuery" in script


@pytest.mark.parametrize(("name", "title"), [(name, title) for name, title, *_ in sheet.SHEET])
def test_the_sheet_in_the_documentation_is_up_to_date(name, title):
    drawn = sheet.drawing_of(name)
    svg = (sheet.FOLDER / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    page = (sheet.FOLDER / "pictures.md").read_text(encoding="utf-8")
    changes_with_releases = name in ("bert", "t5", "swin") and not is_pinned("transformers")
    if not changes_with_releases:
        assert drawn._repr_svg_() == svg
        assert sheet.passage(name, title, drawn) in page
    assert drawn._scene.width <= ROOM[0] + 1  # with its margins and its legend
    assert drawn._scene.height <= ROOM[1] + 1.5


def test_the_sheet_is_small():
    assert sum(path.stat().st_size for path in (sheet.FOLDER / "pictures").iterdir()) < 500_000
