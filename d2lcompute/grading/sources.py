"""Where submissions lie: the files in a folder, a zip, a list, or one notebook.

A zip that a student handed in is as a folder of its files. Nothing is unpacked to disk, no link is
followed, and no path leads out of where it begins.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from ..notebooks.errors import plain
from .platforms import NOTEBOOK

LARGEST = 32 << 20
LARGEST_ARCHIVE = 4 << 30
ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz")
MOST_FILES, MOST_NOTEBOOKS = 10_000, 20  # in a zip that one student handed in

# A file's path in the source, and what reads it, or as much of it as may be too large.
File = tuple[PurePosixPath, Callable[[], bytes]]


class UnreadableError(Exception):
    """A file that was handed in cannot be read; the message says why."""


def find_files(source: Path, stack: ExitStack) -> Iterator[File]:
    """Return the files of a source, which can be read as long as `stack` is open.

    Those of a zip in it stand below the zip's path, if there are notebooks among them; else the zip
    is a file, and reading it raises `UnreadableError`, as for other archives.

    Raises `ValueError` for a source that is none.
    """
    for path, load in _files(source, stack):
        if path.name.lower().endswith(ARCHIVES):
            yield from _in_inner(path, load)
        else:
            yield path, load


def _files(source: Path, stack: ExitStack) -> Iterator[File]:
    kinds = "a folder, a zip, a notebook or a list"
    if source.is_dir():
        return _in_folder(source)
    if not source.is_file():
        raise ValueError(f"`submissions` must be {kinds}, got {source}")
    if zipfile.is_zipfile(source):
        return _in_archive(stack.enter_context(zipfile.ZipFile(source)))
    if source.suffix == ".zip":
        raise ValueError(f"`submissions` must be a whole zip, got {source}")
    if NOTEBOOK.search(source.name):
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
    unpacked = _Unpacked()
    found = [(parts, partial(_unpack, opened, each, unpacked)) for parts, each in _entries(opened)]
    # What macOS makes of a folder holds that folder.
    tops = {parts[0] for parts, _ in found} - {"__MACOSX"}
    of_a_folder = tops == {Path(opened.filename or "").stem}
    for parts, load in found:
        yield PurePosixPath(*parts[of_a_folder and parts[0] in tops :]), load


def _entries(opened: zipfile.ZipFile) -> Iterator[tuple[list[str], zipfile.ZipInfo]]:
    for entry in opened.infolist():
        parts = [part for part in re.split(r"[/\\]", _name_in(entry)) if part.strip("./")]
        if parts and not entry.is_dir():
            yield parts, entry


def _in_inner(path: PurePosixPath, load: Callable[[], bytes]) -> Iterator[File]:
    """Yield the files of an archive that a student handed in, or the archive, which is not read."""
    try:
        with _open(load) as opened:
            names = ["/".join(parts) for parts, _ in _entries(opened)]
    except UnreadableError as error:
        yield path, partial(_refuse, str(error))
        return
    notebooks = sum(bool(NOTEBOOK.search(name)) for name in names)
    if not notebooks:
        yield path, partial(_refuse, "holds no notebook")
    elif notebooks > MOST_NOTEBOOKS or len(names) > MOST_FILES:
        yield path, partial(_refuse, f"holds {len(names):,} files, {notebooks:,} notebooks")
    else:
        for number, name in enumerate(names):
            yield path / name, partial(_read_inner, load, number)


def _open(load: Callable[[], bytes]) -> zipfile.ZipFile:
    data = load()
    if len(data) > LARGEST:
        raise UnreadableError(f"is larger than {LARGEST >> 20} MiB")
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnreadableError("is no zip that can be opened")
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # damaged in any way
        raise UnreadableError(f"can not be opened: {plain(str(error), 100)}") from error


def _read_inner(load: Callable[[], bytes], number: int) -> bytes:
    """Read one file of an inner zip, which is not kept open: there may be one for each student."""
    with _open(load) as opened:
        entry = [entry for _, entry in _entries(opened)][number]
        return _unpack(opened, entry, _Unpacked())


def _refuse(reason: str) -> bytes:
    raise UnreadableError(reason)


def _name_in(entry: zipfile.ZipInfo) -> str:
    """Return an entry's name; without the sign that it is UTF-8 its bytes may be anything."""
    if entry.flag_bits & 0x800:
        return entry.filename
    return entry.filename.encode("cp437", "replace").decode("utf-8", "surrogateescape")


@dataclass
class _Unpacked:
    """How many bytes were unpacked of an archive, those of each entry once."""

    size: int = 0
    entries: set[int] = field(default_factory=set)


def _unpack(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, unpacked: _Unpacked) -> bytes:
    if _leads_out(entry.filename):
        raise UnreadableError("its path leads out of the zip")
    try:
        with opened.open(entry) as file:
            data = file.read(LARGEST + 1)  # however much the archive says that there is
    except Exception as error:  # damaged, encrypted, compressed in an unknown way
        reason = plain(str(error), 100)
        raise UnreadableError(f"the file can not be unpacked: {reason}") from error
    if entry.header_offset not in unpacked.entries:
        unpacked.entries.add(entry.header_offset)
        unpacked.size += len(data)
    if unpacked.size > LARGEST_ARCHIVE:
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
