"""Copies of a net to try things on: without data, or as lazy as the net is.

Without data means on the meta device, where operators tell shapes and compute nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import deepcopy
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from torch.utils.hooks import RemovableHandle

from ..parameters.memory import PLAIN
from ..parameters.names import walk
from .deferred import Deferral, deferral_of
from .hooks import Functions
from .keep import CONTAINERS, as_leaf

Net = TypeVar("Net", bound=nn.Module)

_KNOWN = PLAIN | {UninitializedParameter, UninitializedBuffer}
_ATOMS = {type(None), bool, int, float, str}
_WAYS_TO_COPY = (  # those of a class that has its own
    "__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__setstate__",
    "__getnewargs_ex__", "__getnewargs__", "__new__", "__slots__",
)  # fmt: skip


def meta_twin(net: Net) -> Net:
    """Copy the structure of a net onto the meta device, where tensors have shapes and no data.

    >>> twin = d2c.lazy.meta_twin(nn.Linear(3, 4))
    >>> twin.weight.device, twin.weight.shape
    (device(type='meta'), torch.Size([4, 3]))

    Parameters, buffers and tensors in attributes move, ties stay ties, what is lazy stays lazy.
    No data is copied, so the cost does not grow with the size of `net`. Attributes that cannot be
    copied, such as locks, are shared with it.
    """
    modules = [module for _, module in walk(net)]
    memo: dict[int, Any] = {id(d): Deferral() for module in modules if (d := deferral_of(module))}
    memo.update({id(t): _stand_in(t) for t in _tensors(modules) if type(t) in _KNOWN})
    with Functions(_copied_to_meta):
        copies = _copies(modules, memo)
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            _move_to_meta(copies[id(module)])
    twin: Net = copies[id(net)]
    return twin


def copy_if_lazy(net: Net) -> Net:
    """Return a copy that may learn its shapes, or the net itself if it knows them all.

    >>> from d2lcompute.passes.twin import copy_if_lazy
    >>> net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    >>> copy_if_lazy(net)(torch.rand(2, 3)).shape, d2c.pending(net)[:1]
    (torch.Size([2, 4]), ['0.weight'])

    The copy shares the tensors that have a shape, and attributes that cannot be copied. It
    carries out in silence what `initialize` deferred.
    """
    modules = [module for _, module in walk(net)]
    tensors = _tensors(modules)
    if not any(map(is_lazy, tensors)):
        return net
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors if not is_lazy(tensor)}
    for buffer in tensors:
        if isinstance(buffer, UninitializedBuffer):  # which torch cannot copy
            kind: Any = type(buffer)
            memo[id(buffer)] = kind(device=buffer.device, dtype=buffer.dtype)
    copies = _copies(modules, memo)
    for module in modules:
        deferral = deferral_of(copies[id(module)])
        if deferral:
            deferral.silence()
    copy: Net = copies[id(net)]
    return copy


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    places = (place for module in modules for place in (module._parameters, module._buffers))
    return [tensor for place in places for tensor in place.values() if tensor is not None]


def _copies(modules: Sequence[nn.Module], memo: dict[int, Any]) -> dict[int, Any]:
    """Return copies by the ids of what they are copies of, `memo` being those there are."""
    try:
        return _copied(modules, {**memo})
    except Exception:
        return _copied(modules, {**memo, **_unique_attributes(modules)})


def _copied(modules: Sequence[nn.Module], memo: dict[int, Any]) -> dict[int, Any]:
    # Deepest first: a child that is in the memo costs no recursion, however deep it lies.
    for module in reversed(modules):
        if id(module) not in memo:
            _copy(module, memo)
    return memo


def _copy(module: nn.Module, memo: dict[int, Any]) -> None:
    """Do what `deepcopy` does, without its detours at each of a module's many empty containers."""
    kind = type(module)
    if any(getattr(kind, way, None) is not getattr(nn.Module, way, None) for way in _WAYS_TO_COPY):
        deepcopy(module, memo)
        return
    memo[id(module)] = copy = kind.__new__(kind)
    state = vars(copy)
    for name, value in vars(module).items():
        held = type(value)
        if held in CONTAINERS and id(value) not in memo:
            if not value:
                memo[id(value)] = held()
            elif isinstance(value, dict):
                _copy_mapping(value, memo)
        elif held is RemovableHandle and id(value) not in memo:  # every lazy layer has two
            memo[id(value)] = handle = RemovableHandle.__new__(RemovableHandle)
            handle.__setstate__(deepcopy(value.__getstate__(), memo))
        state[name] = value if held in _ATOMS else deepcopy(value, memo)


