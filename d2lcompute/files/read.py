"""Reading a file that may be broken or hostile: all of it is checked before any of it is used."""

from __future__ import annotations

import errno
import json
import math
import mmap
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import torch_save as checkpoints
from .format import (
    BLANK,
    CHECKSUM,
    DTYPES,
    KNOWN,
    LONGEST_HEADER,
    METADATA,
    Contents,
    Part,
    check_path,
    checksum,
    in_threads,
)

PROTECTED = "every byte is under one of these checksums"
UNPROTECTED = "it holds no checksums: the structure is sound, changed values would go unnoticed"
LOOKS_LIKE = {
    b"\x80": "a pickle, which could run code; if it is an old torch.save file that you trust, "
    "`torch.save(torch.load(path, weights_only=True), path)` converts it",
    b"\x12\x01" + b"\0" * 14: "a Gluon (MXNet) file",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a file that gzip compressed",
}


class Span(NamedTuple):
    """Where the bytes of a tensor are, counted from the end of the header, and what they mean."""

    begin: int
    end: int
    dtype: torch.dtype
    shape: list[int]


def read(path: str | os.PathLike[str]) -> Contents:
    """Return what a safetensors or torch.save file holds, if every check of it passes."""
    check_path(path)
    _require_file(path)
    try:
        with Path(path).open("rb") as file:
            start = file.read(4)
            if start == b"PK\3\4":
                return checkpoints.read(path)
            if not start:
                raise ValueError("it is empty")
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        return _parse(data)
    except ValueError as error:
        raise ValueError(
            f"`path` must be a whole safetensors or torch.save file, got '{os.fspath(path)}': "
            f"{error}; nothing was loaded, use another copy of the file or save it again"
        ) from None


def _require_file(path: str | os.PathLike[str]) -> None:
    target = Path(path)
    if target.is_file():
        return
    if target.is_dir():
        code, reason = errno.EISDIR, "it is a folder"
    elif target.exists():
        code, reason = errno.EINVAL, "it is a device, a pipe or a socket"
    else:
        code, reason = errno.ENOENT, f"nothing is there, looked in '{target.absolute().parent}'"
    raise OSError(code, f"`path` must be a file, got '{target}': {reason}")


def _parse(data: mmap.mmap) -> Contents:
    """Check every byte of a file of ours, and the structure of any other."""
    view = memoryview(data)
    begin = 8 + _header_length(view)
    header = _json(view[8:begin].tobytes())
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict):
        raise ValueError("its header is damaged: the metadata is no JSON object")
    ours = CHECKSUM in metadata or KNOWN in metadata
    if ours:
        _check_header(view[:begin].tobytes(), str(metadata.get(CHECKSUM)))
    spans = _spans(header, len(view) - begin)
    tensors = {name: _tensor(name, data, begin, span) for name, span in spans.items()}
    parts = [Part("header", begin, metadata.get(CHECKSUM, ""))]
    if not ours:
        parts += [Part(name, span.end - span.begin) for name, span in spans.items()]
        return Contents("dict", tensors, parts, UNPROTECTED)
    known = _known(metadata, spans)
    parts += _checked_parts(view[begin:], spans, known["checksums"])
    parts += [Part(name, 0, f"tied to {first}") for name, first in known["ties"].items()]
    return Contents(known["kind"], _all_names(known, tensors), parts, PROTECTED)


def _header_length(view: memoryview) -> int:
    if len(view) < 10:
        raise ValueError(f"it is cut short, only {len(view)} bytes are there")
    length = int.from_bytes(view[:8], "little")
    if length > LONGEST_HEADER or bytes(view[8:9]) != b"{":
        guesses = [what for magic, what in LOOKS_LIKE.items() if view[: len(magic)] == magic]
        raise ValueError(
            "its header is damaged, or it is another kind of file"
            + "".join(f" (it looks like {what})" for what in guesses)
        )
    if length > len(view) - 8:
        raise ValueError(f"its header is damaged or cut short: {len(view):,} bytes are there")
    return length


