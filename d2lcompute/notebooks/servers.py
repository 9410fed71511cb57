"""Start the processes that kernels come from, and send them what a kernel is to be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .sandbox.server import CHANNELS

# Imported as a package of its own: d2lcompute would bring torch in before the walls stand. The
# empty path, this folder, comes back where a kernel wants it.
LAUNCH = (
    "import sys; sys.path.insert(0, {folder!r}); from sandbox.server import main; "
    "del sys.path[:2]; main()"
)


def start_server(
    modules: Sequence[str],
    environment: Mapping[str, str],
    wrapper: Sequence[str] = (),
    errors: int | IO[bytes] = subprocess.DEVNULL,
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process that imports `modules` and forks kernels, or, without any, becomes one.

    `wrapper` is a command that runs it, such as bubblewrap. Returns the process and the socket
    that requests are sent to; the process ends when the socket closes.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = LAUNCH.format(folder=str(Path(__file__).parent))
    command = [*wrapper, sys.executable, "-c", code, str(theirs.fileno()), *modules]
    with theirs:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            env=dict(environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
    return process, ours


def send_request(server: socket.socket, request: Mapping[str, Any], status: socket.socket) -> None:
    """Ask a server for a kernel: make its sockets, send them along, keep none.

    The kernel's clients can connect from now on, before it exists.
    """
    connection = request["connection"]
    listeners: list[socket.socket] = []
    try:
        for channel in CHANNELS if connection else ():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setblocking(False)
            listener.bind(f"{connection['ip']}-{connection[channel]}")
            listener.listen()
        data = json.dumps(request).encode()
        descriptors = [status.fileno(), *(listener.fileno() for listener in listeners)]
        socket.send_fds(server, [data], descriptors)
    finally:
        for listener in listeners:
            listener.close()
