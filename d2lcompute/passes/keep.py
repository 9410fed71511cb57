"""Passes that leave no trace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..parameters.names import walk
from .deferred import deferral_of
from .random_states import random_states_kept

CONTAINERS = {dict, OrderedDict, list, set}


@contextmanager
def dry_run(net: nn.Module) -> Iterator[None]:
    """Leave no trace of what a forward or backward pass inside the block does to `net`.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    >>> with d2c.lazy.dry_run(net):
    ...     net.eval()(torch.rand(2, 3)).sum().backward()
    >>> net.training, net[0].weight.grad, net[1].num_batches_tracked
    (True, None, tensor(0))

    Training modes, buffers, gradients, `requires_grad`, hooks, attributes, the grad mode and the
    random states of the CPU and of the net's devices are afterwards what they were, also when the
    block raises. Inside, every gradient starts as None, and buffers are copies. What the block
    itself writes into parameters stays written, and a lazy layer keeps the shape that it learns.
    """
    modules = [module for _, module in walk(net)]
    tensors = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
    devices = {t.device for t in tensors if t is not None}
    with random_states_kept(devices), _gradients_kept(modules), _modules_kept(modules):
        yield


@contextmanager
def _gradients_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    held = [p for module in modules for p in module._parameters.values() if p is not None]
    kept = [(p, p.requires_grad, p.grad) for p in held if not is_lazy(p)]
    for parameter, _, _ in kept:
        parameter.grad = None
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        for parameter, requires_grad, gradient in kept:
            parameter.requires_grad_(requires_grad)
            parameter.grad = gradient


@contextmanager
def _modules_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    states = [State(module) for module in modules]
    unfinished = [module for module in modules if is_unfinished(module)]
    loan = _Loan()
    for module in modules:
        loan(module)
    late = [module.register_forward_pre_hook(loan) for module in unfinished]
    try:
        yield
    finally:
        loan.end()
        for handle in late:
            handle.remove()
        completed = {id(module) for module in unfinished if not is_unfinished(module)}
        for state in states:
            if id(state.holder) in completed:
                state.holder.training = state.values["training"]
            else:
                state.restore()


class _Loan:
    """Copies in the place of the tensors that a pass may write to: buffers and attributes.

    It is called on a module, as a forward pre-hook too: what is lazy can be copied only then.
    """

    def __init__(self) -> None:
        self.copies: dict[int, Tensor] = {}
        self.taken: list[tuple[dict[str, Any], str, Tensor]] = []

    def __call__(self, module: nn.Module, inputs: object = None) -> None:
        for place in (vars(module), module._buffers):
            tensors = [(n, t) for n, t in place.items() if isinstance(t, Tensor) and not is_lazy(t)]
            for name, tensor in tensors:
                self.taken.append((place, name, tensor))
                if id(tensor) not in self.copies:
                    self.copies[id(tensor)] = as_leaf(tensor.detach().clone(), tensor)
                place[name] = self.copies[id(tensor)]
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.max_norm = None  # it would rescale the rows that it reads, in place

    def end(self) -> None:
        for place, name, tensor in reversed(self.taken):
            place[name] = tensor


@contextmanager
def undone_on_error(net: nn.Module) -> Iterator[None]:
    """Make the lazy layers of `net` what they were if the block raises after sizing some."""
    modules = [module for _, module in walk(net)]
    waiting = [deferral for module in modules if (deferral := deferral_of(module))]
    lazy = [t for m in modules for t in (*m._parameters.values(), *m._buffers.values())]
    sized = [(t, t.data) for t in lazy if t is not None and is_lazy(t)]
    states = [State(holder) for holder in (*modules, *waiting, *(t for t, _ in sized))]
    try:
        yield
    except BaseException:
        for tensor, data in sized:
            tensor.data = data
        for state in states:
            state.restore()
        raise


class State:
    """What an object holds, one container deep, and the way back to it."""

    __slots__ = ("contents", "holder", "kind", "values")

    def __init__(self, holder: Any) -> None:
        self.holder = holder
        self.kind = type(holder)
        self.values = dict(vars(holder))
        self.contents = {
            id(value): value.copy()
            for value in self.values.values()
            if type(value) in CONTAINERS and value
        }

    def restore(self) -> None:
        """Put everything back, but for the values of tensors."""
        if type(self.holder) is not self.kind:
            self.holder.__class__ = self.kind
        vars(self.holder).clear()
        vars(self.holder).update(self.values)
        for value in self.values.values():
            if type(value) in CONTAINERS and (value or id(value) in self.contents):
                content = self.contents.get(id(value), ())
                value.clear()
                (value.extend if isinstance(value, list) else value.update)(content)


def is_waiting(module: nn.Module) -> bool:
    """Tell whether torch will complete this lazy layer when it is called."""
    return isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook")


def is_unfinished(module: nn.Module) -> bool:
    """Tell whether a call will complete the module: a tensor of its own may have no shape yet."""
    held = (*module._parameters.values(), *module._buffers.values())
    return is_waiting(module) or any(tensor is not None and is_lazy(tensor) for tensor in held)


def as_leaf(stand_in: Tensor, tensor: Tensor) -> Tensor:
    """Let a tensor ask for a gradient if the leaf does whose place it takes."""
    return stand_in.requires_grad_(tensor.requires_grad and tensor.is_leaf)
