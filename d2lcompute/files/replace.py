"""Replacing a file all at once: a reader finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


def check_path(path: object) -> None:
    """Raise an error if `path` cannot name a file, most likely since arguments are swapped."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"`path` must be the name of a file, got {type(path).__name__}; "
            "do save(path, data), load(path), save_parameters(net, path)"
        )
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ValueError(
            f"`path` must be the name of a file, got {os.fspath(path)!r}; do give another name"
        )


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is on the disk before it is renamed:
    a crash at any moment leaves what was there before or what is new, never a part. A symbolic
    link stays one, and the file it points to is replaced. A hard link keeps the old content: only
    writing into the old file could change it, and that is not done at one moment. A new file has
    the permissions that the umask gives; one that was there keeps its own.
    """
    check_path(path)
    target = Path(os.path.realpath(path))
    try:
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
    except OSError as error:
        raise _cannot_write(path, target, error) from error
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


def _cannot_write(path: str | os.PathLike[str], target: Path, error: OSError) -> OSError:
    wanted, reason, mend = "be a file that can be written", error.strerror, "give another path"
    if not target.parent.is_dir():
        wanted, reason = "lie in a folder that exists", f"there is no folder '{target.parent}'"
        mend = "make the folder first or mend the path"
    elif error.errno == errno.ENOSPC:
        wanted = "lie on a disk with enough room"
        reason = f"{reason}, {shutil.disk_usage(target.parent).free:,} bytes free"
        mend = "make room or give another path"
    return OSError(
        error.errno,
        f"`path` must {wanted}, got '{os.fspath(path)}': {reason}; nothing was changed, {mend}",
    )
