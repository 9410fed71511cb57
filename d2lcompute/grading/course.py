"""Where a course is graded: workflows for GitHub and GitLab, an autograder for Gradescope."""

from __future__ import annotations

import io
import re
import zipfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..notebooks.published import install_command

if TYPE_CHECKING:  # a course is begun without what grading needs
    from .assignment import Assignment

_PACKAGE = Path(__file__).parents[1]
_STUDENTS = "# A line for each student: owner/repository on GitHub, group/project on GitLab.\n"
_PACKAGE_LINE = re.compile(r'PACKAGE: "([^"]+)"')


def start(folder: Path, url: str = "") -> tuple[list[Path], list[Path]]:
    """Write the starting point into `folder`; return the new files and those that were there.

    `url` is where pip finds this package in the workflows; without it they have what it is
    published as. A file that is there is never touched.
    """
    written, kept = [], []
    for name, text in _files(url).items():
        path = folder / name
        if path.exists():
            kept.append(path)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        written.append(path)
    return written, kept


def _files(url: str) -> dict[str, str]:
    """Return the text of each file by its place in the folder."""
    constraints = _read("constraints.txt")
    return {
        "README.md": _read("README.md"),
        "reference.md": _read("reference.md"),
        "students.txt": _STUDENTS,
        "constraints.txt": constraints,
        ".gitignore": "/release/\n/results/\n/submissions/\n",
        ".github/workflows/grade.yml": _workflow("github-grade.yml", url),
        ".gitlab-ci.yml": _workflow("gitlab-grade.yml", url),
        "for-students/constraints.txt": constraints,
        "for-students/.github/workflows/self-check.yml": _workflow("github-self-check.yml", url),
    }


def _workflow(name: str, url: str) -> str:
    """Return a template that installs this package from where it is to be had."""

    def line(found: re.Match[str]) -> str:
        extras = found[1].partition("[")[2].rstrip("]")
        wanted = f"d2lcompute[{extras}] @ {url}" if url else install_command(extras).strip('"')
        return f'PACKAGE: "{wanted}"' if wanted else found[0]

    return _PACKAGE_LINE.sub(line, _read(f"templates/{name}"))


def _read(name: str) -> str:
    """Return a file that the wheel holds in one folder, and a checkout where it is written."""
    checkout = _PACKAGE.parent
    # The assignment's folder before the checkout's own: both have a README.md.
    places = (_PACKAGE / "course", checkout / "chapters" / "assignment", checkout)
    return next(p / name for p in places if (p / name).is_file()).read_text(encoding="utf-8")


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


def autograder_zip(reference: Path, assignment: Assignment, allow_unisolated: bool) -> bytes:
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
