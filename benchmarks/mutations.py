"""What tools that run notebooks notice and forgive: `python benchmarks/mutations.py`.

Needs nbmake and `jupyter execute` beside this package. Each tool runs the same notebooks: one for
each kind of change in `tests/helpers/mutations.py`, whose cells show an output while the notebook
holds it changed, one without changes, and one whose cells show what `tests/helpers/computed.py`
computes, while the notebook holds what it computes on another machine.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "helpers"))
from computed import ORDINARY, WAYS, printed
from mutations import Text, mutations, texts_in_kind

MOST = 25
UNCHANGED, COMPUTED = "nothing", "another machine"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
TOOLS = {
    "`pytest --d2l --d2l-keep-going`": [*PYTEST, "--d2l", "--d2l-keep-going"],
    "`pytest --nbval --nbval-current-env`": [*PYTEST, "--nbval", "--nbval-current-env"],
    "`pytest --nbmake`": [*PYTEST, "--nbmake"],
    "`jupyter execute`": [sys.executable, "-m", "jupyter", "execute"],
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        counts = write(Path(folder))
        names = [*counts]
        print("| change |", *(f"{tool} |" for tool in TOOLS))
        print("|---|" + "---|" * len(TOOLS))
        found = [run(command, Path(folder), counts) for command in TOOLS.values()]
        for name in names:
            print(f"| {name} ({counts[name]}) |", *(f"{failed[name]} |" for failed, _ in found))
        print("| processor seconds |", *(f"{seconds:.0f} |" for _, seconds in found))


def write(folder: Path) -> dict[str, int]:
    """Write the notebooks; return how many cells each has."""
    texts = [text for group in texts_in_kind().values() for text in group if text.kind != "error"]
    texts = [text for text in texts if "json" not in text.kind]
    cells = defaultdict(list, {UNCHANGED: [cell(text, text.text) for text in texts[:MOST]]})
    for text in texts:
        seen = set()
        for kind, changed in mutations(text):
            if kind not in seen and len(cells[kind]) < MOST:
                seen.add(kind)
                cells[kind].append(cell(text, changed))
    ordinary = printed(ORDINARY)
    for way in set(WAYS) - {ORDINARY}:
        for name, shown in printed(way).items():
            if name != "short":
                cells[COMPUTED].append(cell(Text("stdout", shown), ordinary[name]))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for number, made in enumerate(cells.values()):
        notebook = new_notebook(cells=made, metadata={"kernelspec": kernel})
        nbformat.write(notebook, folder / f"{number:02d}.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
    return {kind: len(made) for kind, made in cells.items()}


def cell(text: Text, stored: str) -> nbformat.NotebookNode:
    """Return a cell that shows a text where its notebook says another."""
    if text.kind == "stdout":
        source = f"print({text.text!r}, end='')"
        output = new_output("stream", name="stdout", text=stored)
    else:
        source = f"get_ipython().display_pub.publish({{{text.kind!r}: {text.text!r}}})"
        output = new_output("display_data", {text.kind: stored})
    return new_code_cell(source, outputs=[output], execution_count=1)


def run(command: list[str], folder: Path, counts: dict[str, int]) -> tuple[dict[str, int], float]:
    """Return how many cells of each notebook a tool does not let pass, and what that costs."""
    failed, start = {}, os.times()
    for number, kind in enumerate(counts):
        name = f"{number:02d}.ipynb"
        done = subprocess.run([*command, name], cwd=folder, capture_output=True, text=True)
        told = re.search(r"(\d+) failed", done.stdout.splitlines()[-1]) if done.stdout else None
        failed[kind] = int(told[1]) if told else int(done.returncode != 0)
    now = os.times()
    spent = now.children_user + now.children_system - start.children_user - start.children_system
    return failed, spent


if __name__ == "__main__":
    main()
