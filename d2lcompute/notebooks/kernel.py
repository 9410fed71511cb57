"""Start a kernel and run cells in it, one at a time; it cannot take its caller down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import ipykernel.kernelspec
import zmq
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from .cell import (
    CellMessages,
    CellTimeoutError,
    KernelDiedError,
    KernelError,
    KernelKilledError,
    MemoryLimitError,
    NotebookTimeoutError,
    OutputLimitError,
    Result,
)
from .cgroup import Group, group_of
from .clock import Clock
from .isolation import MB, Isolation, Limits, clean_environment
from .provisioner import KernelProvisioner
from .sandbox.box import Box
from .sandbox.guard import own_memory
from .warm import WarmProcess

# Checking a notebook must not write into its reader's history.
ARGUMENTS = ["--HistoryManager.enabled=False"]
# One that fails to start ends, which is noticed at once; on a busy machine it takes its time.
STARTUP_SECONDS = 600.0
PULSE = 0.25
LOOK = 0.05  # between looks at one's own memory, each of which takes longer than a message
FAREWELL_SECONDS = 5.0
INTERRUPT_SECONDS = 2.0
MOST_LATE = 100  # messages that were sent in time, perhaps, and are read when it is over
IDLE_SECONDS = 0.3
KILLED = -9  # by SIGKILL, which has no name on Windows
# ZeroMQ keeps the parts of a message, however many, until the last one has come.
MOST_WAITING = 256 * MB


class Kernel:
    """A kernel from `start_kernel`.

    `run` raises a `KernelError` of `failures` where a cell does not come to its end. After a
    `CellTimeoutError` the kernel may live on (`is_alive`); after any other it has ended.
    """

    def __init__(
        self, manager: KernelManager, provisioner: KernelProvisioner, limits: Limits, folder: Path
    ) -> None:
        self.limits = limits
        self._manager, self._provisioner, self._folder = manager, provisioner, folder
        self._stopped = False
        self.spent = 0.0
        self._process: tuple[int, int | None] | tuple[()] = ()
        self._group: Group | None = None
        self._channels: list[zmq.Socket[bytes]] = []
        self._poller = zmq.Poller()

    @property
    def why_cold(self) -> str | None:
        """None for a forked kernel, else why it is an ordinary one."""
        return self._provisioner.why_cold

    def start(self, **arguments: Any) -> None:
        """Start the process, with `arguments` like those of `subprocess.Popen`; once only."""
        self._manager.start_kernel(
            extra_arguments=ARGUMENTS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **arguments,
        )
        self._connect()
        self._wait_until_ready()
        self._process = self._provisioner.find_processes()
        box = self._provisioner.box
        if box is not None and self._process and self._process[1] is not None:
            self._group = group_of(self._process[1], box.memory, box.processes)

    def run(self, code: str, timeout: float | None = None) -> Result:
        """Run a cell and return what it showed; `timeout` is in seconds of its own, see `Clock`.

        Raises `KernelError`.
        """
        left = max(0.0, self.limits.seconds - self.spent)
        seconds = left if timeout is None else min(timeout, left)
        if not self.is_alive():
            raise KernelKilledError("the kernel has ended")
        clock = Clock(*self._process)
        cell = self._messages(self._client.execute(code, allow_stdin=False, stop_on_error=False))
        try:
            if not self._read_until(_is_complete, cell, seconds, clock):
                self._stop(cell, seconds, whole=seconds == left)
        except KernelError as error:
            error.began = cell.began
            if not isinstance(error, CellTimeoutError):
                self._provisioner.end()
            raise
        finally:
            taken = clock.elapsed()
            self.spent += taken
        return Result(cell.outputs(), cell.error, taken)

    def is_alive(self) -> bool:
        """Whether the kernel's process runs."""
        process = self._provisioner.process
        return process is not None and process.poll() is None

    def stop(self) -> None:
        """Let `run` end with a `KernelError` soon, in whatever thread it is."""
        self._stopped = True

    def close(self) -> None:
        """End the kernel and all it started; nothing of it is left when this returns."""
        self._provisioner.end()
        if self._group is not None:
            self._group.remove()
        for channel in self._channels:
            channel.disable_monitor()
        self._manager.cleanup_resources()
        self._manager.context.destroy(linger=0)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _connect(self) -> None:
        self._client: BlockingKernelClient = self._manager.client(context=self._manager.context)
        self._client.start_channels(stdin=False, hb=False)
        self._channels += [self._client.iopub_channel.socket, self._client.shell_channel.socket]
        for channel in self._channels:
            self._poller.register(channel, zmq.POLLIN)
            # A message over ZeroMQ's limit is answered by disconnecting.
            monitor = channel.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            self._poller.register(monitor, zmq.POLLIN)

    def _messages(self, request: str) -> CellMessages:
        return CellMessages(self._client.session, request, self.limits.output_mb * MB)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            hello = self._messages(self._client.kernel_info())
            if not self._read_until(_has_replied, hello, STARTUP_SECONDS, Clock()):
                break
            # What was published before our subscription arrived is lost: then ask again.
            if self._read_until(_is_complete, hello, IDLE_SECONDS, Clock()):
                return
        raise KernelError(f"the kernel did not start within {STARTUP_SECONDS:g} s")

    def _read_until(
        self,
        done: Callable[[CellMessages], bool],
        cell: CellMessages,
        seconds: float,
        clock: Clock,
    ) -> bool:
        most, late, looked = own_memory() + MOST_WAITING, MOST_LATE, time.monotonic()
        while not done(cell):
            if self._stopped:
                raise KernelKilledError("the kernel was stopped", cell.outputs())
            if time.monotonic() > looked + LOOK:
                looked = time.monotonic()
                if own_memory() > most:
                    text = "the cell sent more than the grader can hold"
                    raise OutputLimitError(text, cell.outputs())
            left = seconds - clock.elapsed()
            ready = dict(self._poller.poll(int(1000 * min(max(left, 0), PULSE)) + 1))
            waiting = [channel for channel in self._channels if channel in ready]
            for channel in waiting:
                cell.take(channel.recv_multipart())
            late -= left <= 0
            if left <= 0 and not (waiting and late):
                return done(cell)
            if not waiting and (ready or not self.is_alive()):
                self._tell_the_end(cell)
        return True

    def _stop(self, cell: CellMessages, seconds: float, whole: bool) -> None:
        if whole:
            text = f"the notebook took longer than {self.limits.seconds:g} s"
            raise NotebookTimeoutError(text, cell.outputs())
        end = "was interrupted"
        if not self._interrupt(cell):
            self._provisioner.end()
            end = "ignored the interrupt, and the kernel was ended"
        raise CellTimeoutError(f"the cell took longer than {seconds:g} s and {end}", cell.outputs())

    def _interrupt(self, cell: CellMessages) -> bool:
        """Return whether the cell has ended, and the signal cannot come later, to the next one."""
        control = self._client.control_channel
        control.send(self._client.session.msg("interrupt_request"))
        clock = Clock(*self._process)
        if not self._read_until(_is_complete, cell, INTERRUPT_SECONDS, clock):
            return False
        while not control.socket.poll(int(1000 * PULSE)):  # the kernel replies after the signal
            if clock.elapsed() > INTERRUPT_SECONDS or not self.is_alive():
                return False
        control.socket.recv_multipart()
        return True

    def _tell_the_end(self, cell: CellMessages) -> NoReturn:
        end, outputs = self._last_words(), cell.outputs()
        if end is None:
            size = self.limits.output_mb
            raise OutputLimitError(f"the cell sent more than {size:g} MB at once", outputs)
        code = end.get("code")
        if end["end"] == "memory" or (code == KILLED and self._group and self._group.has_killed()):
            text = f"the kernel used more than {self.limits.memory_mb} MB of memory"
            raise MemoryLimitError(text, outputs)
        if end["end"] == "error":
            raise KernelDiedError(f"the kernel did not start: {end['text']}", outputs)
        kind = KernelKilledError if code in (None, KILLED) else KernelDiedError
        raise kind(f"the kernel ended{_how(code)}", outputs)

    def _last_words(self) -> dict[str, Any] | None:
        """Return how the kernel ended, None where it has not."""
        provisioner = self._provisioner
        try:
            if provisioner.status is not None:
                provisioner.status.settimeout(FAREWELL_SECONDS)
                words = provisioner.status.recv(1 << 16)
                return json.loads(words) if words else {"end": "exited"}
            if provisioner.process is not None:
                code = provisioner.process.wait(FAREWELL_SECONDS)
                known = isinstance(provisioner.process, subprocess.Popen)
                return {"end": "exited", "code": code if known else None}
        except (TimeoutError, subprocess.TimeoutExpired):
            return None
        return {"end": "exited"}


