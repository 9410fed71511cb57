"""The command that boxes a kernel with bubblewrap."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from .sandbox.box import Box
from .sandbox.namespaces import SCRATCH, STUDENT


def wrapper(box: Box) -> list[str]:
    """Return the command that runs another one in `box`.

    Who runs it is the first process inside and keeps its user: `sandbox.box.enter` sets the limits
    and changes the user. Raises `FileNotFoundError` where there is no bubblewrap that can limit
    the size of a folder in memory (it can since 0.5).
    """
    program = find_program()
    command = [program, "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts"]
    command += ["--as-pid-1", "--new-session", "--hostname", "box", "--cap-drop", "ALL"]
    if box.user is None:
        command += ["--unshare-user", "--uid", str(STUDENT), "--gid", str(STUDENT)]
    else:  # root: what it takes to become another user, and to see how much memory that one uses
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"):
            command += ["--cap-add", capability]
    command += ["--dev", "/dev"]
    for folder in SCRATCH:
        command += ["--perms", "1777", "--size", str(box.scratch), "--tmpfs", folder]
    for folder in _parents(box.show):
        command += ["--perms", "755", "--dir", folder]
    for inside, outside in box.show.items():
        command += ["--ro-bind", outside, inside]
    for path, target in box.links.items():
        command += ["--symlink", target, path]
    return [*command, "--proc", "/proc", "--remount-ro", "/dev", "--remount-ro", "/", "--"]


def _parents(paths: Iterable[str]) -> list[str]:
    """Return the folders that hold `paths`, outermost first: root's bubblewrap makes them 700."""
    parents = (str(parent) for path in paths for parent in reversed(Path(path).parents))
    return [folder for folder in dict.fromkeys(parents) if folder not in ("/", *SCRATCH)]


@functools.cache
def find_program() -> str:
    """Return the path of a bubblewrap that can be used; raises `FileNotFoundError`."""
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    options = subprocess.run([program, "--help"], capture_output=True, check=False).stdout
    if b"--size" not in options:
        raise FileNotFoundError("bubblewrap is too old: it has no --size")
    return program
