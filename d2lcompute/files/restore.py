"""Putting the values of a file into a net, lazy layers included: all of them or none."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..initializers.targets import find_targets
from ..parameters.keep_ties import keep_ties
from ..parameters.lazy_ties import await_shape
from ..parameters.memory import span
from ..parameters.names import entries, known_shape
from ..passes.twin import meta_twin


@dataclass(frozen=True)
class Lesson:
    """What completes a layer with lazy tensors: their values, and what an input would teach it.

    `inputs` is None if nobody but the layer knows how it learns: then it gets the values, and
    does the rest at its first forward pass, as every lazy layer does after `load_state_dict`.
    """

    layer: nn.Module
    values: Mapping[str, Tensor]
    learned: Mapping[str, Any]
    inputs: Tensor | None


def learn(layer: nn.Module, values: Mapping[str, Tensor]) -> Lesson | None:
    """Find out how a layer comes to the shapes of `values`; None if a layer of torch never does.

    `values` are those of its lazy tensors, none if it has all of its tensors and just not yet
    looked at them, as after `load_state_dict`.
    """
    held = {**layer._parameters, **layer._buffers, **values}
    shapes = {n: tuple(t.shape) for n, t in held.items() if t is not None and not is_lazy(t)}
    for inputs in _likely_inputs(layer, shapes) if is_unfinished(layer) else ():
        twin = meta_twin(layer)
        for leaf in () if values else shapes:
            if shapes[leaf]:
                await_shape(twin, leaf)
        before = dict(vars(twin))
        try:
            _show(twin, inputs)
        except Exception:  # these inputs mean nothing to this kind of layer
            continue
        if all(tuple(getattr(twin, leaf).shape) == shape for leaf, shape in shapes.items()):
            learned = {k: v for k, v in vars(twin).items() if before.get(k) is not v}
            return Lesson(layer, values, learned, inputs)
    known = any(known_shape(layer, leaf) is not None for leaf in values)
    return None if known else Lesson(layer, values, {}, None)


def _likely_inputs(layer: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Tensor]:
    """Yield inputs of several ranks, all of whose sizes are one that would explain a shape."""
    groups = getattr(layer, "groups", 1)
    factors = {1, groups if isinstance(groups, int) else 1}
    sizes = {size * factor for shape in shapes.values() for size in shape for factor in factors}
    for rank, size in itertools.product((2, 3, 4), sorted(sizes)):
        if size**rank < 2**60:  # torch counts elements in 64 bits
            yield torch.empty((size,) * rank, device="meta")


def is_unfinished(layer: nn.Module) -> bool:
    """Tell whether a layer is one that still waits for its first input."""
    return isinstance(layer, LazyModuleMixin) and hasattr(layer, "_initialize_hook")


def _show(layer: Any, inputs: Tensor) -> None:
    """Let a lazy layer see its first input, without the forward pass."""
    infer = layer._forward_pre_hooks[layer._initialize_hook.id]
    infer(layer, (inputs,), {})


def restore(
    net: nn.Module,
    values: Mapping[str, Any],
    lessons: Sequence[Lesson],
    device: torch.device | None,
) -> None:
    """Load what fits into the net, moved before if asked to, or leave it as it was and raise."""
    _require_memory(net)
    with _all_or_nothing(net):
        if device is not None:
            with keep_ties(net):
                net.to(device)
            _require_memory(net)
        homes = [(getattr(one.layer, leaf), v) for one in lessons for leaf, v in one.values.items()]
        # All memory is there before the first lazy parameter ceases to be one.
        ready = {id(h): (h, v.to(h.device, h.dtype, copy=True)) for h, v in homes}
        _load(net, values)
    for home, tensor in ready.values():
        home.materialize(())
        home.data = tensor
    for lesson in lessons:
        if lesson.inputs is not None:
            vars(lesson.layer).update(lesson.learned)
            _show(lesson.layer, lesson.inputs)
    _mark(net, {*values}, {*ready})


def _require_memory(net: nn.Module) -> None:
    meta = [entry.name for entry in entries(net) if entry.tensor.is_meta]
    if meta:
        raise ValueError(
            f"`net` must have memory for its values, got {', '.join(meta)} on the meta device; "
            "do `with keep_ties(net): net.to_empty(device='cpu')` first"
        )


def _mark(net: nn.Module, names: set[str], ids: set[int]) -> None:
    """Let `initialize` know what has its values now."""
    for target in find_targets(net, None):
        if id(target.tensor) in ids or any(place.entry.name in names for place in target.places):
            target.mark()


def _load(net: nn.Module, values: Mapping[str, Any]) -> None:
    targets = net.state_dict(keep_vars=True)
    if all(map(_loads_plainly, net.modules())):
        # As load_state_dict does, at a cost that does not grow with the square of the layers.
        once = {id(targets[name]): (targets[name], value) for name, value in values.items()}
        with torch.no_grad():
            for target, value in once.values():
                target.copy_(value)
        return
    result = net.load_state_dict(values, strict=False)
    lost = {*result.unexpected_keys, *result.missing_keys} - (targets.keys() - values.keys())
    if lost:
        raise ValueError(
            f"`net` must load the names that it saves, got {type(net).__name__}, which asks for "
            f"others: {', '.join(sorted(lost))}; nothing was loaded, do net.load_state_dict(...)"
        )


@contextmanager
def _all_or_nothing(net: nn.Module) -> Iterator[None]:
    """Undo what the block did to `net` if it raises: its values only where loading them can."""
    modules = list(net.modules())
    places: list[Any] = [place for m in modules for place in (m._parameters, m._buffers)]
    homes = [(place, dict(place)) for place in places]
    tensors = {id(t): t for _, held in homes for t in held.values() if t is not None}.values()
    data = [(tensor, tensor.data) for tensor in tensors]
    plain = all(map(_loads_plainly, modules))
    state = {} if plain else {n: deepcopy(v) for n, v in net.state_dict().items() if not is_lazy(v)}
    try:
        yield
    except BaseException:
        for place, held in homes:
            place.update(held)
        for tensor, before in data:
            tensor.data = before
        if not plain:
            with suppress(Exception):
                net.load_state_dict(state, strict=False)
        raise


def _loads_plainly(module: nn.Module) -> bool:
    """Whether loading only copies tensors, and checked ones cannot fail to be copied."""
    kind = type(module)
    tensors = [*module._parameters.values(), *module._buffers.values()]
    return (
        kind.load_state_dict is nn.Module.load_state_dict
        and kind.set_extra_state is nn.Module.set_extra_state
        and kind._load_from_state_dict
        in (nn.Module._load_from_state_dict, _NormBase._load_from_state_dict)
        and len(module._load_state_dict_pre_hooks) == hasattr(module, "_load_hook")
        and not module._load_state_dict_post_hooks
        and all(t is None or is_lazy(t) or _copies_plainly(t) for t in tensors)
    )


def _copies_plainly(tensor: Tensor) -> bool:
    plain = type(tensor) in (Tensor, nn.Parameter) and not tensor.is_inference()
    return plain and span(tensor) >= tensor.numel()
