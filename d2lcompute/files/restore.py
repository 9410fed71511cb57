"""Putting the values of a file into a net, lazy layers included: all of them or none."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _LazyNormBase, _NormBase
from torch.nn.modules.conv import _LazyConvXdMixin
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..initializers.rules import find_targets
from ..parameters.keep_ties import keep_ties
from ..parameters.memory import span
from ..parameters.names import entries, slots, walk
from ..passes.keep import is_waiting, undone_on_error

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Lesson:
    """What completes a lazy layer: values for its lazy tensors, and the size that they show.

    `size` is the attribute and its value. It is None for a kind of layer that is not known here:
    it gets the values, and does the rest at its first call, as after `load_state_dict`.
    """

    layer: nn.Module
    values: Mapping[str, Tensor]
    size: tuple[str, int] | None


def _of_linear(layer: Any, shapes: Shapes) -> tuple[str, int] | None:
    return "in_features", shapes["weight"][1]


def _of_convolution(layer: Any, shapes: Shapes) -> tuple[str, int] | None:
    size = shapes["weight"][0] if layer.transposed else shapes["weight"][1] * layer.groups
    return None if size % layer.groups else ("in_channels", size)


def _of_norm(layer: Any, shapes: Shapes) -> tuple[str, int] | None:
    sizes = {shape[0] for shape in shapes.values() if shape}
    return ("num_features", sizes.pop()) if len(sizes) == 1 else None


# The kinds of lazy layers by the method with which torch lets them learn: a subclass that learns
# in its own way is another kind.
_SIZES: Mapping[Any, Callable[[Any, Shapes], tuple[str, int] | None]] = {
    nn.LazyLinear.initialize_parameters: _of_linear,
    _LazyConvXdMixin.initialize_parameters: _of_convolution,
    _LazyNormBase.initialize_parameters: _of_norm,
}


def learn(layer: nn.Module, values: Mapping[str, Tensor]) -> Lesson | None:
    """Find out what completes a layer; None if `values` have shapes that it never has together.

    `values` are those of its lazy tensors, none if it has all of its tensors and just not yet
    looked at them, as after `load_state_dict`.
    """
    size_of = _SIZES.get(getattr(type(layer), "initialize_parameters", None))
    if size_of is None or not is_waiting(layer):
        return Lesson(layer, values, None)
    held = {**layer._parameters, **layer._buffers, **values}
    shapes = {n: tuple(t.shape) for n, t in held.items() if t is not None and not is_lazy(t)}
    size = size_of(layer, shapes)
    return size and Lesson(layer, values, size)


def state_of(net: nn.Module) -> dict[str, Any]:
    """Return what the `state_dict` of a net holds, as the very tensors that the net has.

    Other than torch's own way, this one comes to an end in a net that contains itself.
    """
    if not all(_saves_plainly(module) for _, module in walk(net)):
        return dict(type(net).state_dict(net, keep_vars=True))
    return {
        name: tensor
        for name, module, leaf, tensor, is_buffer in slots(net)
        if not is_buffer or leaf not in module._non_persistent_buffers_set
    }


def _saves_plainly(module: nn.Module) -> bool:
    kind: Any = type(module)
    return (
        kind.state_dict is nn.Module.state_dict
        and kind.get_extra_state is nn.Module.get_extra_state
        and kind._save_to_state_dict
        in (nn.Module._save_to_state_dict, LazyModuleMixin._save_to_state_dict)
        and not (module._state_dict_hooks or module._state_dict_pre_hooks)
        and not isinstance(module, torch.jit.ScriptModule)
    )


def restore(
    net: nn.Module,
    values: Mapping[str, Any],
    lessons: Sequence[Lesson],
    device: torch.device | None,
) -> None:
    """Load what fits into the net, moved before if asked to, or leave it as it was and raise."""
    _require_memory(net)
    modules = [module for _, module in walk(net)]
    plain = all(map(_loads_plainly, modules))
    with _uninterrupted(plain), _all_or_nothing(net, modules, plain):
        if device is not None:
            with keep_ties(net):
                type(net).to(net, device)
            _require_memory(net)
        targets = state_of(net)
        ready = _memory_for(lessons)
        for home, tensor in ready:
            home.materialize(())
            home.data = tensor
        for lesson in lessons:
            if lesson.size is not None:
                _complete(lesson.layer, *lesson.size)
        _mark(net, {*values}, {id(home) for home, _ in ready})
        if plain:
            _copy(targets, values)
        else:
            _load(net, targets, values)


def _memory_for(lessons: Sequence[Lesson]) -> list[tuple[Any, Tensor]]:
    """Return each lazy tensor with its values, all of which have memory before one is used."""
    homes = [(getattr(one.layer, leaf), v) for one in lessons for leaf, v in one.values.items()]
    once = {id(home): (home, value) for home, value in homes}
    return [(home, v.to(home.device, home.dtype, copy=True)) for home, v in once.values()]


def _complete(layer: Any, attribute: str, size: int) -> None:
    """Let a lazy layer become what it is after its first call."""
    setattr(layer, attribute, size)
    layer._infer_parameters(layer, (torch.empty(0, device="meta"),))  # has nothing left to infer


def _require_memory(net: nn.Module) -> None:
    held = entries(net)
    meta = [entry.name for entry in held if entry.tensor.is_meta]
    if meta:
        raise ValueError(
            f"`net` must have memory for its values, got {', '.join(meta)} on the meta device; "
            "do `with keep_ties(net): net.to_empty(device='cpu')` first"
        )
    spread = [entry.name for entry in held if type(entry.tensor).__name__ == "DTensor"]
    if spread:
        raise ValueError(
            f"`net` must hold its values whole, got {', '.join(spread)} spread over processes; "
            "do load before it is sharded, or use torch.distributed.checkpoint"
        )


def _mark(net: nn.Module, names: set[str], ids: set[int]) -> None:
    """Let `initialize` know what has its values now."""
    for target in find_targets(net, None):
        if id(target.tensor) in ids or any(place.entry.name in names for place in target.places):
            target.mark()


def _copy(targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Do what load_state_dict does, at a cost that does not grow with the square of the layers."""
    once = {id(targets[name]): (targets[name], value) for name, value in values.items()}
    homes = [home for home, _ in once.values()]
    # What may still fail, for want of memory, comes before the first value is written.
    fitting = [v if h.is_cpu else v.to(h.dtype) for h, v in once.values()]
    if homes:
        with torch.no_grad():
            torch._foreach_copy_(homes, fitting)


