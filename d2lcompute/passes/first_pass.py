"""The first pass of a lazy net, from which it learns its shapes and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..parameters.names import entries, walk
from .imagined import remembered
from .inputs import Inputs
from .keep import is_waiting, undone_on_error
from .random_states import random_states_kept
from .record import Recorder
from .run import Pass, explained
from .twin import meta_twin
from .values import tensors_in

Step = Callable[[nn.Module], object]

# To compute on so few numbers takes less time than torch does to get the meta device ready.
_FEW = 4096


def first_pass(net: nn.Module, inputs: Inputs) -> Recorder:
    """Do to `net` what a first pass would, and nothing else, in the cheapest way that works."""
    imagined = None if inputs.count() <= _FEW else replay(net, inputs)
    return imagined or perform(net, inputs)


def perform(net: nn.Module, inputs: Inputs) -> Recorder:
    """Make the pass for real, so that nothing is left of it but what lazy layers learned."""
    with undone_on_error(net):
        recorder = Pass(net, inputs, imagined=False, learns=True).record(steps=False)
        if recorder.error:
            raise explained(recorder, net, inputs) from recorder.error
    return recorder


def replay(net: nn.Module, inputs: Inputs) -> Recorder | None:
    """Let a copy on the meta device make the pass, and do to `net` only what that did to layers.

    Returns None, and leaves the net as it was, if the copy fails or if it would not be the same.
    """
    devices = {entry.tensor.device for entry in entries(net)}
    try:
        twin = meta_twin(net)
        steps = _Steps(twin, on_cpu=devices <= {torch.device("cpu")})
        args, kwargs = inputs.on_meta(twin)
        recorder = Recorder(tensors_in((args, kwargs)), steps=False, compute=steps.compute)
        with random_states_kept(), torch.device("meta"):
            recorder.call(twin, args, kwargs)
        if recorder.error or not steps.can_be_repeated:
            return None
        with undone_on_error(net), random_states_kept(devices), torch.no_grad():
            for step in steps.found:
                step(net)
            _check_same(net, twin, devices)
    except Exception:
        return None
    return recorder


class _Steps:
    """What a pass does to lazy layers and, on the way to the last of them, to the random state.

    `found` do the same to another net of this structure without a pass; they hold on to inputs.
    """

    def __init__(self, twin: nn.Module, *, on_cpu: bool) -> None:
        self.found: list[Step] = []
        self.can_be_repeated = True
        self._on_cpu = on_cpu
        self._draws: list[Step] = []
        self._is_sizing = False
        for name, module in walk(twin):
            if is_waiting(module):
                enter = partial(self._enter, name)
                module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
                module.register_forward_pre_hook(self._leave)

    def compute(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator, and note what draws random numbers, initialization apart."""
        if torch.Tag.nondeterministic_seeded in func.tags and not self._is_sizing:
            # Every kind of dropout comes to this; accelerators have one of their own.
            if func is torch.ops.aten.bernoulli_.float and self._on_cpu:
                self._draws.append(partial(_drop, args))
            else:
                self._draws.append(self._refuse)
        return remembered(func, args, kwargs)

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        if is_waiting(module):
            self.can_be_repeated &= self._refuse not in self._draws
            self.found += [*self._draws, partial(_size, name, args, kwargs)]
            self._draws.clear()
            self._is_sizing = True

    def _leave(self, module: nn.Module, args: object) -> None:
        self._is_sizing = False

    def _refuse(self, net: nn.Module) -> None:
        """Stand for draws whose number depends on values, or on the device."""


def _size(name: str, args: Any, kwargs: Any, net: nn.Module) -> None:
    """Do what happens to a lazy layer between its call and its `forward`."""
    module = net.get_submodule(name)
    for key, hook in list(module._forward_pre_hooks.items()):
        if key in module._forward_pre_hooks_with_kwargs:
            result = hook(module, args, kwargs)
            args, kwargs = result or (args, kwargs)
        else:
            result = hook(module, args)
            if result is not None:
                args = result if isinstance(result, tuple) else (result,)


def _drop(args: tuple[Any, ...], net: nn.Module) -> None:
    noise, *keep = args
    torch.empty(noise.shape, dtype=noise.dtype).bernoulli_(*keep)


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
