"""What crosses between devices: every copy and every read that makes Python wait."""

from __future__ import annotations

import linecache
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ..passes.hooks import Functions, Operators
from ..tables import Rows, Shown, Table
from ..words.language import _, marks

aten = torch.ops.aten

Crossing = tuple[torch.device, torch.device, int, bool]  # from, to, bytes, whether Python waits

CPU = torch.device("cpu")
PACKAGES = Path(torch.__file__).parent, Path(__file__).parents[1]
INSIDE = tuple(f"{folder}{os.sep}" for folder in PACKAGES)
COPIES: dict[str, Callable[[Any, Any], Iterable[tuple[Tensor, Tensor]]]] = {
    "_to_copy": lambda args, result: [(args[0], result)],
    "copy": lambda args, result: [(args[1], result)],
    "copy_": lambda args, result: [(args[1], args[0])],
    "_foreach_copy_": lambda args, result: zip(args[1], args[0], strict=True),
}
SPOKEN = {
    "__repr__": "print",
    "__getitem__": "x[...]",
    "__setitem__": "x[...] =",
    "__contains__": "in",
    "_to_copy": "to",
    "_local_scalar_dense": "item",
}
NEEDS_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
TAGGED_IN_VAIN = {"_ctc_loss", "linalg_lstsq"}  # their shapes are known without the values
LENGTH_BYTES = 8  # where a shape depends on values, torch reads the length of the result


@dataclass(frozen=True)
class Transfer:
    """One copy between devices or one read that waits for a device.

    `call` is what was called; `source` and `target` are the devices, `bytes` is what crossed, and
    `waits` says whether Python stood still until it had. `place` is the file or the notebook cell
    with its line, and `code` the text of that line.
    """

    call: str
    source: torch.device
    target: torch.device
    bytes: int
    waits: bool
    place: str
    code: str


@dataclass(frozen=True, repr=False)
class Transfers(Rows[Transfer]):
    """What `watch_transfers` saw: every transfer in `events`, and a table of them by line."""

    events: list[Transfer] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many transfers there were."""
        return len(self.events)

    @property
    def bytes(self) -> int:
        """How many bytes crossed."""
        return sum(event.bytes for event in self.events)

    def _table(self) -> Table:
        sizes: dict[tuple[object, ...], list[int]] = {}
        for e in self.events:
            code = e.code if len(e.code) <= 60 else e.code[:57] + "..."
            waits = Shown(e.waits, _("yes") if e.waits else _("no"))
            key = (e.place, code, e.call, e.source, e.target, waits)
            sizes.setdefault(key, []).append(e.bytes)
        rows = [(*key, len(each), sum(each)) for key, each in sizes.items()]
        note = _(
            "transfers: {count:,}, bytes: {bytes:,}, waits: {waits:,}",
            count=self.count,
            bytes=self.bytes,
            waits=sum(e.waits for e in self.events),
        )
        headers = marks("line", "code", "call", "from", "to", "waits", "times", "bytes")
        return Table(headers, rows, notes=[note if rows else _("nothing crossed between devices")])

    def _rows(self) -> list[Transfer]:
        return self.events


@contextmanager
def watch_transfers() -> Iterator[Transfers]:
    """Report every copy between devices, and every read that waits for one, within a `with` block.

    >>> X = torch.rand(2, 3, device=d2c.practice_gpus(2)[1])
    >>> with d2c.watch_transfers() as transfers:
    ...     total = X.sum().item()
    ...     Y = X.cpu()
    >>> [(event.call, event.bytes) for event in transfers.events]
    [('item', 4), ('cpu', 24)]

    Copies are those between two devices, `torch.tensor(..., device=gpu())` among them. Reads are
    `item`, `tolist`, `bool`, `float`, printing, `equal`, `allclose`, and all whose result has a
    length that depends on values: `x[mask]`, `nonzero`, `unique`. Work on the CPU alone gives
    nothing to report. What `backward` moves is reported at the line that calls it; other threads
    are not watched, and neither is what an operator of an accelerator waits for within itself, as
    `torch.multinomial` may. Outside the block nothing is watched and nothing costs anything.

    Yields a `Transfers` report, which fills while the block runs.
    Source: D2L 6.7 / zh 5.6
    """
    transfers = Transfers()
    calls = _Calls(transfers.events)
    with Functions(calls.run), Operators(calls.run_operator):
        yield transfers


class _Calls:
    """Knows which call of the user's the operators belong to, and notes what they move."""

    def __init__(self, events: list[Transfer]) -> None:
        self.events = events
        self.call = ""
        self.thread = threading.get_ident()

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function of torch, whose operators belong to the outermost one."""
        outer, self.call = self.call, self.call or getattr(func, "__name__", "")
        try:
            result = func(*args, **kwargs)
            if _prints(func, args):  # torch switches the other mode off to print
                self.record("", args[0].device, CPU, _size(args[0]), waits=True)
        finally:
            self.call = outer
        return result

    def run_operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator, and note what it copies between devices or reads from one."""
        result = func(*args, **kwargs)
        if isinstance(func, torch._ops.OpOverload):
            name = func.overloadpacket.__name__
            for crossing in _crossings(func, name, args, kwargs, result):
                self.record(name, *crossing)
        return result

    def record(
        self, name: str, source: torch.device, target: torch.device, size: int, waits: bool
    ) -> None:
        """Note a transfer, unless it stays on one device or nothing moves."""
        if source == target or "meta" in (source.type, target.type):
            return
        call = self.call or name
        spoken = SPOKEN.get(call, call.strip("_"))
        self.events.append(Transfer(spoken, source, target, size, waits, *self._line()))

    def _line(self) -> tuple[str, str]:
        frame = _users(sys._getframe()) or _users(sys._current_frames().get(self.thread))
        if frame is None:
            return "", ""
        file, number = frame.f_code.co_filename, frame.f_lineno
        code = linecache.getline(file, number, frame.f_globals).strip()
        return f"{_place(file)}:{number}", code


