"""Replacing a file all at once: a reader finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..arguments import written


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is on the disk before it is renamed:
    a crash at any moment leaves what was there before or what is new, never a part. A symbolic
    link stays one, and the file it points to is replaced. A hard link keeps the old content: only
    writing into the old file could change it, and that is not done at one moment. A new file has
    the permissions that the umask gives; one that was there keeps its own.
    """
    with written(path) as target:
        mode = _permissions(target)
        temporary = target.with_name(f".d2lcompute-{secrets.token_hex(8)}.tmp")
        try:
            # Nobody may read the new bytes, not even for a moment, who could not read the old.
            temporary.touch(0o666 if mode is None else 0o600, exist_ok=False)
            with temporary.open("r+b", buffering=0) as file:
                yield file
                if mode is not None:
                    temporary.chmod(mode)
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _permissions(target: Path) -> int | None:
    """Return those of the file that is there, None if there is none, or say why it must stay."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Put the renaming itself on the disk, where the system knows how and allows it."""
    if os.name == "nt":
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
                raise
