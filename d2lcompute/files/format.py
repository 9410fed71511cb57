"""The safetensors format, what a file of ours adds to it, and how a file is written all at once.

A safetensors file is the length of its header (8 bytes, little-endian), the header (JSON: dtype,
shape and place of each tensor, and `__metadata__`, which maps strings to strings), and the bytes
of the tensors without a gap. A file of ours keeps two strings in the metadata: the checksum of
everything before the first tensor, and a JSON object with the rest of what it knows. A reader
finds the old file or the new one, whole.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import secrets
import stat
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..arguments import check_path, written
from ..parameters.memory import extent
from .nest import flatten
from .report import AnyPath, FileError, FileReport, Part

Item = TypeVar("Item")
Result = TypeVar("Result")

_NAMES: dict[torch.dtype, str] = {
    getattr(torch, dtype): name
    for name, dtype in {
        "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
        "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64",
        "F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2": "float8_e5m2",
        "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", "F16": "float16",
        "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    }.items()
    if hasattr(torch, dtype)
}  # fmt: skip
# Complex numbers that the format has no name for are stored as pairs of real ones.
_PAIRS = {torch.complex128: torch.float64, torch.complex32: torch.float16}

METADATA = "__metadata__"
CHECKSUM, KNOWN = "d2lcompute.checksum", "d2lcompute.contents"
BLANK = "xxh3:" + "0" * 16
LONGEST_HEADER = 100_000_000  # bytes that all readers of the format accept
_WORTH_THREADS = 1 << 20


def checksum(data: bytes | memoryview) -> str:
    """Return the checksum as it is written into a file."""
    from xxhash import xxh3_64_hexdigest

    return "xxh3:" + xxh3_64_hexdigest(data)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], size: int
) -> list[Result]:
    """Map on as many threads as torch uses, where `size` bytes in all take longer than these do.

    Checksums are computed outside the interpreter, so that threads help.
    """
    if size < _WORTH_THREADS:
        return list(map(function, items))
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
    place = extent(tensor)
    if place is None:
        return id(tensor)
    return *place, tensor.dtype, tensor.shape, tensor.stride(), tensor.is_conj(), tensor.is_neg()


def write(path: AnyPath, data: Any, argument: str = "data") -> None:
    """Write tensors and what holds them, each tensor once; the old file stays if that fails."""
    check_path(path)
    kind, structure, tensors = flatten(data)
    _check_storable(path, tensors, argument)
    ties = repeats(tensors)
    stored = {name: tensor for name, tensor in tensors.items() if name not in ties}
    places = _places(stored)
    known: dict[str, Any] = {
        "kind": kind,
        "torch": str(torch.__version__),
        "names": list(tensors),
        "ties": ties,
        "pairs": [name for name, tensor in stored.items() if tensor.dtype in _PAIRS],
        "checksums": dict.fromkeys(stored, BLANK),
        **({"structure": structure} if kind == "nest" else {}),
    }
    begin = len(_header(places, known))
    if begin > LONGEST_HEADER:
        reason = f"a table of contents of {begin:,} bytes for {len(tensors):,} tensors"
        raise _unwritten(path, argument, reason, "stack them, or save several files")
    with _replacing(path) as file:
        file.seek(begin)
        with ThreadPoolExecutor(1) as pool:
            for name in _in_order(stored):
                values = _bytes(path, argument, name, stored[name])
                digest = pool.submit(checksum, values)
                _write_all(file, values)
                known["checksums"][name] = digest.result()
        file.seek(0)
        _write_all(file, memoryview(_header(places, known)))


def _check_storable(path: AnyPath, tensors: Mapping[str, Tensor], argument: str) -> None:
    faults: dict[tuple[str, str], list[str]] = {}
    for name, tensor in tensors.items():
        fault = _fault(name, tensor)
        if fault:
            faults.setdefault(fault, []).append(name)
    for (what, mend), names in faults.items():
        raise _unwritten(path, argument, what, mend, names)


def _fault(name: str, tensor: Tensor) -> tuple[str, str] | None:
    """Return what keeps a tensor from being stored, and what to do."""
    if is_lazy(tensor):
        return "lazy ones", "materialize(net, X) or one forward pass first"
    if tensor.is_meta:
        return "ones on the meta device", "give them memory by to_empty(device=...), and values"
    if tensor.is_nested or tensor.layout is not torch.strided:
        kind = type(tensor).__name__ if tensor.is_nested else tensor.layout
        return f"{kind} ones", "convert them to ordinary tensors"
    if tensor.dtype not in _NAMES and tensor.dtype not in _PAIRS:
        return f"{tensor.dtype} ones, which safetensors files do not have", "convert them"
    if name == METADATA or not _is_text(name):
        return "ones with a name that the format does not allow", "rename them"
    return None


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode()) or not name
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False


def _unwritten(
    path: AnyPath, argument: str, what: str, mend: str, names: Iterable[str] = ()
) -> FileError:
    """Return the error for what is not written to a file."""
    parts = tuple(Part(name, 0, fault=what) for name in names)
    where = f" ({', '.join(part.name for part in parts)})" if parts else ""
    return FileError(
        f"`{argument}` must hold ordinary tensors with values, got {what}{where}; "
        f"nothing was saved, do {mend}",
        FileReport(os.fspath(path), parts, f"not saved, got {what}", refused=True),
    )


def _in_order(tensors: Mapping[str, Tensor]) -> list[str]:
    """Sort by size of an element, so that each tensor is aligned though the format has no gaps."""
    return sorted(tensors, key=lambda name: -tensors[name].element_size())


def _places(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    places: dict[str, dict[str, Any]] = {name: {} for name in tensors}
    end = 0
    for name in _in_order(tensors):
        tensor, begin = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        dtype = _NAMES[_PAIRS.get(tensor.dtype, tensor.dtype)]
        shape = [*tensor.shape, 2] if tensor.dtype in _PAIRS else [*tensor.shape]
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


def _bytes(path: AnyPath, argument: str, name: str, tensor: Tensor) -> memoryview:
    """Return the values as bytes: those of the tensor itself if they lie in order on the CPU."""
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        flat: Any = plain.reshape(-1).view(torch.uint8).numpy()
        return memoryview(flat)
    except (RuntimeError, TypeError) as error:  # a subclass that only looks like a tensor
        what, mend = f"{type(tensor).__name__} ones", "convert them to ordinary tensors"
        raise _unwritten(path, argument, what, mend, [name]) from error


def _write_all(file: BinaryIO, data: memoryview) -> None:
    while data:
        data = data[file.write(data) :]


@contextlib.contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write that takes the place of `path` when the block ends without an error.

    The bytes go to a temporary file in the same folder, which is on the disk before it is renamed:
    a crash at any moment leaves what was there before or what is new, never a part. A symbolic
    link stays one, and the file it points to is replaced. A hard link keeps the old content: only
    writing into the old file could change it, and that is not done at one moment. A new file has
    the permissions that the umask gives; one that was there keeps its own.
    """
    with written(path) as target:
        mode = _permissions(target)
        temporary = target.with_name(f".d2lcompute-{secrets.token_hex(8)}.tmp")
        try:
            # Nobody may read the new bytes, not even for a moment, who could not read the old.
            temporary.touch(0o666 if mode is None else 0o600, exist_ok=False)
            with temporary.open("r+b", buffering=0) as file:
                yield file
                if mode is not None:
                    temporary.chmod(mode)
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _permissions(target: Path) -> int | None:
    """Return those of the file that is there, None if there is none, or say why it must stay."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a device, a pipe or a socket")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it is read-only")
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Put the renaming itself on the disk, where the system knows how and allows it."""
    if os.name == "nt":
        return
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
                raise