def _copy_mapping(mapping: dict[Any, Any], memo: dict[int, Any]) -> None:
    """Copy one with names or numbers as its keys, as those of parameters and hooks."""
    if all(type(key) in _ATOMS for key in mapping):
        memo[id(mapping)] = copy = type(mapping)()
        for key, value in mapping.items():
            copy[key] = deepcopy(value, memo)


def _move_to_meta(copy: nn.Module) -> None:
    """Take the data from a scripted module: it is copied outside of Python."""
    for _, module in walk(copy):
        places: list[Any] = [module._parameters, module._buffers]
        for place in places:
            for name, tensor in list(place.items()):
                if tensor is not None:
                    place[name] = torch.empty_like(tensor, device="meta")


def _unique_attributes(modules: Sequence[nn.Module]) -> dict[int, Any]:
    """Return the attributes for which `deepcopy` fails, by their ids."""
    ours = vars(nn.Module())
    held = [v for module in modules for key, v in vars(module).items() if key not in ours]
    return {id(value): value for value in held if not _can_be_copied(value)}


def _can_be_copied(value: object) -> bool:
    try:
        deepcopy(value)
    except Exception:
        return False
    return True


def _copied_to_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Let `deepcopy` of a tensor of any kind give a stand-in on the meta device."""
    if func is Tensor.__deepcopy__:
        tensor, memo = args
        return memo.setdefault(id(tensor), _stand_in(tensor))
    if func is Tensor.clone:  # what the `__deepcopy__` of a parameter calls
        return torch.empty_like(args[0], device="meta")
    if func is torch.empty:  # what that of a lazy parameter calls
        return torch.empty(*args, **{**kwargs, "device": "meta"})
    return func(*args, **kwargs)


def _stand_in(tensor: Tensor) -> Tensor:
    if is_lazy(tensor):
        kind: Any = type(tensor)
        stand_in: Tensor = kind(tensor.requires_grad, device="meta", dtype=tensor.dtype)
        return stand_in
    data = torch.empty_like(tensor.detach(), device="meta")
    if isinstance(tensor, nn.Parameter):  # of a subclass with a `__deepcopy__` of its own
        return nn.Parameter(data, tensor.requires_grad)
    return as_leaf(data, tensor)


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
    only_draws = _only_draws(func)
    can_be = only_draws or _is_function_of_kinds(func)
    kinds = _kinds((*args, *kwargs.values())) if can_be else None
    if kinds is None:
        return func(*args, **kwargs)
    key = func, kinds, tuple(kwargs), torch.get_default_dtype()
    maker = _MAKERS.get(key)
    if maker:
        return args[0] if only_draws else maker()
    result = func(*args, **kwargs)
    maker = _maker(result)
    if maker:
        if len(_MAKERS) >= _MOST:
            _MAKERS.clear()
        _MAKERS[key] = maker
    return result


@cache
def _only_draws(func: Any) -> bool:
    """Whether an operator fills its one tensor with random numbers, of which there are none."""
    schema = getattr(func, "_schema", None)
    return (
        schema is not None
        and func.namespace == "aten"
        and torch.Tag.nondeterministic_seeded in func.tags
        and [one.alias_info is not None for one in schema.returns] == [True]
        and [one.name for one in schema.arguments if "Tensor" in str(one.type)] == ["self"]
    )


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
