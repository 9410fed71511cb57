"""Where submissions lie: the files in a folder, a zip, a list, or one notebook.

Nothing is unpacked to disk, no link is followed, and no path leads out of where it begins.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath

from ..notebooks.errors import plain

LARGEST = 32 << 20
LARGEST_ARCHIVE = 4 << 30

# A file's path in the source, and what reads it, or as much of it as may be too large.
File = tuple[PurePosixPath, Callable[[], bytes]]


class UnreadableError(Exception):
    """A file that was handed in cannot be read; the message says why."""


def find_files(source: Path, stack: ExitStack) -> Iterator[File]:
    """Return the files of a source, which can be read as long as `stack` is open.

    Raises `ValueError` for a source that is none.
    """
    kinds = "a folder, a zip, a notebook or a list"
    if source.is_dir():
        return _in_folder(source)
    if not source.is_file():
        raise ValueError(f"`submissions` must be {kinds}, got {source}")
    if zipfile.is_zipfile(source):
        return _in_archive(stack.enter_context(zipfile.ZipFile(source)))
    if source.suffix == ".zip":
        raise ValueError(f"`submissions` must be a whole zip, got {source}")
    if source.name.lower().endswith(".ipynb"):
        load = partial(read_file, source.parent, Path(source.name))
        return iter([(PurePosixPath(source.name), load)])
    text = source.read_text(encoding="utf-8", errors="surrogateescape")
    if "\0" in text:
        raise ValueError(f"`submissions` must be {kinds}, got {source}")
    return _in_list(source.parent, text)


def _in_folder(folder: Path) -> Iterator[File]:
    for top, _, names in os.walk(folder):
        for name in names:
            path = Path(top, name).relative_to(folder)
            yield PurePosixPath(path.as_posix()), partial(read_file, folder, path)


def _in_list(folder: Path, text: str) -> Iterator[File]:
    paths = [folder / line.strip() for line in text.splitlines() if line.strip()]
    common = Path(os.path.commonpath([path.parent for path in paths])) if paths else folder
    for path in (path.relative_to(common) for path in paths):
        yield PurePosixPath(path.as_posix()), partial(read_file, common, path)


def _in_archive(opened: zipfile.ZipFile) -> Iterator[File]:
    left = [LARGEST_ARCHIVE]
    found = []
    for entry in opened.infolist():
        parts = [part for part in re.split(r"[/\\]", _name_in(entry)) if part.strip("./")]
        if parts and not entry.is_dir():
            found.append((parts, partial(_unpack, opened, entry, left)))
    # What macOS makes of a folder holds that folder.
    tops = {parts[0] for parts, _ in found} - {"__MACOSX"}
    of_a_folder = tops == {Path(opened.filename or "").stem}
    for parts, load in found:
        yield PurePosixPath(*parts[of_a_folder and parts[0] in tops :]), load


def _name_in(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; without the sign that it is UTF-8 its bytes may be anything."""
    if entry.flag_bits & 0x800:
        return entry.filename
    return entry.filename.encode("cp437", "replace").decode("utf-8", "surrogateescape")


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, left: list[int]) -> bytes:
    if _leads_out(entry.filename):
        raise UnreadableError("its path leads out of the zip")
    try:
        with opened.open(entry) as file:
            data = file.read(LARGEST + 1)  # however much the archive says that there is
    except Exception as error:  # damaged, encrypted, compressed in an unknown way
        reason = plain(str(error), 100)
        raise UnreadableError(f"the file can not be unpacked: {reason}") from error
    left[0] -= len(data)
    if left[0] < 0:
        raise ValueError(f"`submissions` unpacks to more than {LARGEST_ARCHIVE >> 30} GiB")
    return data


def _leads_out(path: str) -> bool:
    parts = re.split(r"[/\\]", path)
    return ".." in parts or not parts[0] or ":" in parts[0]


def read_file(folder: Path, path: Path) -> bytes:
    """Return what is in the file at `path` in `folder`; raises `UnreadableError`."""
    real = folder.resolve() / path
    if not real.exists():
        raise UnreadableError("the file does not exist")
    if real != real.resolve() or not real.is_file():  # a link may lead to the reference
        raise UnreadableError("the file is a link or a device, which is not followed")
    try:
        with real.open("rb") as file:
            return file.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableError(f"the file can not be read: {error.strerror}") from error