def _json(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from None
    if not isinstance(content, dict):
        raise ValueError("its header is damaged: it is no JSON object")
    return content


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"`{name}` is there twice")
    return content


def _check_header(raw: bytes, recorded: str) -> None:
    blank = raw.replace(recorded.encode(errors="replace"), BLANK.encode(), 1)
    if checksum(blank) != recorded:
        raise ValueError("its header was changed since it was saved: the checksum does not match")


def _spans(header: Mapping[str, Any], room: int) -> dict[str, Span]:
    spans = {name: _span(name, entry) for name, entry in header.items()}
    reached = 0
    for name, span in sorted(spans.items(), key=lambda item: item[1][:2]):
        if span.begin != reached:
            raise ValueError(
                f"its header is damaged: `{name}` begins at byte {span.begin:,} of the data, "
                f"where {reached:,} is due"
            )
        reached = span.end
    if reached > room:
        raise ValueError(f"it is cut short, the last {reached - room:,} bytes are missing")
    if reached < room:
        raise ValueError(f"its last {room - reached:,} bytes belong to no tensor")
    return spans


def _span(name: str, entry: Any) -> Span:
    try:
        begin, end = entry["data_offsets"]
        span = Span(begin, end, DTYPES[entry["dtype"]], entry["shape"])
        sizes = (*span.shape, begin, end)
        whole = type(span.shape) is list and all(type(n) is int and 0 <= n < 2**63 for n in sizes)
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole or math.prod(span.shape) * span.dtype.itemsize != end - begin:
        raise ValueError(f"its header is damaged at `{name}`: {entry}")
    return span


def _tensor(name: str, data: mmap.mmap, begin: int, span: Span) -> Tensor:
    """View the bytes as a tensor, or copy them if they lie at an odd address."""
    start, size = begin + span.begin, span.end - span.begin
    try:
        if not size:
            return torch.empty(span.shape, dtype=span.dtype, device="cpu")
        flat = torch.frombuffer(data, dtype=torch.uint8, offset=start, count=size)
        if start % span.dtype.itemsize:
            flat = flat.clone()
        return flat.view(span.dtype).view(span.shape)
    except RuntimeError as error:
        raise ValueError(f"its header is damaged at `{name}`: {error}") from None


def _known(metadata: Mapping[str, Any], spans: Mapping[str, Span]) -> dict[str, Any]:
    """Return what only files of ours say: unchanged by accident, but perhaps written to harm."""
    try:
        known: dict[str, Any] = json.loads(metadata[KNOWN])
        ties, stored = known["ties"], {*known["names"]} - {*known["ties"]}
        agrees = stored == {*spans} == {*known["checksums"]}
        agrees = agrees and stored >= {*ties.values(), *known["pairs"]}
        agrees = agrees and {*ties} <= {*known["names"]} and isinstance(known["kind"], str)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        agrees = False
    if not agrees:
        raise ValueError("its header contradicts itself")
    return known


def _checked_parts(
    view: memoryview, spans: Mapping[str, Span], checksums: Mapping[str, str]
) -> list[Part]:
    found = in_threads(lambda span: checksum(view[span.begin : span.end]), spans.values())
    changed = [
        f"`{name}`" for name, now in zip(spans, found, strict=True) if now != checksums[name]
    ]
    if changed:
        raise ValueError(
            f"the values of {', '.join(changed)} were changed since it was saved: "
            "the checksum does not match"
        )
    return [Part(name, span.end - span.begin, checksums[name]) for name, span in spans.items()]


def _all_names(known: Mapping[str, Any], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the order of saving, tied ones under each of their names."""
    for name in known["pairs"]:
        # Pairs of numbers of 8 bytes need not lie where torch takes one of 16 bytes to lie.
        tensors[name] = torch.view_as_complex(tensors[name].clone())
    return {name: tensors[known["ties"].get(name, name)] for name in known["names"]}
