"""The process that kernels come from: a warm one that forks them, or one that becomes a kernel."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import linux
from .box import Box, enter

CHANNELS = ("shell_port", "iopub_port", "stdin_port", "control_port")
LARGEST_REQUEST = 1 << 20


def main() -> None:
    """Serve the socket whose descriptor is the first argument; the others are modules to import.

    With modules, answer each request with a forked kernel until the grader closes the socket.
    Without, become the kernel of the first request.
    """
    channel = socket.socket(fileno=int(sys.argv[1]))
    modules = sys.argv[2:]
    sys.argv[1:] = []
    if modules:
        _serve(channel, modules)
    else:
        request, sockets = _receive(channel)
        channel.close()
        _become_kernel(request, sockets)


def _serve(channel: socket.socket, modules: Sequence[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the grader watches, nobody waits here
    left = deque(modules)
    while True:
        answer = {}
        try:
            _warm_up(left, len(modules) - 1, channel)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        wish, _ = _receive(channel)  # somebody asks whether a kernel can be forked
        if not wish["more"]:
            left.clear()
        channel.send(json.dumps(answer).encode())
        if answer:
            return
        request, sockets = _receive(channel)
        kernel = os.fork()
        if kernel == 0:
            channel.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            _become_kernel(request, sockets)
        for descriptor in sockets:
            os.close(descriptor)
        _hand_over(kernel, channel)


def _warm_up(left: deque[str], later: int, channel: socket.socket) -> None:
    """Import the modules that are `left`, of which `later` can wait while somebody wants a kernel.

    Nothing is computed: after one parallel operation every forked child would hang.
    """
    importlib.import_module(f"{__package__}.app")
    imported = []
    while left and (len(left) > later or not select.select([channel], [], [], 0)[0]):
        imported.append(left.popleft())
        importlib.import_module(imported[-1])
    if not imported:
        return
    child = os.fork()  # ends the threads that OpenBLAS starts when imported, and restarts in need
    if child == 0:
        os._exit(0)
    with contextlib.suppress(ChildProcessError):  # once it has ended: nobody waits for children
        os.waitpid(child, 0)
    threads = len([*Path("/proc/self/task").iterdir()])
    if threads > 1:
        raise RuntimeError(f"importing {', '.join(imported)} leaves {threads} threads running")
    gc.collect()
    gc.freeze()


def _receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, sockets, _, _ = socket.recv_fds(channel, LARGEST_REQUEST, 1 + len(CHANNELS))
    if not data:
        os._exit(0)
    return json.loads(data), sockets


def _hand_over(kernel: int, channel: socket.socket) -> None:
    try:
        handle = os.pidfd_open(kernel)
    except ProcessLookupError:
        channel.send(json.dumps({"error": "the kernel ended as it started"}).encode())
        return
    socket.send_fds(channel, [json.dumps({"pid": kernel}).encode()], [handle])
    os.close(handle)


def _become_kernel(request: Mapping[str, Any], sockets: Sequence[int]) -> NoReturn:
    status, listeners = socket.socket(fileno=sockets[0]), sockets[1:]
    try:
        if request["box"]:
            enter(Box(**request["box"]), request["folder"], status, listeners)
        else:
            os.setsid()
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        _seed_anew()
        _check_sight(request["must_be_hidden"])
        from .app import start_app

        if request["connection"] is None:  # the walls were on trial, not a kernel
            os._exit(0)
        ports = [request["connection"][name] for name in CHANNELS]
        sockets_of = dict(zip(ports, listeners, strict=True))
        app = start_app(request["connection"], sockets_of, request["arguments"])
        status.close()  # nobody but the guard tells how this ends
        app.start()
    except Exception as error:
        with contextlib.suppress(OSError):
            text = f"{type(error).__name__}: {error}"
            status.send(json.dumps({"end": "error", "text": text}).encode())
        os._exit(1)
    os._exit(0)


def _check_sight(hidden: Sequence[str]) -> None:
    for path in hidden:
        with contextlib.suppress(OSError), Path(path).open():
            raise RuntimeError(f"{path} can be read inside")


def _seed_anew() -> None:
    """Give a fork random numbers of its own: it has those of its parent (not in `random`)."""
    random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
