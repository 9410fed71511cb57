"""A course's starting point: an assignment, workflows that grade it, the versions they use."""

from __future__ import annotations

import re
from pathlib import Path

from ..notebooks.published import install_command

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
