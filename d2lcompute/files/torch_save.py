"""Reading what torch.save wrote: no code runs, and the CRCs that torch does not read are read."""

from __future__ import annotations

import contextlib
import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from ..words.language import _
from .format import in_threads
from .nest import is_too_deep
from .report import AnyPath, Part, refusal


def read(path: AnyPath) -> tuple[Any, list[Part], str]:
    """Return what a torch.save file holds, its parts, and how far checksums protect it."""
    parts = _records(path)
    if any(part.name.endswith("/constants.pkl") for part in parts):
        reason = "it is a TorchScript archive, code that is, and holds no tensors alone"
        raise refusal(path, reason, parts, mend="do torch.jit.load(path) if you trust it")
    try:
        objects = get_unsafe_globals_in_checkpoint(path)
        found = None if objects else _load(path)
    except Exception as error:
        reason = str(error).split("\n")[0]
        reason = f"torch.load cannot read it ({type(error).__name__}: {reason})"
        raise refusal(path, reason, parts) from None
    if objects:
        names = ", ".join(f"`{name}`" for name in sorted(objects))
        reason = f"it holds more than tensors, and loading {names} could run code"
        mend = (
            "ask for a file of its state_dict() alone, or, if you trust who wrote it, "
            "make one from torch.load(path, weights_only=False)"
        )
        raise refusal(path, reason, parts, mend=mend)
    if is_too_deep(found):
        raise refusal(path, "what it holds is nested too deeply, or contains itself", parts)
    covered, size = sum(part.bytes for part in parts), Path(path).stat().st_size
    note = _(
        "{covered:,} of {size:,} bytes are under a CRC, the others hold the archive together",
        covered=covered,
        size=size,
    )
    return found, parts, note


def _load(path: AnyPath) -> Any:
    if os.fspath(path).endswith(".safetensors"):  # torch would take the name for the content
        with Path(path).open("rb") as file:
            return torch.load(file, "cpu", weights_only=True)
    return torch.load(path, "cpu", weights_only=True, mmap=True)


def _records(path: AnyPath) -> list[Part]:
    """Read all of the archive against its CRCs and return what it consists of."""
    try:
        with zipfile.ZipFile(path) as archive, contextlib.ExitStack() as stack:
            records = archive.infolist()
            streams = [stack.enter_context(archive.open(record)) for record in records]
            sound = in_threads(_sound, streams, sum(record.file_size for record in records))
    except Exception as error:  # a damaged archive may raise nearly anything
        raise refusal(path, f"it is a damaged zip archive ({error})") from None
    parts = [
        Part(r.filename, r.file_size, f"crc32:{r.CRC:08x}", "" if ok else "changed")
        for r, ok in zip(records, sound, strict=True)
    ]
    changed = [f"`{part.name}`" for part in parts if part.fault]
    if changed:
        reason = f"{', '.join(changed)} in it changed since it was saved: wrong CRC"
        raise refusal(path, reason, parts)
    return parts


def _sound(stream: Any) -> bool:
    try:
        while stream.read(1 << 20):
            pass
    except zipfile.BadZipFile:
        return False
    return True