def _load(net: nn.Module, targets: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    result = type(net).load_state_dict(net, values, strict=False)
    lost = {*result.unexpected_keys, *result.missing_keys} - (targets.keys() - values.keys())
    if lost:
        raise ValueError(
            f"`net` must load the names that it saves, got {type(net).__name__}, which asks for "
            f"others: {', '.join(sorted(lost))}; nothing was loaded, do net.load_state_dict(...)"
        )


@contextmanager
def _uninterrupted(plain: bool) -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block, unless a user's code runs inside."""
    main = threading.current_thread() is threading.main_thread()
    if not plain or not main or signal.getsignal(signal.SIGINT) is None:
        yield
        return
    pressed: list[Any] = []
    handler = signal.signal(signal.SIGINT, lambda *event: pressed.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed and callable(handler):
            handler(*pressed[0])


@contextmanager
def _all_or_nothing(net: nn.Module, modules: Sequence[nn.Module], plain: bool) -> Iterator[None]:
    """Undo what the block did to `net` if it raises: values only where a user's code may raise."""
    tensors = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
    leaves = [t for t in tensors if t is not None and t.is_leaf and not is_lazy(t)]
    gradients = [(leaf, leaf.grad) for leaf in leaves if leaf.grad is not None]
    memory = [(t, t.data) for t in (*tensors, *(g for _, g in gradients)) if t is not None]
    copies = [] if plain else [(data, data.clone()) for t, data in memory if _is_writable(t)]
    try:
        with undone_on_error(net):
            yield
    except BaseException:
        for tensor, data in memory:
            tensor.data = data
        for leaf, gradient in gradients:
            leaf.grad = gradient
        for data, copy in copies:
            data.copy_(copy)
        raise


def _is_writable(tensor: Tensor) -> bool:
    """Whether each of the values has memory of its own, so that torch writes to it."""
    return (
        not is_lazy(tensor)
        and not tensor.is_meta
        and (tensor.layout is not torch.strided or span(tensor) >= tensor.numel())
    )


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
