"""Gradescope's autograder, as one zip: it grades each upload by the same road as `grade`."""

from __future__ import annotations

import io
import zipfile
from importlib import metadata
from pathlib import Path

from .assignment import Assignment

SETUP = """\
#!/usr/bin/env bash
set -e
apt-get update && apt-get install -y python3 python3-pip python3-venv bubblewrap
python3 -m venv /autograder/environment
/autograder/environment/bin/pip install --extra-index-url https://download.pytorch.org/whl/cpu \\
    "d2lcompute[grading]=={version}"
"""
RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each upload; AUTOGRADER says where its folder is elsewhere.
set -eu
top=${{AUTOGRADER:-/autograder}}
PATH=$top/environment/bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/submissions" "$top/results" 2>/dev/null || true
cp -R "$top/submission" "$work/submissions/upload"
d2lcompute grade "$top/source/reference{suffix}" "$work/submissions" --to "$work/results" \\
    --jobs 1{options} || [ -s "$work/results/results.jsonl" ]
d2lcompute report "$work/results" || true
set -- "$work"/results/gradescope/*.json
if [ $# -ne 1 ]; then
    echo "$# notebooks hold answers of this assignment; hand in one" >&2
    exit 1
fi
cp "$1" "$top/results/results.json"
"""
BEGIN = (1980, 1, 1, 0, 0, 0)  # the same zip for the same assignment


def build(reference: Path, assignment: Assignment, allow_unisolated: bool) -> bytes:
    """Return the zip for an assignment: what installs and runs, the reference, what lies beside.

    Where Gradescope's machine has no way to hold code back, it refuses to grade, unless
    `allow_unisolated`.
    """
    options = " --allow-unisolated" if allow_unisolated else ""
    scripts = {
        "setup.sh": SETUP.format(version=metadata.version("d2lcompute")),
        "run_autograder": RUN.format(suffix=reference.suffix, options=options),
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in scripts.items():
            entry = zipfile.ZipInfo(name, BEGIN)
            entry.external_attr = 0o755 << 16
            archive.writestr(entry, text)
        _add(archive, f"reference{reference.suffix}", reference.read_bytes())
        for name, content in assignment.beside_reference.items():
            _add(archive, name, content)
    return data.getvalue()


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, BEGIN), data)
