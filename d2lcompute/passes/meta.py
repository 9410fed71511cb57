"""Operators on the meta device, where they tell shapes and compute nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_CONSTANTS = {
    int, float, bool, complex, str, type(None),
    torch.dtype, torch.device, torch.layout, torch.memory_format,
}  # fmt: skip
_UNPREDICTABLE = {
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}

_MOST = 4096
_MAKERS: dict[Hashable, Callable[[], Any]] = {}  # what makes the result, by operator and arguments


def remembered(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what `func` gives, asking torch once for all tensors of the same shapes and types.

    Most of the time of a pass on the meta device goes into operators that torch has written in
    Python, and most nets apply the same few of them again and again.
    """
    kinds = _kinds((*args, *kwargs.values())) if _is_function_of_kinds(func) else None
    if kinds is None:
        return func(*args, **kwargs)
    key = func, kinds, tuple(kwargs), torch.get_default_dtype()
    maker = _MAKERS.get(key)
    if maker:
        return maker()
    result = func(*args, **kwargs)
    maker = _maker(result)
    if maker:
        if len(_MAKERS) >= _MOST:
            _MAKERS.clear()
        _MAKERS[key] = maker
    return result


@cache
def _is_function_of_kinds(func: Any) -> bool:
    """Whether what comes out depends on shapes and types alone, and shares memory with nothing."""
    schema = getattr(func, "_schema", None)
    return (
        schema is not None
        and func.namespace == "aten"
        and not _UNPREDICTABLE & set(func.tags)
        and not func._can_decompose()  # or it may give back its own argument
        and all(one.alias_info is None for one in (*schema.arguments, *schema.returns))
        and all(isinstance(one.type, torch.TensorType) for one in schema.returns)
    )


def _kinds(values: Sequence[Any]) -> tuple[Hashable, ...] | None:
    """Return what tells arguments of different results apart, None if something else might."""
    found: list[Hashable] = []
    for value in values:
        kind = type(value)
        if kind is Tensor or kind is nn.Parameter:
            if not _is_plain(value):
                return None
            found.append((value.shape, value.stride(), value.dtype))
        elif kind is list or kind is tuple:
            inner = _kinds(value)
            if inner is None:
                return None
            found.append(inner)
        elif kind in _CONSTANTS:
            found.append((kind, value))  # with its type: 2 and 2.0 are equal
        else:
            return None
    return tuple(found)


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.is_meta
        and tensor.layout is torch.strided
        and not tensor.is_nested
        and not tensor.is_conj()
        and not tensor.is_neg()
    )


def _maker(result: Any) -> Callable[[], Any] | None:
    """Return what makes a result of the same kind, None if it is not all on the meta device."""
    single = type(result) is Tensor
    tensors = [result] if single else list(result)
    if not all(type(tensor) is Tensor and _is_plain(tensor) for tensor in tensors):
        return None
    kinds = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors]

    def make() -> Any:
        made = [
            torch.empty_strided(shape, stride, dtype=dtype, device="meta")
            for shape, stride, dtype in kinds
        ]
        return made[0] if single else tuple(made)

    return make
