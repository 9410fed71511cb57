"""What is seen of a forward pass: calls, parameters read, ReLUs, dropouts, values that are none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ...parameters.names import Shape, entries, walk
from ...passes.hooks import hooked
from ...passes.record import shape, tensors_in, type_name

_RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
_DROPOUTS = {
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
}  # fmt: skip


class Failure(NamedTuple):
    """What ended a pass: in which block, and on which inputs."""

    where: str
    block: nn.Module | None
    inputs: tuple[Shape, ...]
    error: Exception


class Rectified(NamedTuple):
    """What came into a ReLU: where, how wide, and how far from zero."""

    where: str
    units: int
    largest: float
    mean: float
    deviation: float


@dataclass
class Seen:
    """What a pass showed of `net`; tensors and modules are told by their ids."""

    net: nn.Module
    inputs: list[Tensor]
    output: Any = None
    outputs: list[Tensor] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    rectified: list[Rectified] = field(default_factory=list)
    always_dropped: list[str] = field(default_factory=list)
    replaced: set[tuple[str, str]] = field(default_factory=set)
    first_bad: str | None = None
    loss: Tensor | None = None
    gradients: dict[int, Tensor | None] = field(default_factory=dict)
    failure: Failure | None = None


class Observer(TorchFunctionMode):
    """Note in `seen` which parameters are read and what comes into ReLUs and dropouts."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.drops = False
        self._names = {id(module): name for name, module in walk(seen.net)}
        self._parameters = {id(e.tensor) for e in entries(seen.net) if not e.is_buffer}
        self._running: list[tuple[nn.Module, tuple[Shape, ...]]] = []
        self._failed: tuple[nn.Module, tuple[Shape, ...]] | None = None

    def forward(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> None:
        try:
            with hooked(self._enter, self._leave), self:
                self.seen.output = self.seen.net(*inputs, **named)
        except Exception as error:
            block, shapes = self._failed or (self.seen.net, ())
            self.seen.failure = Failure(self._name(block), block, shapes, error)
        self.seen.outputs = list(_tensors_below(self.seen.output))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunction():
            if func in _RELUS:
                self._note_relu(args[0] if args else kwargs["input"])
            self._note_dropout(func, args, kwargs)
        result = func(*args, **kwargs)
        if tensors_in(result):  # not for `weight.shape` and the like
            self.seen.read |= self._parameters & set(map(id, tensors_in((args, kwargs))))
        return result

    def _enter(self, block: nn.Module, args: Any) -> None:
        self.seen.called.add(id(block))
        self._running.append((block, tuple(shape(tensor) for tensor in tensors_in(args))))

    def _leave(self, block: nn.Module, args: Any, *rest: Any) -> None:
        current = self._running.pop()
        while current[0] is not block:
            current = self._running.pop()
        if len(rest) == 1:  # `forward` has raised: the innermost block leaves first
            self._failed = self._failed or current
            return
        self._failed = None
        if self.seen.first_bad is None and is_bad(tensors_in(rest[-1])):
            inside = not is_bad(tensors_in((args, rest[0])))
            caller = self._running[-1][0] if self._running else None
            self.seen.first_bad = self._name(block if inside or caller is None else caller)

    def _name(self, block: nn.Module) -> str:
        return self._names.get(id(block), type_name(block))

    def _note_relu(self, value: Tensor) -> None:
        if not _can_be_read(value) or value.dim() < 2 or not value.numel():
            return
        units = value.shape[1] if value.dim() > 3 else value.shape[-1]
        wide = value.detach().float()
        deviation, mean = torch.std_mean(wide, correction=0)
        measured = torch.stack([wide.max(), mean, deviation]).tolist()
        where = self._name(self._running[-1][0]) if self._running else ""
        self.seen.rectified.append(Rectified(where, units, *measured))

    def _note_dropout(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> None:
        if func in _DROPOUTS:
            active = bool(kwargs.get("training")) and kwargs.get("p", 0) > 0
        elif func is F.scaled_dot_product_attention:
            active = (args[4] if len(args) > 4 else kwargs.get("dropout_p", 0)) > 0
        else:
            return
        block = self._running[-1][0] if self._running else None
        if not active or block is None or isinstance(block, _DropoutNd):
            return
        self.drops = True
        if not block.training and self._name(block) not in self.seen.always_dropped:
            self.seen.always_dropped.append(self._name(block))


def is_bad(tensors: Sequence[Tensor]) -> bool:
    """Whether there is NaN or infinity: minus infinity is what masks put into scores."""
    return any(
        tensor.is_floating_point()
        and _can_be_read(tensor)
        and bool((tensor.isnan() | tensor.isposinf()).any())
        for tensor in tensors
    )


def _can_be_read(tensor: Tensor) -> bool:
    return not tensor.is_meta and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _tensors_below(value: Any, depth: int = 4) -> Iterator[Tensor]:
    """Yield the tensors in a nest, also those in attributes, as a distribution has them."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            yield leaf
        elif depth and hasattr(leaf, "__dict__") and not isinstance(leaf, type | nn.Module):
            yield from _tensors_below(dict(vars(leaf)), depth - 1)
