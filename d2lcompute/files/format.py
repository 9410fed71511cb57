"""The safetensors format, and what a file of ours adds to it: ties and checksums.

A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON: dtype,
shape and place of each tensor, and `__metadata__`, which maps strings to strings), and the bytes
of the tensors without a gap. A file of ours keeps two strings in the metadata: the checksum of
everything before the first tensor, and a JSON object with the rest of what it knows.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor

from ..parameters.memory import extent

Item = TypeVar("Item")
Result = TypeVar("Result")

DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, dtype)
    for name, dtype in {
        "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
        "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64",
        "F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2": "float8_e5m2",
        "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", "F16": "float16",
        "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    }.items()
    if hasattr(torch, dtype)
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}
PAIRS = {torch.complex128: torch.float64, torch.complex32: torch.float16}  # nameless in the format

METADATA = "__metadata__"
CHECKSUM, KNOWN = "d2lcompute.checksum", "d2lcompute.contents"
BLANK = "xxh3:" + "0" * 16
LONGEST_HEADER = 100_000_000  # bytes that all readers of the format accept


@dataclass(frozen=True)
class Part:
    """A piece of a file, and the checksum of it that the file holds, if it does."""

    name: str
    bytes: int
    checksum: str = ""


@dataclass(frozen=True)
class Contents:
    """What a file holds; the tensors are views of it, so copy what must outlive it."""

    kind: str
    tensors: Mapping[str, Any]
    parts: list[Part]
    note: str


def check_path(path: object) -> None:
    """Raise `TypeError` if `path` is no name of a file, most likely since arguments are swapped."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"`path` must be the name of a file, got {type(path).__name__}; "
            "do save(path, data), load(path), save_parameters(net, path)"
        )


def checksum(data: bytes | memoryview) -> str:
    """Return the checksum as it is written into a file."""
    from xxhash import xxh3_64_hexdigest

    return "xxh3:" + xxh3_64_hexdigest(data)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Map on as many threads as torch uses: checksums are computed outside the interpreter."""
    waiting = enumerate(items)  # all threads draw from it, so that none is idle before the end

    def work(_: int) -> list[tuple[int, Result]]:
        return [(index, function(item)) for index, item in waiting]

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        done = dict(itertools.chain.from_iterable(pool.map(work, range(threads))))
    return [done[index] for index in range(len(done))]


def repeats(tensors: Mapping[str, Any]) -> dict[str, str]:
    """Map the name of each tensor that sees the same memory as one before it to the first."""
    first: dict[Hashable, str] = {}
    views = {name: _view(tensor) for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
    return {name: first[v] for name, v in views.items() if first.setdefault(v, name) != name}


def _view(tensor: Tensor) -> Hashable:
    place = extent(tensor) if tensor.numel() else None
    if place is None:
        return id(tensor)
    return *place, tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg()


def write(file: BinaryIO, kind: str, tensors: Mapping[str, Tensor]) -> None:
    """Write the tensors, one after the other and each once, and then the header before them."""
    for name, tensor in tensors.items():
        _check_storable(name, tensor)
    ties = repeats(tensors)
    stored = {name: tensor for name, tensor in tensors.items() if name not in ties}
    places = _places(stored)
    known: dict[str, Any] = {
        "kind": kind,
        "torch": str(torch.__version__),
        "names": list(tensors),
        "ties": ties,
        "pairs": [name for name, tensor in stored.items() if tensor.dtype in PAIRS],
        "checksums": dict.fromkeys(stored, BLANK),
    }
    file.seek(_checked_length(_header(places, known), len(tensors)))
    with ThreadPoolExecutor(1) as pool:
        for name in _in_order(stored):
            data = _bytes(name, stored[name])
            digest = pool.submit(checksum, data)
            _write_all(file, data)
            known["checksums"][name] = digest.result()
    file.seek(0)
    _write_all(file, memoryview(_header(places, known)))


def _check_storable(name: str, tensor: Tensor) -> None:
    if name == METADATA:
        raise ValueError(
            f"`data` must have names other than {METADATA!r}, which the format keeps; do rename it"
        )
    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        raise _not_storable(name, tensor)
    if tensor.dtype not in NAMES and tensor.dtype not in PAIRS:
        raise TypeError(
            f"`{name}` must have a dtype of safetensors files, got {tensor.dtype}; do convert it"
        )


def _not_storable(name: str, tensor: Tensor) -> TypeError:
    kind = "nested" if tensor.is_nested else str(tensor.layout)
    return TypeError(
        f"`{name}` must be an ordinary tensor that holds its values, got {type(tensor).__name__} "
        f"({kind}, {tensor.device}); do convert it, or give it memory by to_empty(device=...)"
    )


def _checked_length(header: bytes, count: int) -> int:
    if len(header) > LONGEST_HEADER:
        raise ValueError(
            f"`data` must have a table of contents below {LONGEST_HEADER:,} bytes, "
            f"got {len(header):,} for {count:,} tensors; do stack them, or save several files"
        )
    return len(header)


def _in_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Sort by size of an element, so that each tensor is aligned though the format has no gaps."""
    return sorted(tensors, key=lambda name: -tensors[name].element_size())


def _places(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    places: dict[str, dict[str, Any]] = {name: {} for name in tensors}
    end = 0
    for name in _in_order(tensors):
        tensor, begin = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        dtype = NAMES[PAIRS.get(tensor.dtype, tensor.dtype)]
        shape = [*tensor.shape, 2] if tensor.dtype in PAIRS else [*tensor.shape]
        places[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return places


def _header(places: Mapping[str, Any], known: Mapping[str, Any]) -> bytes:
    """Return everything before the first tensor, with the checksum of just that inside."""
    metadata = {CHECKSUM: BLANK, KNOWN: json.dumps(known), "format": "pt"}
    content = {METADATA: metadata, **places}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    blank = len(text).to_bytes(8, "little") + text
    return blank.replace(BLANK.encode(), checksum(blank).encode(), 1)


def _bytes(name: str, tensor: Tensor) -> memoryview:
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        flat: Any = plain.reshape(-1).view(torch.uint8).numpy()
        return memoryview(flat)
    except (RuntimeError, TypeError) as error:  # a subclass that only looks like a tensor
        raise _not_storable(name, tensor) from error


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]
