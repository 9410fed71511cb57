"""How running a cell can fail apart from an exception in its code."""

from __future__ import annotations

from collections.abc import Sequence

from nbformat import NotebookNode


class KernelError(RuntimeError):
    """A cell was not run to its end; `outputs` is what it showed until then."""

    def __init__(self, message: str, outputs: Sequence[NotebookNode] = ()) -> None:
        super().__init__(message)
        self.outputs = tuple(outputs)


class KernelDiedError(KernelError):
    """The kernel's process ended: a crash, `os._exit`, a signal."""


class KernelKilledError(KernelDiedError):
    """It ended by SIGKILL, or nobody knows how: not by what ran in it, perhaps."""


class MemoryLimitError(KernelDiedError):
    """The kernel was ended because it and what it started used too much memory."""


class OutputLimitError(KernelError):
    """The cell showed more than it may; the kernel was ended."""


class ProtocolError(KernelError):
    """The kernel sent what no kernel sends; it was ended."""


class CellTimeoutError(KernelError):
    """The cell took too long; it was interrupted, or the kernel was ended where it ignored that."""


class NotebookTimeoutError(KernelError):
    """All cells together took too long; the kernel was ended."""
