"""Copies of a net to try things on: without data, or as lazy as the net is.

Without data means on the meta device, where operators tell shapes and compute nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from copy import deepcopy
from functools import update_wrapper
from types import CellType, FunctionType, MethodType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from torch.utils.hooks import RemovableHandle

from ..parameters.memory import PLAIN
from ..parameters.names import attributes_of, tensors_of, walk
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
    with torch._C.DisableTorchFunction():  # which lazy tensors ask at each attribute
        memo.update({id(t): _stand_in(t) for t in tensors_of(modules) if type(t) in _KNOWN})
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
    tensors = tensors_of(modules)
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


def _copies(modules: Sequence[nn.Module], memo: dict[int, Any]) -> dict[int, Any]:
    """Return copies by the ids of what they are copies of, `memo` being those there are."""
    try:
        return _copied(modules, {**memo})
    except Exception:
        return _copied(modules, {**memo, **_unique_attributes(modules)})


def _copied(modules: Sequence[nn.Module], memo: dict[int, Any]) -> dict[int, Any]:
    usual = {kind for kind in set(map(type, modules)) if _is_copied_as_usual(kind)}
    # Deepest first: a child that is in the memo costs no recursion, however deep it lies.
    for module in reversed(modules):
        if id(module) in memo:
            continue
        if type(module) not in usual:
            deepcopy(module, memo)
            continue
        memo[id(module)] = copy = type(module).__new__(type(module))
        state = vars(copy)
        for name, value in vars(module).items():
            state[name] = value if type(value) in _ATOMS else _copy_of(value, memo)
    for copy in list(memo.values()):
        if type(copy) is FunctionType:
            _close_over(copy, memo)
    return memo


def _is_copied_as_usual(kind: type) -> bool:
    return all(getattr(kind, way, None) is getattr(nn.Module, way, None) for way in _WAYS_TO_COPY)


def _copy_of(value: Any, memo: dict[int, Any]) -> Any:
    """Do what `deepcopy` does, without its detours at what modules hold a dozen of each."""
    kind, key = type(value), id(value)
    if kind in _ATOMS or kind is torch.Generator:  # torch sets no state from one without data
        return value
    if key in memo:
        return memo[key]
    if kind in CONTAINERS and not value:
        memo[key] = copy = kind()
    elif kind in CONTAINERS and isinstance(value, dict) and _ATOMS.issuperset(map(type, value)):
        memo[key] = copy = kind()
        for name, held in value.items():
            copy[name] = _copy_of(held, memo)
    elif kind is MethodType:  # a hook of a lazy layer
        copy = MethodType(value.__func__, _copy_of(value.__self__, memo))
    elif kind is FunctionType and value.__closure__:  # a hook that knows the net
        cells = tuple(CellType() for _cell in value.__closure__)
        copy = FunctionType(value.__code__, value.__globals__, value.__name__, None, cells)
        memo[key] = update_wrapper(copy, value)
        copy.__defaults__, copy.__kwdefaults__ = value.__defaults__, value.__kwdefaults__
    elif kind is RemovableHandle:  # and what removes it
        memo[key] = copy = RemovableHandle.__new__(RemovableHandle)
        copy.__setstate__(tuple(_copy_of(part, memo) for part in value.__getstate__()))
    else:
        copy = deepcopy(value, memo)
    return copy


def _close_over(copy: FunctionType, memo: dict[int, Any]) -> None:
    """Let the copy of a function know the copies of what the function itself knows."""
    function: Any = copy.__dict__.get("__wrapped__")
    for cell, known in zip(copy.__closure__ or (), function.__closure__, strict=True):
        with suppress(ValueError):  # it may know a name that has no value yet
            value = known.cell_contents
            is_method = type(value) is MethodType and id(value.__self__) in memo
            cell.cell_contents = _copy_of(value, memo) if is_method else memo.get(id(value), value)


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
    held = [value for module in modules for _name, value in attributes_of(module)]
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
