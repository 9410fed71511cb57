"""What a boxed kernel sees of the file system: Python, the system's libraries, nothing else."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# Not all of /usr or of a prefix: people keep data there too, courses among it.
SYSTEM = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64",
    "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec",
    "/usr/share/fonts", "/usr/share/zoneinfo", "/sys/devices/system/cpu",
    "/etc/alternatives", "/etc/fonts", "/etc/ld.so.cache", "/etc/localtime",
)  # fmt: skip
OF_A_PREFIX = ("bin", "lib", "lib32", "lib64", "pyvenv.cfg")
PACKAGE_FOLDERS = ("site-packages", "dist-packages")


@functools.cache
def shown() -> dict[str, str]:
    """Return what a box shows, read-only: path inside -> path outside.

    >>> from d2lcompute.notebooks.visible import shown
    >>> all(Path(outside).exists() for outside in shown().values())
    True
    """
    wanted = {path for path in _wanted() if path.exists()}
    wanted |= {path.resolve() for path in wanted if path.is_dir()}
    found: list[Path] = []
    for path in sorted(wanted, key=lambda path: (len(path.parts), path)):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return {str(path): str(path.resolve()) for path in found}


@functools.cache
def links() -> dict[str, str]:
    """Return the symbolic links that stand at the root, such as /lib -> usr/lib."""
    return {path: str(Path(path).readlink()) for path in SYSTEM if _is_root_link(Path(path))}


def is_hidden(path: str | os.PathLike[str]) -> bool:
    """Say whether a file or folder is out of sight for a boxed kernel.

    >>> from d2lcompute.notebooks.visible import is_hidden
    >>> is_hidden(os.__file__), is_hidden("/etc/shadow")
    (False, True)
    """
    real = Path(path).resolve()
    return not any(real.is_relative_to(folder) for folder in shown().values())


def _wanted() -> Iterator[Path]:
    yield from (Path(path) for path in SYSTEM if not _is_root_link(Path(path)))
    for prefix in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        yield from (Path(prefix, part) for part in OF_A_PREFIX)
    yield from (Path(path) for path in sys.path if Path(path).name in PACKAGE_FOLDERS)
    yield Path(__file__).absolute().parent.parent  # d2lcompute itself, wherever it lies


def _is_root_link(path: Path) -> bool:
    return len(path.parts) == 2 and path.is_symlink()
