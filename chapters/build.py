"""Build one notebook per language from each bilingual source, running its code once.

python chapters/build.py              every section
python chapters/build.py 1_blocks     one section
"""

import hashlib
import sys
import tempfile
from collections import Counter
from copy import deepcopy
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parent
LANGUAGES = ("en", "zh")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def sources():
    """Return the paths of all sources, in the chapter's order."""
    return sorted(ROOT.glob("[0-9]_*.md"))


def load(source):
    """Return the bilingual notebook of `source`, with ids that depend on content alone."""
    notebook = jupytext.read(source)
    notebook.metadata = deepcopy(METADATA)
    seen = Counter()
    for cell in notebook.cells:
        seen[cell.source] += 1
        key = f"{cell.cell_type}\n{cell.source}\n{seen[cell.source]}"
        cell.id = hashlib.sha256(key.encode()).hexdigest()[:8]
    return notebook


def execute(notebook):
    """Run every code cell of `notebook` in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(
            notebook,
            record_timing=False,
            coalesce_streams=True,  # prints arrive in pieces of any size
            resources={"metadata": {"path": folder}},
        ).execute()
    notebook.metadata = deepcopy(METADATA)  # the kernel adds its Python's version
    for output in (out for cell in notebook.cells for out in cell.get("outputs", [])):
        if output.output_type == "error":  # the frames hold this machine's paths
            output.traceback = [f"{output.ename}: {output.evalue}"]
    return notebook


def select(notebook, language):
    """Return `notebook` with the prose of one language; the code is the same in all."""
    notebook = deepcopy(notebook)
    notebook.cells = [c for c in notebook.cells if c.metadata.pop("lang", language) == language]
    return notebook


def committed(source, language):
    """Return where the notebook of `source` in `language` lies."""
    return ROOT / language / f"{source.stem}.ipynb"


def build(source):
    """Write the notebooks of `source`, one per language."""
    notebook = execute(load(source))
    for language in LANGUAGES:
        target = committed(source, language)
        target.parent.mkdir(exist_ok=True)
        nbformat.write(select(notebook, language), target)


def main(names):
    """Build the named sections, or all of them, and say which."""
    known = {source.stem: source for source in sources()}
    unknown = set(names) - set(known)
    if unknown:
        sys.exit(f"no section {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in names or known:
        build(known[name])
        print(f"{name}: {', '.join(LANGUAGES)}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
