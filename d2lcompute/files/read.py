"""Reading a file that may be damaged or hostile: all of it is checked before any of it is used."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arguments import check_path, some
from ..words.language import _, mark
from . import torch_save
from .format import (
    BLANK,
    CHECKSUM,
    KNOWN,
    LONGEST_HEADER,
    METADATA,
    checksum,
    in_threads,
)
from .nest import names_in, rebuild, structure
from .report import AnyPath, FileError, Part, refusal

PROTECTED = mark("every byte is under one of these checksums")
UNPROTECTED = mark(
    "it holds no checksums: the structure is sound, changed values would go unnoticed"
)
_LOOKS_LIKE = {
    b"\x80": "a pickle, which could run code; if it is an old torch.save file that you trust, "
    "`torch.save(torch.load(path, weights_only=True), path)` converts it",
    b"\x12\x01" + b"\0" * 14: "a Gluon (MXNet) file",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x1f\x8b": "a file that gzip compressed",
}


@dataclass(frozen=True)
class Contents:
    """What a file holds; its tensors are views of the file, so copy what must outlive it."""

    value: Any
    parts: list[Part]
    note: str


def read(path: AnyPath, names: Collection[str] | None = None) -> Contents:
    """Return what a file holds, if every check of it passes, or only what is under some names."""
    check_path(path)
    start = _start(path)
    if not start:
        raise refusal(path, "it is empty")
    # As the length of a header, which may begin with this byte too, text is a huge number.
    is_text = start[:1] == b"{" and int.from_bytes(start, "little") > LONGEST_HEADER
    return (_read_shards if is_text else _read_one)(path, names)


def _read_one(path: AnyPath, names: Collection[str] | None) -> Contents:
    if _start(path)[:4] != b"PK\3\4":
        return _read_safetensors(path, names)
    value, parts, note = torch_save.read(path)
    return Contents(value if names is None else _pick(path, value, names), parts, note)


def _start(path: AnyPath) -> bytes:
    try:
        _require_file(Path(path))
        with Path(path).open("rb") as file:
            return file.read(8)
    except OSError as error:
        raise OSError(
            error.errno,
            f"`path` must be a file, got '{os.fspath(path)}': {error.strerror}; do {_mend(path)}",
        ) from None


def _require_file(target: Path) -> None:
    mode = target.stat().st_mode if target.exists() else 0
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        code, reason = errno.EISDIR, "it is a folder"
    elif mode:
        code, reason = errno.EINVAL, "it is a device, a pipe or a socket"
    else:
        code, reason = errno.ENOENT, f"nothing is there, looked in '{target.absolute().parent}'"
    raise OSError(code, reason)


def _mend(path: AnyPath) -> str:
    """Return what to do about a path that is not that of a file: what to load instead, if known."""
    target = Path(path)
    with contextlib.suppress(OSError):
        if not target.is_dir():
            others = [file.name for file in target.parent.iterdir() if file.name != target.name]
            near = get_close_matches(target.name, others, n=1)
            return f"give '{target.with_name(near[0])}', say" if near else "give another path"
        if (target / ".metadata").is_file():
            return (
                f"torch.distributed.checkpoint.format_utils.dcp_to_torch_save('{target}', 'net.pt')"
            )
        for pattern in ("*.index.json", "*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt"):
            found = [f"'{file}'" for file in sorted(target.glob(pattern))]
            if found:
                return f"give a file in it, {some(found, 3)}"
    return "give another path"


def _pick(path: AnyPath, value: Any, names: Collection[str]) -> dict[str, Any]:
    """Return what a dict holds under these names."""
    if not isinstance(value, Mapping):
        reason = f"it holds a {type(value).__name__}"
        raise refusal(path, reason, wanted="hold tensors by name", mend="do load(path)")
    unknown = [name for name in names if name not in value]
    if unknown:
        wanted = f"hold {', '.join(map(repr, unknown))}"
        reason = f"it holds {some([*map(repr, value)], 20)}"
        raise refusal(path, reason, wanted=wanted, mend="do give other `names`")
    return {name: value[name] for name in names}


def _read_safetensors(path: AnyPath, names: Collection[str] | None) -> Contents:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            raw = _raw_header(path)
            json.loads(raw[8:], object_pairs_hook=_unique)  # which the library does not ask for
            metadata = file.metadata() or {}
            if CHECKSUM in metadata or KNOWN in metadata:
                return _read_ours(path, raw, file, metadata, names)
            stored = file.offset_keys()
            wanted = stored if names is None else _pick(path, dict.fromkeys(stored), names)
            tensors = {name: _tensor(file, name) for name in wanted}
    except FileError:
        raise
    except Exception as error:  # a damaged file, or one of a newer format, may raise nearly any
        raise refusal(path, _reason(path, error)) from None
    parts = [
        Part("header", len(raw)),
        *(Part(n, t.nbytes) for n, t in tensors.items()),
    ]
    return Contents(tensors, parts, _(UNPROTECTED))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"`{name}` is there twice")
    return content


def _read_ours(
    path: AnyPath, raw: bytes, file: Any, metadata: Mapping[str, str], names: Collection[str] | None
) -> Contents:
    header = _checked_header(path, raw, metadata.get(CHECKSUM, ""))
    known, content = _known(path, metadata, file.keys())
    if names is not None:
        _pick(path, rebuild(content, dict.fromkeys(known["names"])), names)
        items = dict(content["d"])
        content = {"d": [(name, items[name]) for name in names]}
    ties = known["ties"]
    wanted = dict.fromkeys(ties.get(name, name) for name in names_in(content))
    tensors = {name: _tensor(file, name) for name in wanted}
    parts = _checked_parts(path, header, tensors, known["checksums"])
    parts += [Part(name, 0, _("tied to {tie}", tie=first)) for name, first in ties.items()]
    for name in known["pairs"]:
        if name in tensors:  # a clone, since pairs need not lie where a number of 16 bytes must
            tensors[name] = torch.view_as_complex(tensors[name].clone())
    everywhere = {**tensors, **{n: tensors[t] for n, t in ties.items() if t in tensors}}
    return Contents(rebuild(content, everywhere), parts, _(PROTECTED))


def _tensor(file: Any, name: str) -> Tensor:
    """Return a view of the file, or a copy where that lies at an odd address."""
    tensor: Tensor = file.get_tensor(name)
    return tensor.clone() if tensor.data_ptr() % tensor.element_size() else tensor


def _raw_header(path: AnyPath) -> bytes:
    with Path(path).open("rb") as file:
        start = file.read(8)
        return start + file.read(min(int.from_bytes(start, "little"), LONGEST_HEADER))


def _checked_header(path: AnyPath, raw: bytes, recorded: str) -> Part:
    blank = raw.replace(recorded.encode(), BLANK.encode(), 1)
    if not recorded or checksum(blank) != recorded:
        reason = "its header was changed since it was saved: the checksum does not match"
        raise refusal(path, reason, [Part("header", len(raw), recorded, "changed")])
    return Part("header", len(raw), recorded)


def _known(
    path: AnyPath, metadata: Mapping[str, str], stored: Iterable[str]
) -> tuple[dict[str, Any], Any]:
    """Return what only files of ours say: unchanged by accident, but perhaps written to harm."""
    try:
        known: dict[str, Any] = json.loads(metadata[KNOWN])
        names, ties, own = {*known["names"]}, known["ties"], {*stored}
        content = structure(known["kind"], known["names"], known.get("structure"))
        rebuild(content, dict.fromkeys(names))
        agrees = names - {*ties} == own == {*known["checksums"]} and {*names_in(content)} == names
        agrees = agrees and own >= {*ties.values(), *known["pairs"]} and {*ties} <= names
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        agrees = False
    if not agrees:
        raise refusal(path, "its header contradicts itself")
    return known, content


def _checked_parts(
    path: AnyPath, header: Part, tensors: Mapping[str, Tensor], checksums: Mapping[str, str]
) -> list[Part]:
    size = sum(tensor.nbytes for tensor in tensors.values())
    found = in_threads(_checksum, tensors.values(), size)
    parts = [
        Part(name, tensor.nbytes, checksums[name], "" if now == checksums[name] else "changed")
        for (name, tensor), now in zip(tensors.items(), found, strict=True)
    ]
    changed = [f"`{part.name}`" for part in parts if part.fault]
    if changed:
        reason = (
            f"the values of {', '.join(changed)} were changed since it was saved: "
            "the checksum does not match"
        )
        raise refusal(path, reason, [header, *parts])
    return [header, *parts]


def _checksum(tensor: Tensor) -> str:
    flat: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return checksum(flat)


def _reason(path: AnyPath, error: Exception) -> str:
    """Say what is wrong with a file that the safetensors library refuses."""
    raw, size = _raw_header(path), Path(path).stat().st_size
    for magic, what in _LOOKS_LIKE.items():
        if raw.startswith(magic):
            return f"its header is damaged, or it is another kind of file (it looks like {what})"
    length = int.from_bytes(raw[:8], "little")
    if size > 8 and (raw[8:9] != b"{" or length > LONGEST_HEADER):
        return "its header is damaged, or it is another kind of file"
    if size < 10 or length > size - 8:
        return f"its header is damaged or cut short: {size:,} bytes are there"
    missing = _end(raw[8:]) - (size - 8 - length) if "incomplete" in str(error) else 0
    if missing > 0:
        return f"it is cut short, the last {missing:,} bytes are missing"
    if missing < 0:
        return f"its last {-missing:,} bytes belong to no tensor"
    return f"its header is damaged: {str(error).rpartition('header: ')[2]}"


def _end(header: bytes) -> int:
    """Return how many bytes of tensors a header speaks of."""
    entries = json.loads(header)
    entries.pop(METADATA, None)
    return max((entry["data_offsets"][1] for entry in entries.values()), default=0)


def _read_shards(path: AnyPath, names: Collection[str] | None) -> Contents:
    """Read a checkpoint in several files, of which `path` is the index."""
    homes = _homes(path)
    wanted = homes if names is None else _pick(path, homes, names)
    tensors: dict[str, Any] = {}
    parts: list[Part] = []
    notes = set()
    for shard in dict.fromkeys(wanted.values()):
        inside = [name for name in wanted if wanted[name] == shard]
        try:
            contents = _read_one(Path(path).with_name(shard), inside)
        except FileNotFoundError:
            raise refusal(path, f"the file {shard!r} that it names is not beside it") from None
        except FileError as error:
            found: Any = error.report
            reason = f"the file {shard!r} that it names: {found.note}"
            raise refusal(path, reason, found.parts) from None
        tensors.update(contents.value)
        parts += [replace(part, name=f"{shard}: {part.name}") for part in contents.parts]
        notes.add(contents.note)
    return Contents({name: tensors[name] for name in wanted}, parts, "; ".join(sorted(notes)))


def _homes(path: AnyPath) -> dict[str, str]:
    """Return in which file each tensor is, by the index of a checkpoint in several files."""
    try:
        with Path(path).open("rb") as file:
            homes: dict[str, str] = json.loads(file.read(LONGEST_HEADER))["weight_map"]
        sound = all(home and Path(home).name == home for home in homes.values())
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        sound = False
    if not sound:
        raise refusal(path, "it begins as JSON does, and is no index of files beside it")
    return homes
