"""Build the documentation in both languages: `python docs/build.py` writes build/site/index.html.

The pages are gathered in build/docs: guides from docs/en and docs/zh, the chapter's notebooks with
their outputs, the reference from docstrings. A warning is an error. The result needs no network.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import reference

from d2lcompute.notebooks.published import REPOSITORY

DOCS = Path(__file__).parent
ROOT = DOCS.parent
STAGE = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
LANGUAGES = {"en": ("en", "English"), "zh": ("zh_CN", "中文")}
SETUP = {"en": "Install the package where it is missing", "zh": "没有安装本包时，先安装它"}


def main():
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.rmtree(SITE, ignore_errors=True)
    for language in LANGUAGES:
        gather(language)
    failed = [make(language) for language in LANGUAGES]
    shutil.copy(DOCS / "start.html", SITE / "index.html")
    shutil.rmtree(SITE / "jupyter_execute", ignore_errors=True)  # nothing is executed
    (SITE / ".nojekyll").touch()  # or the pages' host leaves out folders with an underscore
    return int(any(failed))


def gather(language):
    """Put the sources of one language into a folder of their own."""
    target = STAGE / language
    shutil.copytree(DOCS / language, target)
    chapter = target / "chapter"
    chapter.mkdir(exist_ok=True)
    for source in sorted((ROOT / "chapters" / language).glob("*.ipynb")):
        text = json.dumps(prepared(json.loads(source.read_text(encoding="utf-8"))))
        (chapter / source.name).write_text(text, encoding="utf-8")
    if language == "en":
        rules = target / "reference"
        reference.write(rules)
        for source in DOCS.glob("*.md"):
            copy_page(source, rules / source.name)
        shutil.copytree(DOCS / "pictures", rules / "pictures")
        writing = ROOT / "chapters" / "assignment" / "README.md"
        copy_page(writing, target / "guides" / "assignment.md")
    shutil.copy(DOCS / "pictures" / "chimera.svg", target)


def copy_page(source, target):
    """Copy a page; its links to files that are no pages lead to the repository, if it is known."""

    def lead(found):
        path = (source.parent / found[2]).resolve()
        if "://" in found[2] or found[2].startswith("#") or path.parent == DOCS:
            return found[0]
        place = path.relative_to(ROOT).as_posix()
        return f"[{found[1]}]({REPOSITORY}/blob/main/{place})" if REPOSITORY else found[1]

    text = source.read_text(encoding="utf-8")
    target.write_text(re.sub(r"(?<!!)\[([^\]]*)\]\(([^)]+)\)", lead, text), encoding="utf-8")


def prepared(notebook):
    """Fold the cell that installs the package, and give pictures their words."""
    for cell in notebook["cells"]:
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
