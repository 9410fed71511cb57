"""The tensors in a value, and the value with others in their place."""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from copy import copy, deepcopy
from functools import cache
from numbers import Integral
from typing import Any

from torch import Tensor, nn

_SCALARS = {type(None), bool, int, float, complex, str, bytes, slice, range, type(...)}
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)
_ITERABLES = (list, tuple, set, frozenset, deque)


def tensors_in(value: Any) -> list[Tensor]:
    """Return every tensor in a value, in order: in sequences, mappings and attributes.

    >>> from collections import UserDict
    >>> from d2lcompute.passes.values import tensors_in
    >>> [tuple(t.shape) for t in tensors_in([torch.zeros(2), UserDict(a=(torch.zeros(3), "b"))])]
    [(2,), (3,)]

    A tensor that occurs twice comes twice; a container that holds itself is entered once. Modules,
    classes and functions are not looked into.
    """
    if isinstance(value, Tensor):
        return [value]
    if type(value) is tuple and all(isinstance(item, Tensor) for item in value):
        return list(value)  # mostly it is the arguments of a layer: tensors and nothing else
    found: list[Tensor] = []
    _collect(value, found, set())
    return found


def replaced(
    value: Any,
    on_tensor: Callable[[Tensor], Any],
    on_shape: Callable[[tuple[int, ...]], Any] | None = None,
) -> Any:
    """Return a copy of a value with what `on_tensor` gives in the place of each tensor.

    A tensor that occurs twice is replaced by one and the same. With `on_shape`, tuples and lists of
    whole numbers are replaced too. What is not a container is copied, where it can be.
    """
    return _Replacement(on_tensor, on_shape).of(value)


def is_shape(value: Any) -> bool:
    """Tell whether a value may stand for a tensor of this shape: a tuple or list of sizes."""
    if isinstance(value, tuple):
        return all(_is_size(size) for size in value)
    return isinstance(value, list) and bool(value) and all(_is_size(size) for size in value)


def contents(value: Any) -> Iterable[Any]:
    """Return what a container or object holds, and nothing for all else."""
    if isinstance(value, _ITERABLES):
        return value
    if isinstance(value, dict | Mapping):  # a dict is recognized at once
        return value.values()
    if isinstance(value, (nn.Module, *_CODE)):
        return ()
    return [*getattr(value, "__dict__", {}).values(), *slots_of(value).values()]


def slots_of(value: Any) -> dict[str, Any]:
    """Return what an object holds in the slots of its classes, by their names."""
    kind: type = type(value)
    return {name: getattr(value, name) for name in _slots(kind) if hasattr(value, name)}


def _collect(value: Any, found: list[Tensor], entered: set[int]) -> None:
    for item in contents(value):
        if isinstance(item, Tensor):
            found.append(item)
        elif type(item) not in _SCALARS and id(item) not in entered:
            entered.add(id(item))
            _collect(item, found, entered)


@cache
def _slots(kind: type) -> tuple[str, ...]:
    held = [
        item for base in kind.__mro__ if "__slots__" in vars(base) for item in vars(base).items()
    ]
    return tuple(name for name, item in held if isinstance(item, types.MemberDescriptorType))


def _is_size(value: Any) -> bool:
    # numpy's integers are sizes as well; True and False are none.
    return type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))


class _Replacement:
    def __init__(
        self,
        on_tensor: Callable[[Tensor], Any],
        on_shape: Callable[[tuple[int, ...]], Any] | None,
    ) -> None:
        self._on_tensor = on_tensor
        self._on_shape = on_shape
        self._done: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        if id(value) in self._done:
            return self._done[id(value)]
        if isinstance(value, Tensor):
            self._done[id(value)] = self._on_tensor(value)
            return self._done[id(value)]
        if self._on_shape and is_shape(value):
            return self._on_shape(tuple(int(size) for size in value))
        if type(value) in _SCALARS or isinstance(value, (nn.Module, *_CODE)):
            return value
        if isinstance(value, tuple):
            items = [self.of(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, list | MutableMapping):
            places = enumerate(value) if isinstance(value, list) else value.items()
            self._done[id(value)] = new = copy(value)
            for place, item in list(places):
                new[place] = self.of(item)
            return new
        return self._object(value)

    def _object(self, value: Any) -> Any:
        memo = {id(tensor): self.of(tensor) for tensor in tensors_in(value)}
        try:
            return deepcopy(value, memo)
        except Exception:  # such as one that holds a lock or a file: it is shared
            return value
