"""Reading what torch.save wrote: no code runs, and the CRCs that torch does not read are read."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint

from .format import Contents, Part, in_threads


def read(path: str | os.PathLike[str]) -> Contents:
    """Return the tensors in a torch.save file, or raise `ValueError` with the reason."""
    parts = _records(path)
    if any(part.name.endswith("/constants.pkl") for part in parts):
        raise ValueError("it is a TorchScript archive, code that is, and holds no tensors alone")
    try:
        objects = get_unsafe_globals_in_checkpoint(path)
        found = None if objects else _load(path)
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"torch.load cannot read it ({type(error).__name__}: {reason})") from None
    if objects:
        names = ", ".join(f"`{name}`" for name in sorted(objects))
        raise ValueError(f"it holds more than tensors, and loading {names} could run code")
    covered, size = sum(part.bytes for part in parts), Path(path).stat().st_size
    note = f"{covered:,} of {size:,} bytes are under a CRC, the others hold the archive together"
    return Contents(*_kind_and_tensors(found), parts, note)


def _load(path: str | os.PathLike[str]) -> Any:
    if os.fspath(path).endswith(".safetensors"):  # torch would take the name for the content
        with Path(path).open("rb") as file:
            return torch.load(file, "cpu", weights_only=True)
    return torch.load(path, "cpu", weights_only=True, mmap=True)


def _kind_and_tensors(found: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(found, Tensor):
        return "tensor", {"0": found}
    if isinstance(found, list):
        return "list", {str(index): item for index, item in enumerate(found)}
    if isinstance(found, dict) and all(isinstance(name, str) for name in found):
        return "dict", found
    raise ValueError(f"it holds a {type(found).__name__}, not tensors by name")


def _records(path: str | os.PathLike[str]) -> list[Part]:
    """Read all of the archive against its CRCs and return what it consists of."""
    try:
        with zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
            records = archive.infolist()
            streams = [stack.enter_context(archive.open(record)) for record in records]
            sound = in_threads(_sound, streams)
    except Exception as error:  # a damaged archive may raise nearly anything
        raise ValueError(f"it is a damaged zip archive ({error})") from None
    changed = [f"`{record.filename}`" for record, ok in zip(records, sound, strict=True) if not ok]
    if changed:
        raise ValueError(f"{', '.join(changed)} in it changed since it was saved: wrong CRC")
    return [Part(r.filename, r.file_size, f"crc32:{r.CRC:08x}") for r in records]


def _sound(stream: Any) -> bool:
    try:
        while stream.read(1 << 20):
            pass
    except zipfile.BadZipFile:
        return False
    return True
