"""The memory that a pass takes: of what is alive at a time, and of what backward will need."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from ..parameters.memory import PLAIN, parts_of
from .hooks import is_composite
from .values import tensors_in


class Memory:
    """Count bytes, each storage once, those of `given` tensors (parameters, inputs) apart.

    What was made since the start counts. `kept` is how many bytes autograd keeps for the backward
    pass.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        self.kept = 0
        self.made = 0  # how many storages so far
        self._given = set(map(storage_of, _in_parts(given)))
        self._numbers: dict[int, int] = {}  # in which order storages were made, while they live
        self._changes: list[tuple[int, int]] = []  # the number of a storage, and bytes more or less
        self._left_out: set[int] = set()
        self._kept: set[int] = set()
        self._refs: dict[int, weakref.ref[Any]] = {}

    def watching(self) -> AbstractContextManager[None]:
        """Look at what autograd keeps, where it `can_watch`."""
        return saved_tensors_hooks(self._keep, _given_back)

    def note(self, func: Any, result: Any, read: Any) -> None:
        """Count what an operator has given, if its memory is new: not that of what it has read."""
        is_dense = isinstance(result, Tensor) and result.layout is torch.strided
        is_new = is_dense and gives_new_memory(func)
        for tensor in _in_parts((result,) if isinstance(result, Tensor) else tensors_in(result)):
            key = storage_of(tensor)
            is_unknown = key and key not in self._numbers and key not in self._given
            if is_unknown and (is_new or key not in map(storage_of, _in_parts(tensors_in(read)))):
                storage = tensor.untyped_storage()
                size = storage.nbytes()
                self._refs[key] = weakref.ref(storage, partial(self._forget, key, size))
                self._numbers[key] = self.made
                self._changes.append((self.made, size))
                self.made += 1

    def end(self) -> None:
        """Stop counting what goes out of use: after a pass all of it does, one by one."""
        self._refs.clear()

    def leave_out(self, tensor: Tensor) -> None:
        """Count the memory of a tensor among the given from now on: it is a parameter."""
        for key in map(storage_of, _in_parts([tensor])):
            if key in self._numbers:
                self._left_out.add(self._numbers[key])
            self._given.add(key)

    @property
    def peak(self) -> int:
        """The most bytes that were alive at a time."""
        changes = (size for number, size in self._changes if number not in self._left_out)
        return max(accumulate(changes), default=0)

    def bytes_since(self, start: int, tensors: Iterable[Tensor]) -> int:
        """Return the bytes of these tensors, without those that were there `start` storages ago."""
        found = {}
        for tensor in _in_parts(tensors):
            key = storage_of(tensor)
            if self._numbers.get(key, -1) >= start:
                found[key] = tensor.untyped_storage().nbytes()
        return sum(found.values())

    def _forget(self, key: int, size: int, ref: object) -> None:
        self._changes.append((self._numbers.pop(key), -size))
        self._refs.pop(key)
        self._kept.discard(key)

    def _keep(self, tensor: Tensor) -> tuple[Tensor, int]:
        is_plain = type(tensor) in PLAIN  # others say in Python what `detach` gives
        unseen = torch._C._DisableTorchDispatch() if is_plain else nullcontext()
        with torch._C.DisableTorchFunction(), unseen:  # this is no step of the net
            for part in _parts(tensor):
                key = storage_of(part)
                if key and key not in self._kept and key not in self._given:
                    self._kept.add(key)
                    self.kept += part.untyped_storage().nbytes()
            # Itself, an output would keep its own graph alive for ever.
            return tensor.detach(), 0 if tensor.is_inference() else tensor._version


def _in_parts(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return the tensors that have memory of their own: those that a sparse one consists of."""
    return [part for tensor in tensors for part in _parts(tensor)]


def _parts(tensor: Tensor) -> Sequence[Tensor]:
    if type(tensor) in PLAIN and tensor.layout is torch.strided:
        return (tensor,)
    return parts_of(tensor) or (tensor,)


def storage_of(tensor: Tensor) -> int:
    """Return what tells the memory of tensors apart, 0 where it has none of its own."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError, ValueError):  # sparse; lazy; wrapped by a transform
        return 0


def can_watch() -> bool:
    """Whether nobody around forbids to look at what autograd keeps."""
    try:
        with saved_tensors_hooks(_unchanged, _unchanged):
            return True
    except RuntimeError:
        return False


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


@cache
def gives_a_view(func: Any) -> bool:
    """Whether all that an operator gives is in the memory of what it takes, as that is."""
    schema = getattr(func, "_schema", None)
    if schema is None or not schema.returns or is_composite(func):  # which may copy after all
        return False
    aliases = [one.alias_info for one in schema.returns]
    return all(alias is not None and not alias.is_write for alias in aliases)


@cache
def gives_new_memory(func: Any) -> bool:
    """Whether nothing that an operator gives is in the memory of what it takes."""
    schema = getattr(func, "_schema", None)
    return schema is not None and all(one.alias_info is None for one in schema.returns)


def _given_back(kept: tuple[Tensor, int]) -> Tensor:
    """Return what was kept; torch looks no more whether it is what it was."""
    tensor, version = kept
    if not tensor.is_inference() and tensor._version != version:
        raise RuntimeError(
            f"one of the variables needed for gradient computation has been modified by an inplace "
            f"operation: [{tensor.type()} {list(tensor.shape)}] is at version {tensor._version}; "
            f"expected version {version} instead"
        )
    return tensor
