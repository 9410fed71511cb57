"""A provisioner for `jupyter_client`: kernels forked warm, kernels in a box, or ordinary ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from .clock import find_kernel
from .isolation import wrapper
from .sandbox.box import Box
from .warm import ForkedProcess, NotWarmError, WarmProcess, send_request, start_server

END_SECONDS = 30.0


class KernelProvisioner(LocalProvisioner):
    """Launches the kernel of a manager with `transport="ipc"`; set it as `manager.provisioner`.

    `box` walls the kernel in, `warm_process` forks it; without either it is an ordinary one. Where
    it cannot be forked, the kernel starts cold, and `why_cold` says why. `status` is the socket on
    which the guard of a box says how it ended, see `sandbox.guard`.
    """

    box: Box | None = None
    warm_process: WarmProcess | None = None
    why_cold: str | None = "no warm kernel was asked for"
    status: socket.socket | None = None
    process: Any = None  # a `subprocess.Popen` or a `ForkedProcess`

    async def launch_kernel(self, cmd: list[str], **arguments: Any) -> KernelConnectionInfo:
        """Launch the kernel; its manager calls this."""
        if self.warm_process is None and self.box is None:
            return await super().launch_kernel(cmd, **arguments)
        request = self._request(cmd, arguments)
        self.status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = self._fork(cmd, request, theirs)
            if self.process is None and self.box is not None:
                self.process = _start(self.box, request, theirs)
        if self.box is None:
            self.status.close()
            self.status = None
        if self.process is None:
            return await super().launch_kernel(cmd, **arguments)
        self.pid = self.process.pid
        return self.connection_info

    def find_processes(self) -> tuple[int, int | None] | tuple[()]:
        """Return the process that all others are below, and the kernel's; nothing without Linux."""
        if sys.platform != "linux":
            return ()
        # Around a box's kernel is its guard, and around that what made its namespaces.
        generations = 0 if self.box is None else 1 + self.box.has_own_root
        return self.process.pid, find_kernel(self.process.pid, generations)

    def end(self) -> None:
        """End the kernel and all that it started, and wait until they are gone."""
        if self.status is not None:
            with contextlib.suppress(OSError):
                self.status.shutdown(socket.SHUT_WR)  # the guard's sign to leave nothing behind
                self.status.settimeout(END_SECONDS)
                while self.status.recv(1 << 16):
                    pass
            self.status.close()
        if self.process is not None:
            if self.box is None and hasattr(os, "killpg"):
                with contextlib.suppress(OSError):
                    os.killpg(self.process.pid, signal.SIGKILL)
            self.process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)

    async def kill(self, restart: bool = False) -> None:
        """End the kernel at once; its manager calls this."""
        await asyncio.to_thread(self.end)

    def _request(self, cmd: list[str], arguments: dict[str, Any]) -> dict[str, Any]:
        folder, environment = str(arguments.get("cwd") or Path.cwd()), arguments["env"]
        if self.box is not None:
            folder = "/tmp" if self.box.has_own_root else folder
            environment = environment | {"HOME": folder, "TMPDIR": folder}
        key: Any = self.connection_info["key"]
        return {
            "connection": {**self.connection_info, "key": key.decode()},
            "arguments": cmd[cmd.index("-f") + 2 :] if "-f" in cmd else [],
            "environment": environment,
            "folder": folder,
            "box": asdict(self.box) if self.box else None,
            "must_be_hidden": [],
        }

    def _fork(
        self, cmd: list[str], request: dict[str, Any], status: socket.socket
    ) -> ForkedProcess | None:
        if self.warm_process is None:
            return None
        try:
            if cmd[0] != sys.executable or "ipykernel_launcher" not in cmd:
                raise NotWarmError("the kernel is not this Python's")
            if self.box is not None and self.box.level == "bubblewrap":
                raise NotWarmError("bubblewrap cannot hold a forked kernel")
            process = self.warm_process.fork(request, status)
        except NotWarmError as reason:
            self.why_cold = str(reason)
            return None
        self.why_cold = None
        return process


def _start(box: Box, request: dict[str, Any], status: socket.socket) -> subprocess.Popen[bytes]:
    prefix = wrapper(box) if box.level == "bubblewrap" else []
    process, server = start_server((), request["environment"], prefix)
    with server:
        try:
            send_request(server, request, status)
        except OSError:
            process.kill()
            process.wait()
            raise
    return process
