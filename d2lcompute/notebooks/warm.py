"""Warm kernels: forked from a process that has imported torch, in a tenth of the time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .sandbox import server
from .sandbox.server import CHANNELS

PRELOAD = (
    "torch",  # the first: no kernel is forked before, and for one that is wanted the others wait
    # What a kernel imports as it starts, a tenth of a second of it the debugger.
    "IPython.core.completerlib", "IPython.core.debugger", "IPython.core.logger",
    "IPython.core.oinspect", "IPython.core.pylabtools", "IPython.extensions.storemagic",
    "ipykernel.debugger", "tornado.platform.asyncio",
    # Not the inline backend: it looks for its kernel when it is imported.
    "numpy.random", "matplotlib.backends.backend_agg", "matplotlib.pyplot", "PIL.GifImagePlugin",
    "PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.PpmImagePlugin",
    # The first error.
    "pygments.formatters.html", "pygments.formatters.terminal256", "pygments.lexers.python",
    "stack_data.core",
    # The first optimizer imports it, which takes longer than the rest of a notebook.
    "torch._dynamo",
    # What notebooks that use d2lcompute import of it: a fifth of a second for each.
    "d2lcompute.blocks", "d2lcompute.devices.devices", "d2lcompute.devices.practice.registry",
    "d2lcompute.devices.transfers", "d2lcompute.exercises.check",
    "d2lcompute.files.save_load", "d2lcompute.layers", "d2lcompute.lazy",
    "d2lcompute.notebooks.errors", "d2lcompute.parameters.tie", "d2lcompute.seeing.compare",
    "d2lcompute.seeing.diagnose", "d2lcompute.seeing.draw", "d2lcompute.seeing.gradients_by_use",
    "d2lcompute.seeing.picture.artists", "d2lcompute.seeing.plot", "d2lcompute.tables.html",
    "safetensors.torch", "xxhash",
)  # fmt: skip
PATIENCE_SECONDS = 600.0  # one that ends is noticed at once; on a busy machine it takes its time
# What libraries read once, when they are loaded: a fork cannot have other values.
READ_WHEN_LOADED = (
    "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "TORCH_", "PYTORCH_", "CUDA_",
    "MPL", "PYTHON", "LD_", "LC_", "LANG",
)  # fmt: skip


class NotWarmError(RuntimeError):
    """A kernel cannot be forked; the message says why. An ordinary one can be started instead."""


class WarmProcess:
    """The process that warm kernels are forked from; Linux only.

    It imports `preload` and never computes: after one parallel operation all its children would
    hang. It starts at once and in the background; a kernel that is wanted does not wait for more
    than the first import. Its kernels have its `environment` (this process's own by default). It
    ends with `close`, at the end of a `with` block, or with this process; its kernels end with it.
    Without `more` kernels to come after the next one, it imports nothing beside that.

    Raises `NotWarmError` where nothing can be forked; `fork` raises it too.
    """

    def __init__(
        self, preload: tuple[str, ...] = PRELOAD, environment: Mapping[str, str] | None = None
    ) -> None:
        _check_system()
        self.environment = dict(os.environ if environment is None else environment)
        backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        self._process, self._socket = start_server(preload, backend | self.environment)
        self._lock = threading.Lock()
        self.more = True
        self._owner = os.getpid()
        self._failure: NotWarmError | None = None

    def fork(self, request: Mapping[str, Any], status: socket.socket) -> ForkedProcess:
        """Return a new process that becomes the kernel of `request`, see `send_request`."""
        if os.getpid() != self._owner:
            raise NotWarmError("the warm process belongs to another process")
        self._check_environment(request["environment"])
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                self._socket.send(json.dumps({"more": self.more}).encode())
                self._receive()  # ready: clients can connect once there are sockets
                send_request(self._socket, request, status)
                answer, handles = self._receive()
            except OSError as error:
                self._failure = NotWarmError(f"the warm process does not answer: {error}")
                raise self._failure from error
            except NotWarmError as error:
                self._failure = error
                raise
        return ForkedProcess(answer["pid"], handles[0])

    def close(self) -> None:
        """End the process and every kernel that was forked from it."""
        self._socket.close()
        if os.getpid() == self._owner:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> WarmProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        self._socket.settimeout(PATIENCE_SECONDS)
        data, handles, _, _ = socket.recv_fds(self._socket, 1 << 16, 1)
        if not data:
            raise NotWarmError(f"the warm process ended with exit code {self._process.wait()}")
        answer = json.loads(data)
        if "error" in answer:
            raise NotWarmError(answer["error"])
        return answer, handles

    def _check_environment(self, wanted: Mapping[str, str]) -> None:
        for name in sorted({*wanted, *self.environment}):
            differs = wanted.get(name) != self.environment.get(name)
            if differs and name.startswith(READ_WHEN_LOADED):
                raise NotWarmError(f"the warm process was started with another {name}")


def start_warm_process(jobs: int, cores: int) -> WarmProcess | str:
    """Return a process for so many kernels side by side, which share the cores; or why not."""
    shared = {} if jobs == 1 else {"OMP_NUM_THREADS": str(max(1, cores // jobs))}
    try:
        return WarmProcess(environment=shared | os.environ)
    except NotWarmError as reason:
        return str(reason)


class ForkedProcess:
    """The part of `subprocess.Popen` that `jupyter_client` uses, for a process not our child."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, handle: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = handle

    def poll(self) -> int | None:
        """Return 0 once the process has ended: who is not its parent cannot know its exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process; raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if not poll.poll(None if timeout is None else 1000 * timeout):
                raise subprocess.TimeoutExpired("kernel", timeout or 0)
            os.close(self._handle)
            self.returncode = 0
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signal the process, never another one that got its number later."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it may end meanwhile
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask the process to end."""
        self.send_signal(signal.SIGTERM)


def _check_system() -> None:
    if sys.platform != "linux":
        raise NotWarmError(f"kernels can be forked on Linux only, this is {sys.platform}")
    if not hasattr(os, "pidfd_open"):
        raise NotWarmError("this Python was built without os.pidfd_open")


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
    code = f"from {server.__name__} import main; main()"
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


def send_request(channel: socket.socket, request: Mapping[str, Any], status: socket.socket) -> None:
    """Ask a server for a kernel: make its sockets, send them along, keep none.

    The kernel's clients can connect from now on, before it exists.
    """
    connection = request["connection"]
    listeners: list[socket.socket] = []
    try:
        for name in CHANNELS if connection else ():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listeners.append(listener)
            listener.setblocking(False)
            path = f"{connection['ip']}-{connection[name]}"
            Path(path).unlink(missing_ok=True)  # of a warm process that could not be asked
            listener.bind(path)
            listener.listen()
        data = json.dumps(request).encode()
        descriptors = [status.fileno(), *(listener.fileno() for listener in listeners)]
        socket.send_fds(channel, [data], descriptors)
    finally:
        for listener in listeners:
            listener.close()
