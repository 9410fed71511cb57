"""Lazy layers that hold a tied parameter: the tie outlives the moment when they learn a shape."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy


def await_shape(module: nn.Module, also: str) -> None:
    """Let a lazy layer learn its shape although some of its parameters have theirs already.

    Torch's lazy layers expect that either all of their parameters have a shape or none, and they
    would initialize a shared one anew. `also` is the name of the parameter that is being tied.
    """
    if isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook"):
        held = {**module._parameters, **module._buffers}
        leaves = {leaf for leaf, tensor in held.items() if tensor is not None and is_lazy(tensor)}
        key = module._initialize_hook.id
        hook = module._forward_pre_hooks[key]
        if isinstance(hook, partial) and hook.func is _infer:
            leaves |= hook.args[0]
        module._forward_pre_hooks[key] = partial(_infer, frozenset({*leaves, also}))


def _infer(leaves: frozenset[str], module: Any, args: Any, kwargs: Any) -> None:
    """Do what torch's hook does, with stand-ins for the parameters that have a shape already."""
    _check_shapes(leaves, module, args, kwargs)
    ready = {leaf: tensor for leaf, tensor in _held(module, leaves).items() if not is_lazy(tensor)}
    _put(module, {leaf: _stand_in(tensor) for leaf, tensor in ready.items()})
    try:
        module._infer_parameters(module, args, kwargs)
    finally:
        _put(module, ready)


def _check_shapes(leaves: frozenset[str], module: Any, args: Any, kwargs: Any) -> None:
    """Try the inference on stand-ins alone, so that nothing has changed if it does not fit."""
    held = _held(module, leaves)
    attributes = dict(vars(module))
    _put(module, {leaf: _stand_in(tensor) for leaf, tensor in held.items()})
    try:
        module.initialize_parameters(*args, **(kwargs or {}))
        learned = {leaf: tuple(tensor.shape) for leaf, tensor in _held(module, leaves).items()}
    finally:
        _put(module, held)
        vars(module).update(attributes)
    for leaf, shape in learned.items():
        if not is_lazy(held[leaf]) and held[leaf].shape != shape:
            raise RuntimeError(
                f"the input of this {type(module).__name__} must fit its tied `{leaf}` of shape "
                f"{tuple(held[leaf].shape)}, got one that makes it {shape}; "
                f"do tie only layers that take and give the same sizes"
            )


def _held(module: nn.Module, leaves: frozenset[str]) -> dict[str, Tensor]:
    held = {**module._parameters, **module._buffers}
    return {leaf: tensor for leaf in leaves if (tensor := held.get(leaf)) is not None}


def _put(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    for leaf, tensor in tensors.items():
        home: dict[str, Any] = module._buffers if leaf in module._buffers else module._parameters
        home[leaf] = tensor


def _stand_in(tensor: Tensor) -> Tensor:
    """Return a lazy tensor that costs no memory and draws no random numbers."""
    kind: Any = UninitializedParameter if isinstance(tensor, nn.Parameter) else UninitializedBuffer
    lazy: Tensor = kind(tensor.requires_grad, device="meta", dtype=tensor.dtype)
    return lazy
