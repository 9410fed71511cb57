"""What a kernel says about one cell, read with distrust."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jupyter_client.session import Session
from nbformat import NotebookNode
from nbformat.v4 import new_output, output_from_msg

SHOWN = ("display_data", "execute_result", "error")


@dataclass(frozen=True)
class CellError:
    """The exception that ended a cell, as the kernel tells it."""

    name: str
    text: str
    traceback: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What a cell that was run to its end showed, the exception that ended it, and its time."""

    outputs: tuple[NotebookNode, ...]
    error: CellError | None
    seconds: float


class CellMessages:
    """Collects the messages of one cell until they are `complete`.

    Raises `OutputLimitError` beyond `most` bytes of messages and `ProtocolError` on nonsense.
    """

    def __init__(self, session: Session, request: str, most: float) -> None:
        self.error: CellError | None = None
        self._session = session
        self._request = request
        self._left = most
        self._shown: list[NotebookNode] = []
        self._displays: defaultdict[str | None, list[NotebookNode]] = defaultdict(list)
        self._clear_next = False
        self.began = self.replied = False
        self._idle = False

    @property
    def complete(self) -> bool:
        """Whether the kernel has said all that it says about a cell."""
        return self.replied and self._idle

    def outputs(self) -> tuple[NotebookNode, ...]:
        """Return what was shown so far, as nbformat's outputs; adjacent prints are one."""
        return tuple(
            NotebookNode(node, text="".join(node.text)) if node.output_type == "stream" else node
            for node in self._shown
        )

    def take(self, frames: list[bytes]) -> None:
        """Read a message from the wire, of this cell or not."""
        self._left -= sum(map(len, frames))
        if self._left < 0:
            raise OutputLimitError("the cell shows too much", self.outputs())
        try:
            message = self._session.deserialize(self._session.feed_identities(frames)[1])
            if message["parent_header"].get("msg_id") == self._request:
                self._note(message)
        except Exception as error:
            # Its words may show what was sent, however deep or large that is.
            text = f"the kernel sent nonsense: {type(error).__name__}"
            raise ProtocolError(text, self.outputs()) from error

    def _note(self, message: dict[str, Any]) -> None:
        kind, content = message["msg_type"], message["content"]
        self.began = True
        if kind == "status":
            self._idle |= content["execution_state"] == "idle"
        elif kind.endswith("_reply"):
            self.replied = True
            if content["status"] != "ok":
                self.error = _error(content)
        elif kind == "clear_output":
            self._clear_next = True
            if not content["wait"]:
                self._clear()
        elif kind == "stream":
            self._print(content["name"], content["text"])
        elif kind == "update_display_data":
            new = new_output("display_data", content["data"], metadata=content["metadata"])
            for node in self._displays[content["transient"]["display_id"]]:
                node.update(data=new.data, metadata=new.metadata)
        elif kind in SHOWN:
            self._clear()
            self._shown.append(output_from_msg(message))
            if kind != "error":
                display = content.get("transient", {}).get("display_id")
                self._displays[display].append(self._shown[-1])

    def _print(self, name: str, text: str) -> None:
        self._clear()
        if not isinstance(text, str):
            raise TypeError("text must be text")
        last = self._shown[-1] if self._shown else {}
        if last.get("name") == name:
            last["text"].append(text)
        else:
            self._shown.append(new_output("stream", name=name, text=[text]))

    def _clear(self) -> None:
        if self._clear_next:
            self._shown.clear()
            self._clear_next = False


def _error(content: dict[str, Any]) -> CellError:
    lines = content.get("traceback", [])
    return CellError(
        str(content.get("ename", content["status"])),
        str(content.get("evalue", "")),
        tuple(map(str, lines)) if isinstance(lines, list) else (),
    )


class KernelError(RuntimeError):
    """A cell was not run to its end; `outputs` is what it showed until then.

    `began` says whether the kernel took it up at all, as far as is known.
    """

    began = False

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