def _is_complete(cell: CellMessages) -> bool:
    return cell.complete


def _has_replied(cell: CellMessages) -> bool:
    return cell.replied


def _how(code: int | None) -> str:
    if code is None:
        return ""
    names = {signum.value: signum.name for signum in signal.Signals}
    return f" with exit code {code}" if code >= 0 else f" by {names.get(-code, f'signal {-code}')}"


# A student's kernel could fill the grader's memory; it waits while so many messages are unread.
MESSAGES_UNREAD = 16
# The path of a socket has room for 103 bytes on macOS, 107 on Linux; `/d2l-12345678/kernel-12`.
LONGEST_FOLDER = 80


def start_kernel(
    isolation: Isolation | None = None,
    warm_process: WarmProcess | None = None,
    limits: Limits | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Kernel:
    """Return a running kernel of this Python; close it, or use it in a `with` block.

    >>> from d2lcompute.notebooks.kernel import start_kernel
    >>> with start_kernel() as kernel:
    ...     kernel.run("6 * 7").outputs[0].data["text/plain"]
    '42'

    `isolation` says how it is boxed, see `find_isolation`; None trusts its code. `warm_process`
    forks it; where that fails it starts cold, and `Kernel.why_cold` says why. A trusted kernel runs
    in `folder`, a boxed one in a private folder. The environment is the warm process's; without one
    it is clean in a box, and this process's own otherwise.

    Raises `KernelError` where the kernel does not start.
    """
    limits = limits or Limits()
    box = None if isolation is None else isolation.box(limits)
    scratch = Path(tempfile.mkdtemp(prefix="d2l-", dir=_folder_of_sockets()))
    manager = _manager(scratch, limits, MESSAGES_UNREAD if box else 0)
    provisioner = KernelProvisioner(
        kernel_id=scratch.name, kernel_spec=manager.kernel_spec, parent=manager
    )
    manager.provisioner = provisioner
    provisioner.warm_process, provisioner.box = warm_process, box
    kernel = Kernel(manager, provisioner, limits, scratch)
    try:
        folder = folder if box is None else _private_folder(scratch, box)
        kernel.start(env=_environment(warm_process, isolation), cwd=str(folder))
    except BaseException as error:
        kernel.close()
        if isinstance(error, OSError):
            raise KernelError(f"the kernel did not start: {error}") from error
        raise
    return kernel


def _folder_of_sockets() -> str:
    """Return a temporary folder whose name is short enough for the sockets in it."""
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_FOLDER or os.name != "posix" else "/tmp"


class _ThisPython(KernelSpecManager):
    """Knows one kernel, that of the running interpreter, whatever is installed beside it."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        # A signal would end bubblewrap instead of reaching the kernel.
        return KernelSpec(**ipykernel.kernelspec.get_kernel_dict(), interrupt_mode="message")


def _manager(scratch: Path, limits: Limits, most_unread: int) -> KernelManager:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.setsockopt(zmq.MAXMSGSIZE, int(limits.output_mb * MB))
    context.setsockopt(zmq.RCVHWM, most_unread)
    context.setsockopt(zmq.LINGER, 0)
    place = {"transport": "ipc", "ip": str(scratch / "kernel")} if zmq.has("ipc") else {}
    return KernelManager(
        context=context,
        kernel_spec_manager=_ThisPython(),
        connection_file=str(scratch / "kernel.json"),
        **place,
    )


def _private_folder(scratch: Path, box: Box) -> Path:
    """Return a folder that a kernel without a file system of its own may write to."""
    folder = scratch / "work"
    folder.mkdir()
    if box.user is not None:
        scratch.chmod(0o711)
        os.chown(folder, box.user, box.user)
    return folder


def _environment(warm_process: WarmProcess | None, isolation: Isolation | None) -> dict[str, str]:
    if warm_process is not None:
        return warm_process.environment
    return dict(os.environ) if isolation is None else clean_environment()
