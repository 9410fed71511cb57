"""Build one notebook per language from each bilingual source, running it in both.

python chapters/build.py              every section
python chapters/build.py 1_blocks     one section
"""

import hashlib
import os
import sys
import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

from d2lcompute.notebooks.published import install_command, notebook_badges

ROOT = Path(__file__).parent
LANGUAGES = ("en", "zh")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SETUP = """\
import importlib.util

if importlib.util.find_spec("d2lcompute") is None:  # the package is missing, as on Colab
    {install}

%load_ext d2lcompute
"""
MISSING = 'raise ModuleNotFoundError("install d2lcompute first: pip install . in a copy of it")'


def sources():
    """Return the paths of all sources, in the chapter's order."""
    return sorted(ROOT.glob("[0-9]_*.md"))


def load(source, language):
    """Return the notebook of `source` in one language, with ids that depend on content alone."""
    notebook = jupytext.read(source)
    notebook.metadata = deepcopy(METADATA)
    cells = [c for c in notebook.cells if c.metadata.pop("lang", language) == language]
    first = next(number for number, cell in enumerate(cells) if cell.cell_type == "code")
    notebook.cells = [*cells[:first], setup(language), *cells[first:]]
    badges = notebook_badges(f"chapters/{language}/{source.stem}.ipynb")
    if badges:
        title, _, rest = cells[0].source.partition("\n")
        cells[0].source = f"{title}\n\n{badges}\n{rest}"
    seen = Counter()
    for cell in notebook.cells:
        seen[cell.source] += 1
        key = f"{cell.cell_type}\n{cell.source}\n{seen[cell.source]}"
        cell.id = hashlib.sha256(key.encode()).hexdigest()[:8]
    return notebook


def setup(language):
    """Return the first code cell, the only one that differs between the languages."""
    command = install_command()
    lines = SETUP.format(install=f"%pip install --quiet {command}" if command else MISSING)
    if language != "en":
        lines += f'\nimport d2lcompute as d2c\n\nd2c.language("{language}")\n'
    return nbformat.v4.new_code_cell(lines.strip(), metadata={"tags": ["setup"]})


def execute(notebook, language):
    """Run every code cell of `notebook` in an empty folder, and give images their words."""
    words = [cell.metadata.pop("alt", {}) for cell in notebook.cells]
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            record_timing=False,
            coalesce_streams=True,  # prints arrive in pieces of any size
            resources={"metadata": {"path": folder}},
        ).execute(env=os.environ | {"XDG_DATA_HOME": folder})  # nobody's progress is shown
    notebook.metadata = deepcopy(METADATA)  # the kernel adds its Python's version
    for cell, alt in zip(notebook.cells, words, strict=True):
        for output in cell.get("outputs", []):
            if language in alt and "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {}).setdefault("alt", alt[language])
    return notebook


def committed(source, language):
    """Return where the notebook of `source` in `language` lies."""
    return ROOT / language / f"{source.stem}.ipynb"


def build(source):
    """Write the notebooks of `source`, one per language."""
    for language in LANGUAGES:
        notebook = execute(load(source, language), language)
        target = committed(source, language)
        target.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, target)


def main(names):
    """Build the named sections, or all of them, and say which."""
    known = {source.stem: source for source in sources()}
    stems = {stem.partition("_")[2]: stem for stem in known}
    chosen = [stems.get(name, name) for name in names] or list(known)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        print(
            f"error: `section` must be one of {', '.join(stems)}, got {unknown[0]!r}",
            file=sys.stderr,
        )
        sys.exit(2)
    for name in chosen:
        build(known[name])
        print(f"{name}: {', '.join(LANGUAGES)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
