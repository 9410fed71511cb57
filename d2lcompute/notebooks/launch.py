"""Start a kernel: which walls, warm or cold, in which folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import ipykernel.kernelspec
import zmq
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import KernelManager

from .isolation import MB, Isolation, Limits, clean_environment
from .kernel import Kernel
from .provisioner import KernelProvisioner
from .sandbox.box import Box
from .warm import Zygote

# A student's kernel could fill the grader's memory; it waits while so many messages are unread.
MESSAGES_UNREAD = 16
# The path of a socket has room for 103 bytes on macOS, 107 on Linux; `/d2l-12345678/kernel-12`.
LONGEST_FOLDER = 80


def start_kernel(
    isolation: Isolation | None = None,
    zygote: Zygote | None = None,
    limits: Limits | None = None,
    folder: str | os.PathLike[str] = ".",
) -> Kernel:
    """Return a running kernel of this Python; close it, or use it in a `with` block.

    >>> from d2lcompute.notebooks.launch import start_kernel
    >>> with start_kernel() as kernel:
    ...     kernel.run("6 * 7").outputs[0].data["text/plain"]
    '42'

    `isolation` is the rung it is boxed on, see `find_isolation`; None trusts its code. `zygote`
    forks it; where that fails it starts cold, and `Kernel.why_cold` says why. A trusted kernel runs
    in `folder`, a boxed one in a private folder. The environment is the zygote's; without one it is
    clean in a box, and this process's own otherwise.

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
    provisioner.zygote, provisioner.box = zygote, box
    kernel = Kernel(manager, provisioner, limits, scratch)
    try:
        folder = folder if box is None else _private_folder(scratch, box)
        kernel.start(env=_environment(zygote, isolation), cwd=str(folder))
    except BaseException:
        kernel.close()
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


def _environment(zygote: Zygote | None, isolation: Isolation | None) -> dict[str, str]:
    if zygote is not None:
        return zygote.environment
    return dict(os.environ) if isolation is None else clean_environment()
