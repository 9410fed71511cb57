"""Operators on the meta device: what they give is remembered, and types are checked as for real."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.nn.parameter import is_lazy

from ..parameters.names import entries, hang
from .hooks import is_composite
from .memory import gives_a_view, storage_of
from .values import replaced, tensors_in

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
_REFUSALS: dict[Hashable, str] = {}  # what the CPU says of an operator on tensors of these types


class Pretence:
    """Let tensors of the meta device seem to be on `device`: there autocast converts types."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)

    def of(self, tensor: Tensor) -> Tensor:
        """Return what seems to be the tensor on that device."""
        fake = FakeTensor(self._mode, tensor.detach(), self._device)
        leaf = nn.Parameter(fake) if isinstance(tensor, nn.Parameter) else fake
        return leaf.requires_grad_(tensor.requires_grad)

    @contextmanager
    def on(self, net: nn.Module) -> Iterator[dict[int, Tensor]]:
        """Let what is made inside be such, and the tensors of `net`: yields them, by their ids."""
        held = [entry for entry in entries(net) if not is_lazy(entry.tensor)]
        fakes = {id(entry.tensor): self.of(entry.tensor) for entry in held}
        for entry in held:
            hang(entry, fakes[id(entry.tensor)])
        try:
            with self._mode, torch.device(self._device):
                yield fakes
        finally:
            for entry in held:
                hang(entry, entry.tensor)


def remembered(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what `func` gives, asking torch once for all tensors of the same shapes and types.

    Most of the time of a pass on the meta device goes into operators that torch has written in
    Python, and most nets apply the same few of them again and again.
    """
    only_draws = _only_draws(func)
    can_be = only_draws or _is_function_of_kinds(func)
    kinds = _kinds((*args, *kwargs.values())) if can_be else None
    if kinds is None:
        _check_types(func, args, kwargs)
        return func(*args, **kwargs)
    key = func, kinds, tuple(kwargs), torch.get_default_dtype()
    maker = _MAKERS.get(key)
    if maker:
        return args[0] if only_draws else maker()
    is_taken = _check_types(func, args, kwargs)
    result = func(*args, **kwargs)
    maker = _maker(result)
    if maker and is_taken and not _shares_memory(result, args):
        if len(_MAKERS) >= _MOST:
            _MAKERS.clear()
        _MAKERS[key] = maker
    return result


@cache
def _only_draws(func: Any) -> bool:
    """Whether an operator fills its one tensor with random numbers, of which there are none."""
    return (
        _is_of_torch(func)
        and torch.Tag.nondeterministic_seeded in func.tags
        and [one.alias_info is not None for one in func._schema.returns] == [True]
        and [one.name for one in func._schema.arguments if "Tensor" in str(one.type)] == ["self"]
    )


@cache
def _is_function_of_kinds(func: Any) -> bool:
    """Whether what comes out depends on shapes and types alone, and shares memory with nothing."""
    return (
        _is_of_torch(func)
        and not _UNPREDICTABLE & set(func.tags)
        and not is_composite(func)  # or it may give back its own argument
        and all(one.alias_info is None for one in (*func._schema.arguments, *func._schema.returns))
        and bool(func._schema.returns)  # or there is nothing to remember
        and all(isinstance(one.type, torch.TensorType) for one in func._schema.returns)
    )


def _is_of_torch(func: Any) -> bool:
    """Whether an operator is one of torch's own, which tell their arguments and results."""
    return getattr(func, "_schema", None) is not None and bool(func.namespace == "aten")


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
    single = isinstance(result, Tensor)
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


def _shares_memory(result: Any, args: tuple[Any, ...]) -> bool:
    """Whether a result is in the memory of an argument, as that of `_unsafe_view` is, unsaid."""
    given = {storage_of(tensor) for tensor in tensors_in(args)}
    return any(storage_of(tensor) in given for tensor in tensors_in((result,)))


def _check_types(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Raise if an operator on the CPU would not take these types: on meta, few look at them.

    A small sample is tried, but of single floating tensors. What is refused is taken for refused
    because of the types if the same sample of other types is not. Returns False for what is only
    taken because autocast would convert it.
    """
    tensors = tensors_in((args, kwargs))
    is_usual = len(tensors) < 2 and all(tensor.is_floating_point() for tensor in tensors)
    if is_usual or not _can_be_tried(func):
        return True
    key = func, tuple((tensor.dtype, tensor.dim()) for tensor in tensors)
    if key not in _REFUSALS:
        if len(_REFUSALS) >= _MOST:
            _REFUSALS.clear()
        samples = (_refusal(func, args, kwargs, size) for size in (1, 2))
        _REFUSALS[key] = next((found for found in samples if found is not None), "")
    if _REFUSALS[key] and not _is_in_autocast():
        raise RuntimeError(_REFUSALS[key])
    return not _REFUSALS[key]


def _is_in_autocast() -> bool:
    """Whether types would be converted: not on meta, and an operator is not told, but by this."""
    is_inside = torch.autocast_increment_nesting() > 1
    torch.autocast_decrement_nesting()
    return is_inside


def _refusal(func: Any, args: Any, kwargs: Any, size: int) -> str | None:
    """Return why a sample of all sizes `size` is refused, None if its types are not the reason."""

    def attempt(types: Mapping[int, torch.dtype]) -> str:
        def sample(tensor: Tensor) -> Tensor:
            return torch.zeros([size] * tensor.dim(), dtype=types[id(tensor)], device="cpu")

        try:
            func(*_small(replaced(args, sample), size), **replaced(kwargs, sample))
        except Exception as error:
            return str(error).partition("\n")[0] or type(error).__name__
        return ""

    own = {id(tensor): tensor.dtype for tensor in tensors_in((args, kwargs))}
    floats = dict.fromkeys(own, torch.float32)
    if all(dtype.is_floating_point for dtype in own.values()) and len({*own.values()}) == 1:
        own = floats  # the CPU may lack a kernel for halves that other devices have
    whole = dict.fromkeys(own, torch.int64)
    others = [floats, whole, *(own | {key: torch.int64} for key in own)]
    refusal = attempt(own)
    return refusal if not refusal or not all(map(attempt, others)) else None


def _small(value: Any, size: int) -> Any:
    """Return arguments with sizes that fit a sample in the place of those that are larger."""
    if isinstance(value, list | tuple):
        return type(value)([_small(item, size) for item in value])
    return size if type(value) is int and value > size else value


@cache
def _can_be_tried(func: Any) -> bool:
    return (
        _is_of_torch(func)
        and not gives_a_view(func)
        and torch.Tag.nondeterministic_seeded not in func.tags
        and func is not torch.ops.aten.histc.default  # accelerators take whole numbers there
    )
