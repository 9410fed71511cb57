"""Build the documentation in both languages: `python docs/build.py` writes build/site/index.html.

The pages are gathered in build/docs: guides from docs/en and docs/zh, the chapter's notebooks with
their outputs, the reference from docstrings. A warning is an error. The result needs no network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import reference

from d2lcompute.notebooks.published import REPOSITORY, way_to_get

DOCS = Path(__file__).parent
ROOT = DOCS.parent
STAGE = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
WRITING = ROOT / "chapters" / "assignment" / "README.md"
LANGUAGES = {"en": ("en", "English"), "zh": ("zh_CN", "中文")}
SETUP = {"en": "Install the package where it is missing", "zh": "没有安装本包时，先安装它"}


def main():
    missing = [name for name in ("furo", "myst_nb", "sphinx") if find_spec(name) is None]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not installed; do {way_to_get('docs')}")
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    for language in LANGUAGES:
        gather(language)
    failed = [make(language) for language in LANGUAGES]
    # Sphinx takes along the images of Markdown, and not those of HTML, which scroll on a phone.
    shutil.copytree(DOCS / "pictures", SITE / "en" / "pictures", dirs_exist_ok=True)
    shutil.copy(DOCS / "start.html", SITE / "index.html")
    shutil.rmtree(SITE / "jupyter_execute", ignore_errors=True)  # nothing is executed
    (SITE / ".nojekyll").touch()  # or the pages' host leaves out folders with an underscore
    return int(any(failed))


def gather(language):
    """Put the sources of one language into a folder of their own."""
    for source in (ROOT / "chapters" / language).glob("*.ipynb"):
        notebook = prepared(json.loads(source.read_text(encoding="utf-8")))
        write(page_of(source, language), language, json.dumps(notebook))
    shared = [*DOCS.glob("*.md"), WRITING] if language == "en" else []
    for source in [*(DOCS / language).rglob("*.md"), *shared]:
        write(page_of(source, language), language, linked(source, language))
    if language == "en":
        reference.write(STAGE / language / "reference")
    shutil.copytree(DOCS / "pictures", STAGE / language / "pictures")


def page_of(path, language):
    """Return where a file of the repository stands among the pages of one language, if it does."""
    if path == WRITING and language == "en":
        return PurePosixPath("guides/assignment.md")
    rooms = {
        DOCS / language: ".",
        DOCS / "pictures": "pictures",
        ROOT / "chapters" / language: "chapter",
    }
    for folder, room in rooms.items():
        if path.is_relative_to(folder):
            return PurePosixPath(room) / path.relative_to(folder).as_posix()
    return PurePosixPath("reference") / path.name if path.parent == DOCS else None


def linked(source, language):
    """Return a page with its links to files of the repository leading to their pages.

    What is no page is linked to in the repository, if that has an address.
    """
    here = page_of(source, language).parent

    def lead(found):
        before, link, behind = found.groups()
        path = (source.parent / link).resolve()
        page = page_of(path, language)
        if page is not None:
            return f"{before}{os.path.relpath(page, here)}{behind}"
        address = f"{REPOSITORY}/blob/main/{path.relative_to(ROOT).as_posix()}"
        return f"{before}{address}{behind}" if REPOSITORY else before[1:-2]

    text = source.read_text(encoding="utf-8")
    return re.sub(r'(\[[^\]]*\]\(|src=")((?!#|[a-z]+:)[^)"]+)([)"])', lead, text)


def write(page, language, text):
    """Write a page among those of one language."""
    path = STAGE / language / page
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def prepared(notebook):
    """Fold the cell that installs the package, give pictures their words, and anchors a name."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            text = "".join(cell["source"])
            cell["source"] = re.sub(r'^<a id="(\w+)"></a>$', r"(\1)=", text, flags=re.M)
        tags = cell["metadata"].setdefault("tags", [])
        if "setup" in tags:
            tags.append("hide-cell")
        for output in cell.get("outputs", []):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt")
            if alt:
                cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
    return notebook


def make(language):
    """Make the pages of one language; return Sphinx's exit status."""
    code, _ = LANGUAGES[language]
    other = next(each for each in LANGUAGES if each != language)
    told = {
        "other": other,
        "other_name": LANGUAGES[other][1],
        "shared": " ".join(sorted(pages(language) & pages(other))),
    }
    facts = [f"-A{name}={value}" for name, value in told.items()]
    facts.append(f"-Dnb_code_prompt_show={SETUP[language]}")
    strict = ["--fail-on-warning", "--keep-going", "--quiet", "--fresh-env"]
    command = [sys.executable, "-m", "sphinx", *strict, f"-Dlanguage={code}", *facts]
    places = [f"-d{ROOT / 'build' / 'doctrees' / language}", f"-c{DOCS}"]
    return subprocess.call([*command, *places, STAGE / language, SITE / language])


def pages(language):
    """Return the names of the pages of one language."""
    folder = STAGE / language
    sources = [path for path in folder.rglob("*") if path.suffix in (".md", ".ipynb")]
    return {path.relative_to(folder).with_suffix("").as_posix() for path in sources}


if __name__ == "__main__":
    sys.exit(main())
