"""What a student handed in: of a notebook, the source of the declared solution cells alone."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ..notebooks.cell import plain

LARGEST = 32 << 20


@dataclass(frozen=True)
class Submission:
    """A submission: source by solution id, or the `fault` for which it has none."""

    name: str
    solutions: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def digest(self) -> str:
        """A text that differs when what is graded does."""
        content = json.dumps([self.name, self.solutions, self.fault])
        return hashlib.sha256(content.encode("ascii")).hexdigest()


def read(name: str, data: bytes) -> Submission:
    """Return the submission in a notebook file, which anyone may have written.

    >>> from d2lcompute.grading.submissions import read
    >>> read("ada", b"my homework").fault
    'the file is not a notebook: Expecting value: line 1 column 1 (char 0)'

    A solution that a student split into several cells is put together again, in their order.
    """
    if len(data) > LARGEST:
        return Submission(name, fault=f"the file is larger than {LARGEST >> 20} MiB")
    pieces: defaultdict[str, list[str]] = defaultdict(list)
    try:
        for cell in json.loads(data)["cells"]:
            identity = _identity(cell)
            if identity:
                pieces[identity].append(_source(cell))
    except Exception as error:  # a file can be wrong in any way
        return Submission(name, fault=f"the file is not a notebook: {plain(str(error), 100)}")
    return Submission(name, {each: "\n".join(filter(None, pieces[each])) for each in pieces})


def _identity(cell: Mapping[str, Any]) -> str | None:
    declared = cell.get("metadata", {}).get("d2lcompute", {})
    identity = declared.get("id") if isinstance(declared, dict) else None
    return identity if cell["cell_type"] == "code" and isinstance(identity, str) else None


def _source(cell: Mapping[str, Any]) -> str:
    lines = cell["source"]
    source = lines if isinstance(lines, str) else "".join(lines)
    # Half a character, which JSON can express, could not be sent to a kernel.
    return source.encode("utf-8", "replace").decode("utf-8")


LARGEST_ARCHIVE = 4 << 30
MOODLE = re.compile(r"(?P<name>.+)_(?P<number>\d+)_assignsubmission_.*")
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<number>\d{2,})_\d{2,}_.+")

# A file's path in the source, and what reads it as a submission of a name.
File = tuple[PurePosixPath, Callable[[str], Submission]]


def find(source: Path, wanted: Collection[str]) -> list[Submission]:
    """Return the submissions in `source`, sorted by name, each under a name of its own.

    `source` is a folder (of notebooks, or of a folder for each student), a zip of one, or a text
    file with a path on each line. Students are called by what Moodle and Canvas make of their
    names, or by the name of their folder or file. Of several notebooks of one student, those
    without any of the `wanted` solutions are left out; who handed in no notebook has an empty
    submission. No link is followed, nothing is unpacked to disk.

    Raises `ValueError` for a source that is none of this, or too large.
    """
    if source.is_dir():
        files = _in_folder(source)
    elif source.suffix == ".zip" and source.is_file():
        files = _in_archive(source)
    elif source.is_file():
        files = _in_list(source)
    else:
        raise ValueError(f"`submissions` must be a folder, a zip or a list, got {source}")
    handed_in: dict[str, dict[str, Submission]] = defaultdict(dict)
    for path, load in files:
        student = _student(path)
        if student and not any(part.startswith((".", "__")) for part in path.parts):
            notebooks = handed_in[student]
            if path.suffix == ".ipynb":
                label = f"{student}: {_in_one_line(str(path))}"
                notebooks[label] = load(label)
    return sorted(
        (one for student in handed_in for one in _choose(student, handed_in[student], wanted)),
        key=lambda submission: submission.name,
    )


def read_file(folder: Path, path: Path, name: str) -> Submission:
    """Return the submission in the file at `path` in `folder`, to be called `name`."""
    real = folder.resolve() / path
    if not real.exists():
        return Submission(name, fault="the file does not exist")
    if real != real.resolve() or not real.is_file():  # a link may lead to the reference
        return Submission(name, fault="the file is a link or a device, which is not followed")
    try:
        with real.open("rb") as file:
            return read(name, file.read(LARGEST + 1))
    except OSError as error:
        return Submission(name, fault=f"the file can not be read: {error.strerror}")


def _choose(
    student: str, notebooks: dict[str, Submission], wanted: Collection[str]
) -> list[Submission]:
    if not notebooks:
        return [Submission(student, fault="no notebook was handed in")]
    fitting = [one for one in notebooks.values() if any(name in one.solutions for name in wanted)]
    chosen = fitting or list(notebooks.values())
    if len(chosen) == 1:
        return [Submission(student, chosen[0].solutions, chosen[0].fault)]
    return chosen


def _student(path: PurePosixPath) -> str | None:
    """Return whose file it is, None for a file that lies beside the submissions."""
    alone = len(path.parts) == 1
    label = path.parts[0]
    match = MOODLE.fullmatch(label) or (CANVAS.fullmatch(label) if alone else None)
    if match:
        late = ", late" if match.groupdict().get("late") else ""
        label = f"{match['name']} ({match['number']}{late})"
    elif alone:
        label = path.stem if path.suffix == ".ipynb" else ""
    return _in_one_line(label) or None


def _in_one_line(name: str) -> str:
    return " ".join(plain(name, 100).split())


def _in_folder(folder: Path) -> Iterator[File]:
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name).relative_to(folder)
            yield PurePosixPath(path.as_posix()), partial(read_file, folder, path)


def _in_list(source: Path) -> Iterator[File]:
    lines = source.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    paths = [Path(source.parent, line.strip()) for line in lines if line.strip()]
    common = Path(os.path.commonpath([path.parent for path in paths])) if paths else source
    for path in (path.relative_to(common) for path in paths):
        yield PurePosixPath(path.as_posix()), partial(read_file, common, path)


def _in_archive(archive: Path) -> Iterator[File]:
    left = LARGEST_ARCHIVE

    def load(entry: zipfile.ZipInfo, name: str) -> Submission:
        nonlocal left
        if _leads_out(entry.filename):
            return Submission(name, fault="its path leads out of the zip")
        try:
            with opened.open(entry) as file:
                data = file.read(LARGEST + 1)  # however much the archive says that there is
        except Exception as error:  # damaged, encrypted, compressed in an unknown way
            return Submission(name, fault=f"the file can not be unpacked: {plain(str(error), 100)}")
        left -= len(data)
        if left < 0:
            raise ValueError(f"`submissions` unpacks to more than {LARGEST_ARCHIVE >> 30} GiB")
        return read(name, data)

    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                parts = [part for part in re.split(r"[/\\]", entry.filename) if part.strip("./")]
                if parts and not entry.is_dir():
                    yield PurePosixPath(*parts), partial(load, entry)
    except zipfile.BadZipFile as error:
        raise ValueError(f"`submissions` must be a whole zip, got {archive}: {error}") from error


def _leads_out(path: str) -> bool:
    parts = re.split(r"[/\\]", path)
    return ".." in parts or not parts[0] or ":" in parts[0]