def _crossings(func: Any, name: str, args: Any, kwargs: Any, result: Any) -> Iterator[Crossing]:
    if name in COPIES:
        asynchronous = kwargs.get("non_blocking") or True in args[2:]
        for source, target in COPIES[name](args, result):
            waits = CPU in (source.device, target.device) and not asynchronous
            yield source.device, target.device, _size(target), waits
    elif name == "lift_fresh":  # the last step of torch.tensor(numbers, device=...)
        yield CPU, result.device, _size(result), True
    elif name in ("index", "index_put", "index_put_"):
        yield from _indexing(*args)
    elif name in ("masked_fill", "masked_fill_"):
        yield from _filling(args[2])
    elif _reads(func, name, kwargs):
        read = next(value for value in args if isinstance(value, Tensor))
        if name == "_local_scalar_dense":
            yield read.device, CPU, read.element_size(), True
        else:
            yield read.device, CPU, 1 if isinstance(result, bool) else LENGTH_BYTES, True


def _reads(func: Any, name: str, kwargs: Any) -> bool:
    if name in TAGGED_IN_VAIN or kwargs.get("output_size") is not None:
        return False
    return name == "_linalg_check_errors" or not NEEDS_VALUES.isdisjoint(func.tags)


def _indexing(
    x: Tensor, indices: Any, values: Tensor | None = None, accumulate: bool = False
) -> Iterator[Crossing]:
    masks = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
    if masks and values is not None and values.numel() == 1:
        # torch need not know how many the mask hits. On a practice device it makes a tensor of a
        # number there, which cannot be told from a tensor that was given.
        if values.device.type != "practice":
            yield from _filling(values)
        return
    for tensor in (*indices, values):
        if tensor is not None:
            yield tensor.device, x.device, _size(tensor), True
    if masks:
        yield x.device, CPU, LENGTH_BYTES, True


def _filling(value: Any) -> Iterator[Crossing]:
    """Under a mask an accelerator fills with a number of Python's: a tensor of its own is read."""
    if isinstance(value, Tensor):
        yield value.device, CPU, value.element_size(), True


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _prints(func: Any, args: Any) -> bool:
    return func is Tensor.__repr__ or (func is Tensor.__format__ and args[0].dim() > 0)


def _users(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that is neither torch's nor ours."""
    while frame is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame = frame.f_back
    return frame


def _place(file: str) -> str:
    """Return the file's name, and the same for every notebook cell, whose files differ each run."""
    path = Path(file)
    notebook = path.parent.name.startswith("ipykernel_") or "ipython-input" in path.name
    return "cell" if notebook else path.name
