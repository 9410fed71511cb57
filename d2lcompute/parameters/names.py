"""Parameters: find them by name and write into them; `describe` shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..arguments import as_module, shown
from .memory import overlapping

_CONVOLUTIONS = (nn.LazyConv1d, nn.LazyConv2d, nn.LazyConv3d)
_TRANSPOSED = (nn.LazyConvTranspose1d, nn.LazyConvTranspose2d, nn.LazyConvTranspose3d)
_NORMS = (
    nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d,
    nn.LazyInstanceNorm1d, nn.LazyInstanceNorm2d, nn.LazyInstanceNorm3d,
)  # fmt: skip

OWN = frozenset(vars(nn.Module()))

# None stands for a size that is not known yet.
Shape = tuple["int | None", ...]
# What an `Entry` holds, as a plain tuple: large nets have many.
Slot = tuple[str, nn.Module, str, Tensor, bool]


class Entry(NamedTuple):
    """A parameter or buffer under one of its names, and where it hangs: `module.<leaf>`."""

    name: str
    module: nn.Module
    leaf: str
    tensor: Tensor
    is_buffer: bool


def walk(net: nn.Module, *, every_name: bool = False) -> Iterator[tuple[str, nn.Module]]:
    """Yield `(name, module)` in torch's order, at a cost that does not grow with the depth.

    >>> from d2lcompute.parameters.names import walk
    >>> shared = nn.Linear(2, 2)
    >>> [name for name, _ in walk(nn.Sequential(shared, shared))]
    ['', '0']

    A module that hangs at several places comes once, or with `every_name` at each of them.
    """
    as_module("net", net)
    entered: set[int] = set()
    stack: list[tuple[str | None, nn.Module]] = [("", net)]
    while stack:
        name, module = stack.pop()
        if name is None or id(module) in entered:
            if name is None:  # everything below is done: the module may come again elsewhere
                entered.discard(id(module))
            continue
        yield name, module
        children = module._modules
        if children or not every_name:
            entered.add(id(module))
        if children:
            if every_name:
                stack.append((None, module))
            prefix = f"{name}." if name else ""
            below = [(prefix + key, child) for key, child in children.items() if child is not None]
            stack += reversed(below)


def tensors_of(modules: Iterable[nn.Module]) -> list[Tensor]:
    """Return the parameters and buffers that these modules hold themselves."""
    return [
        tensor
        for module in modules
        for place in (module._parameters, module._buffers)
        if place
        for tensor in place.values()
        if tensor is not None
    ]


def attributes_of(module: nn.Module) -> list[tuple[str, Any]]:
    """Return what a module holds by name, without what every module has."""
    return [(name, value) for name, value in vars(module).items() if name not in OWN]


def slots(net: nn.Module) -> Iterator[Slot]:
    """Yield every parameter and buffer of `net` under every name that it has."""
    for name, module in walk(net, every_name=True):
        prefix = f"{name}." if name else ""
        for leaf, parameter in module._parameters.items():
            if parameter is not None:
                yield prefix + leaf, module, leaf, parameter, False
        for leaf, buffer in module._buffers.items():
            if buffer is not None:
                yield prefix + leaf, module, leaf, buffer, True


def entries(net: nn.Module) -> list[Entry]:
    """Return every parameter and buffer of `net` under every name that it has."""
    return [Entry(*slot) for slot in slots(net)]


def hang(entry: Entry, tensor: Tensor) -> None:
    """Put a tensor in the place of an entry, as an assignment does: an LSTM keeps account."""
    setattr(entry.module, entry.leaf, tensor)


def tied_entries(found: Iterable[Slot]) -> list[list[Entry]]:
    """Return the entries that hold one object or share memory, one list a group."""
    first: dict[int, Slot] = {}
    again: dict[int, list[Slot]] = {}
    for slot in found:
        key = id(slot[3])
        if first.setdefault(key, slot) is not slot:
            again.setdefault(key, []).append(slot)
    keys = list(first)
    joined = overlapping([slot[3] for slot in first.values()])
    together = {index for group in joined for index in group}
    joined += [[index] for index, key in enumerate(keys) if key in again and index not in together]
    return [
        [Entry(*slot) for i in group for slot in (first[keys[i]], *again.get(keys[i], ()))]
        for group in sorted(joined)
    ]


def select(
    found: Iterable[Slot], pattern: str | re.Pattern[str] | None = None, *, buffers: bool = False
) -> list[Entry]:
    """Return each parameter once, under the first of its names that `pattern` matches.

    With `buffers` they are among them, each in its place in the net.
    """
    matches = matcher(pattern)
    first: dict[int, Slot] = {}
    for slot in found:
        name, _, _, tensor, is_buffer = slot
        if (buffers or not is_buffer) and id(tensor) not in first and matches(name):
            first[id(tensor)] = slot
    return [Entry(*slot) for slot in first.values()]


def collect_params(
    net: nn.Module, pattern: str | re.Pattern[str] | None = None
) -> dict[str, nn.Parameter]:
    """Return the parameters of a net by name, all of them or those whose name fits a pattern.

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> list(d2c.collect_params(net))
    ['0.weight', '0.bias', '2.weight', '2.bias']
    >>> list(d2c.collect_params(net, ".*weight"))
    ['0.weight', '2.weight']
    >>> for parameter in d2c.collect_params(net, "0").values():
    ...     _ = parameter.requires_grad_(False)  # freeze the first layer

    `net` is any module. `pattern` is a regular expression, matched at the start of the name as in
    Gluon: `"0"` finds `0.weight`, and a weight at any depth is `".*weight"`. Lazy parameters are
    included. A tied parameter comes once, under the first of its names that fits.

    Returns a dict in the order of the net, empty where no name fits. Raises `ValueError` if
    `pattern` is no regular expression.
    Source: D2L 6.2 / zh 5.2
    """
    return {entry.name: cast(nn.Parameter, entry.tensor) for entry in select(slots(net), pattern)}


def set_data(param: Tensor, data: Any) -> None:
    """Write values into a parameter in place, so that autograd notices.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> d2c.set_data(layer.weight, [[1.0, 2.0]])
    >>> d2c.set_data(layer.weight, layer.weight + 1)
    >>> d2c.set_data(layer.weight[0, 0], 42)
    >>> layer.weight.tolist()
    [[42.0, 3.0]]

    `param` is a parameter, a buffer or a slice of one. `data` is a tensor on any device, a numpy
    array or nested lists, all of the shape of `param`, or one number to fill it with. Between a
    forward pass and its backward pass, torch then refuses the latter, where a write to
    `param.data` would silently give wrong gradients.

    Raises `ValueError` if `param` has no values to overwrite (lazy, on the meta device, computed
    from other tensors) or if shape or type of `data` do not fit.
    Source: D2L 6.3 / zh 5.2
    """
    _check_writable(param)
    natural = _as_tensor(data)
    if not torch.can_cast(natural.dtype, param.dtype):
        raise ValueError(
            f"`data` must be of a type that {dtype_name(param.dtype)} can hold, "
            f"got {dtype_name(natural.dtype)}; do the conversion that you mean first"
        )
    if natural.dim() and natural.shape != param.shape:
        raise ValueError(
            f"`data` must have the shape {tuple(param.shape)} of `param` or be one number, "
            f"got {tuple(natural.shape)}; do data.reshape(...) or data.expand_as(param) first"
        )
    with torch.no_grad():
        param.copy_(_as_tensor(data, param.dtype))


def known_shape(module: nn.Module, leaf: str) -> Shape | None:
    """Return the shape of `module.<leaf>`, with None for a size, or all, that is not known yet.

    >>> from d2lcompute.parameters.names import known_shape
    >>> known_shape(nn.LazyLinear(256), "weight")
    (256, None)
    """
    tensor = getattr(module, leaf)
    if not is_lazy(tensor):
        return tuple(tensor.shape)
    if isinstance(module, nn.LazyLinear):
        return {"weight": (module.out_features, None), "bias": (module.out_features,)}.get(leaf)
    if isinstance(module, _CONVOLUTIONS):
        weight = (module.out_channels, None, *module.kernel_size)
        return {"weight": weight, "bias": (module.out_channels,)}.get(leaf)
    if isinstance(module, _TRANSPOSED):
        weight = (None, module.out_channels // module.groups, *module.kernel_size)
        return {"weight": weight, "bias": (module.out_channels,)}.get(leaf)
    return (None,) if isinstance(module, _NORMS) else None


def shape_text(shape: Shape | None) -> str:
    """Return a shape as Python writes it, with `?` for what is not known yet."""
    if shape is None:
        return "?"
    sizes = ["?" if size is None else str(size) for size in shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name without the package: `float32`."""
    return str(dtype).removeprefix("torch.")


