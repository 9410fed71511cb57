"""What other systems lack, taken away: `python platforms.py win32 CODE` runs code as if there.

Packages of others are loaded first, for they choose their own libraries by the system.
"""

import importlib
import os
import signal
import socket
import sys

LACKING = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "posix", "_posixsubprocess"}
NAMES = {
    os: ("fork", "getuid", "geteuid", "getgid", "setuid", "setgid", "killpg", "chown", "mkfifo",
         "register_at_fork", "pidfd_open", "sched_getaffinity", "getpgid", "setsid", "uname",
         "O_DIRECTORY", "memfd_create", "unshare", "setns", "wait4", "waitid", "sched_setaffinity"),
    signal: ("SIGKILL", "SIGSTOP", "SIGHUP", "SIGUSR1", "SIGALRM", "setitimer",
             "pidfd_send_signal"),
    socket: ("AF_UNIX", "send_fds", "recv_fds", "SCM_RIGHTS"),
}  # fmt: skip
ON_LINUX_ALONE = ("pidfd_open", "unshare", "setns", "memfd_create", "sched_getaffinity",
                  "sched_setaffinity", "pidfd_send_signal")  # fmt: skip


LOADED = ("matplotlib.pyplot", "safetensors.torch", "torch", "xxhash", "typer.main",
          "rich.progress", "typer.rich_utils", "distributed", "jupytext", "nbval.plugin",
          "ipykernel.kernelapp", "jupyter_client.manager",
          "jupyter_client.blocking.client")  # fmt: skip


class Lacking:
    """Finds none of the modules that the system does not have."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in LACKING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def become(system):
    """Take away what `system` lacks."""
    for name in LOADED:
        importlib.import_module(name)
    on_windows = system == "win32"
    for module, names in NAMES.items():
        for name in names:
            if hasattr(module, name) and (on_windows or name in ON_LINUX_ALONE):
                delattr(module, name)
    if on_windows:
        for name in LACKING:
            sys.modules.pop(name, None)
        sys.meta_path.insert(0, Lacking)
    sys.platform = system


if __name__ == "__main__":
    become(sys.argv[1])
    exec(sys.argv[2])
