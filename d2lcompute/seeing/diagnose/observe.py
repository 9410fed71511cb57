"""What a forward and a backward pass show of a net: `observe`, and the notes that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parameter import is_lazy

from ...parameters.names import Entry, Shape, entries, walk
from ...passes.backward import gradients, projection
from ...passes.event import Event, Statistics, can_be_read, plain, statistics, type_name
from ...passes.inputs import Inputs
from ...passes.record import Recorder
from ...passes.run import Pass
from ...passes.values import tensors_in
from .state import distinct

Loss = Callable[[Any], Tensor]

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
    inputs: list[Tensor] = field(default_factory=list)
    input_values: list[Statistics | None] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    output: Any = None
    outputs: list[Tensor] = field(default_factory=list)
    called: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    rectified: list[Rectified] = field(default_factory=list)
    always_dropped: list[str] = field(default_factory=list)
    constants: set[tuple[str, str]] = field(default_factory=set)
    first_bad: str | None = None
    loss: Tensor | None = None
    gradients: dict[int, Tensor | None] = field(default_factory=dict)
    failure: Failure | None = None


def observe(net: nn.Module, inputs: Inputs, loss_fn: Loss | None) -> Seen:
    """Run `net` forward and backward, and return what was seen until the end or an error."""
    held = [entry.tensor for entry in entries(net)]
    made_for_inference = any(not is_lazy(tensor) and tensor.is_inference() for tensor in held)
    in_inference = torch.is_inference_mode_enabled()
    with torch.inference_mode(made_for_inference), torch.enable_grad():
        inputs = inputs.for_autograd() if in_inference and not made_for_inference else inputs
        made = Pass(net, inputs, imagined=False)  # a lazy net runs as a copy, made for it as well
        notes = _record(made, partial(_backward, loss_fn=loss_fn))
        if notes.drops:
            with _eval_mode(made.net), torch.no_grad():
                notes.seen.always_dropped = _record(made, None).seen.always_dropped
    return notes.seen


def trained(net: nn.Module) -> list[Entry]:
    """Return the parameters that have a shape and ask for a gradient, each under its first name."""
    held = [e for e in distinct(entries(net)) if not e.is_buffer and not is_lazy(e.tensor)]
    return [e for e in held if e.tensor.requires_grad and not e.tensor.is_inference()]


def is_bad(tensors: Sequence[Tensor]) -> bool:
    """Whether there is NaN or infinity: minus infinity is what masks put into scores."""
    floats = [one for one in tensors if one.is_floating_point() and can_be_read(one)]
    return any(
        bool((values.isnan() | values.isposinf()).any())
        for values in (plain(tensor.detach()) for tensor in floats)
    )


class _Notes:
    """What is noted about ReLUs, dropouts and bad values, as a pass runs."""

    def __init__(self, net: nn.Module) -> None:
        self.seen = Seen(net)
        self.drops = False
        self._names = {id(module): name for name, module in walk(net)}

    def finish(self, recorder: Recorder, output: Any) -> None:
        """Note what there is to say about the pass as a whole."""
        seen, failure = self.seen, recorder.failure
        seen.inputs, seen.events = recorder.inputs, recorder.events
        seen.output, seen.outputs = output, tensors_in(output)
        seen.called = {id(event.block) for event in recorder.events if event.block is not None}
        seen.read = {key for event in recorder.events for key in event.parameters}
        if recorder.error:
            block = failure.block if failure and failure.block is not None else seen.net
            shapes = failure.inputs if failure else ()
            seen.failure = Failure(self._name(block), block, shapes, recorder.error)

    def see(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], block: nn.Module | None
    ) -> None:
        """Note what comes into a ReLU, and dropout that ignores the mode."""
        if func in _RELUS:
            self._note_relu(args[0] if args else kwargs["input"], block)
        elif func in _DROPOUTS:
            self._note_dropout(bool(kwargs.get("training")) and kwargs.get("p", 0) > 0, block)
        elif func is F.scaled_dot_product_attention:
            self._note_dropout(
                (args[4] if len(args) > 4 else kwargs.get("dropout_p", 0)) > 0, block
            )

    def left(self, event: Event, given: list[Tensor], made: list[Tensor]) -> None:
        """Note where NaN or infinity came up first."""
        if self.seen.first_bad is None and is_bad(made):
            caller = event.parent.block if event.parent else None
            inside = not is_bad(given) or caller is None
            self.seen.first_bad = self._name(event.block if inside else caller)

    def _name(self, block: nn.Module | None) -> str:
        return "" if block is None else self._names.get(id(block), type_name(block))

    def _note_relu(self, value: Tensor, block: nn.Module | None) -> None:
        if not can_be_read(value) or value.dim() < 2 or not value.numel():
            return
        units = value.size(1 if value.dim() > 3 else -1)
        wide = plain(value.detach()).float()
        deviation, mean = torch.std_mean(wide, correction=0)
        measured = torch.stack([wide.max(), mean, deviation]).tolist()
        self.seen.rectified.append(Rectified(self._name(block), units, *measured))

    def _note_dropout(self, is_active: bool, block: nn.Module | None) -> None:
        if not is_active or block is None or isinstance(block, _DropoutNd):
            return
        self.drops = True
        if not block.training and self._name(block) not in self.seen.always_dropped:
            self.seen.always_dropped.append(self._name(block))


def _record(made: Pass, backward: Callable[[Seen], object] | None) -> _Notes:
    found = []

    def finish(recorder: Recorder, output: Any) -> None:
        notes = recorder.watcher
        assert isinstance(notes, _Notes)
        notes.finish(recorder, output)
        if backward and not recorder.error:
            backward(notes.seen)
        found.append(notes)

    given = [t for t in tensors_in(made.inputs.for_real(made.net)) if t.is_floating_point()]
    input_values = [statistics(tensor) for tensor in given]
    watched = [entry.tensor for entry in entries(made.net) if not entry.is_buffer]
    constants = {id(tensor): key for key, tensor in _constants(made.net)}
    plain = [tensor for _, tensor in _constants(made.net)]
    made.record([*watched, *plain], values=True, watch=lambda: _Notes(made.net), then=finish)
    seen = found[-1].seen
    seen.input_values = input_values
    seen.constants = {constants[key] for key in seen.read & constants.keys()}
    return found[-1]


def _constants(net: nn.Module) -> Iterator[tuple[tuple[str, str], Tensor]]:
    """Yield the tensors in plain attributes, by module and attribute."""
    for path, module in walk(net):
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                yield (path, key), value


def _backward(seen: Seen, loss_fn: Loss | None) -> None:
    try:
        loss = seen.loss = _checked(loss_fn(seen.output)) if loss_fn else projection(seen.outputs)
        chosen = [e.tensor for e in trained(seen.net)]
        seen.gradients = dict.fromkeys(map(id, chosen))
        if loss is not None and loss.grad_fn is not None and chosen:
            seen.gradients = dict(zip(map(id, chosen), gradients(loss, chosen), strict=True))
    except Exception as error:
        seen.gradients = {}
        seen.failure = Failure("loss_fn" if loss_fn else "", None, (), error)


def _checked(loss: object) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"`loss_fn` must return a scalar tensor, got {type(loss).__name__}; "
            f"do leave out item() and float()"
        )
    return loss


@contextmanager
def _eval_mode(net: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for _, module in walk(net)]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