def matcher(
    pattern: str | re.Pattern[str] | None, argument: str = "pattern"
) -> Callable[[str], object]:
    """Return what tells whether a name fits a pattern, from its start; without one, all do."""
    if pattern is None:
        return lambda name: True
    wanted = f"`{argument}` must be a regular expression, got {shown(pattern)}"
    if not isinstance(getattr(pattern, "pattern", pattern), str):
        raise TypeError(f"{wanted}; do give it as text, such as '.*weight'")
    try:
        return re.compile(pattern).match
    except re.error as error:
        raise ValueError(
            f"{wanted} ({error}); do write '.*' where a file pattern has '*'"
        ) from None


def _as_tensor(data: Any, dtype: torch.dtype | None = None) -> Tensor:
    if isinstance(data, Tensor):
        return data
    try:
        return torch.tensor(data, dtype=dtype)
    except (TypeError, RuntimeError):
        raise TypeError(
            f"`data` must be a number, a tensor, an array or lists of numbers, got {shown(data)}; "
            f"do pass numbers"
        ) from None


def _check_writable(param: Tensor) -> None:
    if not isinstance(param, Tensor):
        raise TypeError(
            f"`param` must be a parameter, got {type(param).__name__}; "
            f"do net.get_parameter(name) for the one with that name"
        )
    if is_lazy(param):
        raise ValueError(
            "`param` must have a shape, got a lazy parameter; do materialize(net, X) first, "
            "or initialize(net, ...), which waits for the shape"
        )
    if param.is_meta:
        raise ValueError(
            "`param` must hold values, got one on the meta device; "
            "do net.to_empty(device=...) first"
        )
    if param.grad_fn is not None and not param._is_view():
        raise ValueError(
            "`param` must be a parameter or a slice of one, got a tensor computed from others, "
            "a copy; do pass the parameter itself"
        )
