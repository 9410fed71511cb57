"""The first pass through a lazy net: imagined on the meta device, repeated from there, or made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.names import Entry, entries, walk
from .keep import dry_run, undone_on_error
from .meta import on_meta
from .random_states import random_states_kept
from .twin import meta_twin
from .watch import Draws, Watch

# To compute on so few numbers takes less time than torch does to get the meta device ready.
_FEW = 4096


class Inputs(NamedTuple):
    """What a net is called with: tensors, shapes of such, and anything else."""

    args: Sequence[Any]
    named: Mapping[str, Any]

    def all(self) -> list[Any]:
        """Return the inputs without their names."""
        return [*self.args, *self.named.values()]

    def map(self, change: Callable[[Any], Any]) -> Inputs:
        """Return what `change` makes of each."""
        return Inputs(
            [change(item) for item in self.args], {k: change(v) for k, v in self.named.items()}
        )


def first_pass(net: nn.Module, inputs: Inputs) -> Watch:
    """Do to `net` what a first pass would, and nothing else, in the cheapest way that works."""
    few = sum(map(_count, inputs.all())) <= _FEW
    return (None if few else repeat(net, inputs)) or perform(net, inputs)


def imagine(twin: nn.Module, inputs: Inputs) -> Watch:
    """Let a net on the meta device make the pass, and return what was seen."""
    watch = Watch()
    with _explained(watch, twin, inputs):
        _run_on_meta(watch, twin, inputs)
    return watch


def perform(net: nn.Module, inputs: Inputs) -> Watch:
    """Make the pass for real, so that nothing is left of it but what lazy layers learned."""
    watch = Watch()
    # Copies, since a module may work in place.
    copies = inputs.map(
        lambda item: _map(item, lambda t: t.detach().clone(), lambda s: _noise(s, net))
    )
    with undone_on_error(net), _explained(watch, net, inputs), dry_run(net):
        watch.run(net, *copies)
    return watch


def repeat(net: nn.Module, inputs: Inputs) -> Watch | None:
    """Let a copy on the meta device make the pass, and do to `net` only what that did to layers.

    Returns None, and leaves the net as it was, if the copy fails or if it would not be the same.
    """
    watch = Watch(keep_steps=True)
    devices = {entry.tensor.device for entry in entries(net)}
    try:
        twin = meta_twin(net)
        with Draws(watch, on_cpu=devices <= {torch.device("cpu")}):
            _run_on_meta(watch, twin, inputs)
        if not watch.can_be_repeated():
            return None
        with undone_on_error(net), random_states_kept(devices), torch.no_grad():
            for step in watch.steps:
                step(net)
            _check_same(net, twin, devices)
    except Exception:
        return None
    return watch


def lazy_entries(net: nn.Module) -> list[Entry]:
    """Return the parameters and buffers without a shape, each under the first of its names."""
    found: dict[int, Entry] = {}
    for entry in entries(net):
        if is_lazy(entry.tensor):
            found.setdefault(id(entry.tensor), entry)
    return list(found.values())


def is_shape(item: object) -> bool:
    """Tell whether an input stands for a tensor of this shape."""
    if isinstance(item, tuple) or (isinstance(item, list) and item):
        return all(type(size) is int for size in item)
    return False


def _run_on_meta(watch: Watch, twin: nn.Module, inputs: Inputs) -> None:
    def empty(shape: Sequence[int]) -> Tensor:
        return torch.empty(*shape, dtype=_dtype(twin), device="meta")

    stand_ins = inputs.map(
        lambda item: _map(item, lambda x: torch.empty_like(x, device="meta"), empty)
    )
    with random_states_kept(), on_meta():
        watch.run(twin, *stand_ins)


def _check_same(net: nn.Module, twin: nn.Module, devices: set[torch.device]) -> None:
    """Raise if a layer was not sized as on the copy, or where the copy is instead of its place."""
    pairs = zip(entries(net), entries(twin), strict=True)
    same = all(
        is_lazy(ours.tensor) == is_lazy(theirs.tensor)
        and (is_lazy(ours.tensor) or ours.tensor.shape == theirs.tensor.shape)
        and ours.tensor.device in devices
        for ours, theirs in pairs
    )
    if not same:
        raise RuntimeError("repeating the pass gives something else")


def _map(
    item: Any, on_tensor: Callable[[Tensor], Tensor], on_shape: Callable[[Sequence[int]], Tensor]
) -> Any:
    """Replace the tensors and the shapes in an input, also within sequences and mappings."""
    if isinstance(item, Tensor):
        return on_tensor(item)
    if is_shape(item):
        return on_shape(item)
    if isinstance(item, Mapping):
        return {key: _map(value, on_tensor, on_shape) for key, value in item.items()}
    if isinstance(item, list | tuple):
        values = [_map(value, on_tensor, on_shape) for value in item]
        named = hasattr(item, "_fields")
        return type(item)(*values) if named else type(item)(values)
    return item


def _count(item: Any) -> int:
    """Return how many numbers an input holds, or would if it is a shape."""
    if isinstance(item, Tensor):
        return item.numel()
    if is_shape(item):
        return math.prod(item)
    if isinstance(item, Mapping):
        item = list(item.values())
    return sum(map(_count, item)) if isinstance(item, list | tuple) else 0


def _noise(shape: Sequence[int], net: nn.Module) -> Tensor:
    """Return values as a net may expect them, the same each time."""
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    device = next((entry.tensor.device for entry in entries(net)), values.device)
    return values.to(device, _dtype(net))


def _dtype(net: nn.Module) -> torch.dtype:
    found = (entry.tensor.dtype for entry in entries(net))
    return next((dtype for dtype in found if dtype.is_floating_point), torch.get_default_dtype())


@contextmanager
def _explained(watch: Watch, net: nn.Module, inputs: Inputs) -> Iterator[None]:
    """Say in which module a pass failed, and on what."""
    try:
        yield
    except Exception as error:
        name = watch.running[-1] if watch.running else ""
        kind = type(dict(walk(net))[name]).__name__
        where = f"{name!r} ({kind})" if name else f"the net itself ({kind})"
        came = ", ".join(map(str, watch.inputs.get(name, ()))) or "no tensor"
        raise RuntimeError(
            f"`inputs` must fit the net, got {_shown(inputs)}: {where} fails on {came} with "
            f"{_first_line(error)}; the net is as it was, do {_way_out(error, inputs)}"
        ) from error


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0] or "no message"
    return text if type(error) is RuntimeError else f"{type(error).__name__}: {text}"


def _shown(inputs: Inputs) -> str:
    shown = [_text(item) for item in inputs.args]
    shown += [f"{name}={_text(item)}" for name, item in inputs.named.items()]
    return ", ".join(shown) or "none"


def _text(item: Any) -> str:
    return str(tuple(item.shape) if isinstance(item, Tensor) else item)


def _way_out(error: Exception, inputs: Inputs) -> str:
    text = str(error).lower()
    if any(isinstance(item, int | float) for item in inputs.args):
        return "put a shape into parentheses, as in (2, 20)"
    if "meta" in text:
        return "materialize(net, X) instead, which can compute, if the net reads values"
    if any(is_shape(item) for item in inputs.all()) and ("indices" in text or "long" in text):
        return "pass a tensor of whole numbers, since a shape stands for floats"
    return "change the input or that module"
