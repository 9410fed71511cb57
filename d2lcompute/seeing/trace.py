"""What happened inside a forward pass, call by call: `trace`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import flag, function
from ..passes.backward import gradients
from ..passes.event import Event, plain
from ..passes.inputs import Inputs
from ..passes.record import Recorder
from ..passes.registered import registered_text
from ..passes.run import Pass, collector_paused, wants_values
from ..passes.values import tensors_in
from ..tables import Rows, Table, listed, size_text
from ..words.language import _
from .calls import Call, Names, as_calls
from .parts import check_depth
from .trace_table import MOST_NAMES, table_of


@dataclass(frozen=True, repr=False)
class Trace(Rows[Call]):
    """Every call of a forward pass, in order: a sequence of `Call` objects, of blocks and of steps.

    `unused` names the parameters that the pass did not read, and `uncounted` how often operators
    ran that compute with a weight and have no formula for their FLOPs. `peak` is how many bytes of
    activations were there at a time, and `kept` how many bytes autograd keeps for the backward
    pass, parameters and inputs apart, None where torch does not tell; without computing, both are
    about right where kernels differ (`is_about`). `error` is the exception that ended the pass
    early, or None. A second pass that was made for times and `went_another_way` called other
    blocks, so there are no times. `registered` names what `forward` made and added to the net, as
    `self.fc = nn.Linear(...)` does in a first call; after the trace it is gone again.
    """

    calls: tuple[Call, ...]
    unused: tuple[str, ...]
    error: Exception | None
    uncounted: Mapping[str, int] = field(default_factory=dict)
    peak: int = 0
    kept: int | None = 0
    is_about: bool = False
    went_another_way: bool = False
    depth: int | str | None = None
    registered: tuple[str, ...] = ()

    def _rows(self) -> Sequence[Call]:
        return self.calls

    def _table(self) -> Table:
        return table_of(self.calls, list(self._notes()), self.depth)

    def _notes(self) -> Iterator[str]:
        if self.calls:
            yield self._counted()
            yield self._measured()
        if self.uncounted:
            names = [f"{name} × {count:,}" for name, count in self.uncounted.items()]
            yield _("not counted: {operators}", operators=listed(names, MOST_NAMES))
        if self.registered:
            yield registered_text(self.registered)
        if self.unused:
            yield _("not read: {names}", names=listed(self.unused, MOST_NAMES))
        if self.went_another_way:
            yield _("no times: the pass that was timed called other blocks, as by chance")
        if self.error:
            error = f"{type(self.error).__name__}: {self.error}"
            yield _("stopped by {error}", error=error)

    def _counted(self) -> str:
        net = self.calls[0]
        count = f"{net.parameter_count:,}"
        text = _("{count} parameters read, each counted once", count=count)
        flops = _("{count} FLOPs", count=f"{net.flops:,}")
        back = _("{count} FLOPs back", count=f"{net.backward_flops:,}")
        return _("; ").join([text, flops, *([back] if net.backward_flops else [])])

    def _measured(self) -> str:
        about = _("about ") if self.is_about else ""
        return _(
            "activations: {about}{peak} at their peak, {kept} kept for the backward pass",
            about=about,
            peak=size_text(self.peak),
            kept="?" if self.kept is None else size_text(self.kept),
        )


_LAYERS = (
    nn.RNNBase | nn.MultiheadAttention | nn.TransformerEncoderLayer | nn.EmbeddingBag | nn.Fold
    | nn.BCELoss | nn.MSELoss | nn.SmoothL1Loss | nn.SoftMarginLoss
)  # fmt: skip
_STEPS = {
    "scaled_dot_product_attention", "batch_norm", "embedding_bag", "fold", "one_hot",
    "binary_cross_entropy", "mse_loss", "smooth_l1_loss", "soft_margin_loss",
}  # fmt: skip


@collector_paused()
def trace(
    net: nn.Module,
    *inputs: Any,
    depth: int | str | None = None,
    values: bool = False,
    backward: bool = False,
    loss_fn: Callable[[Any], Tensor] | None = None,
    time: bool = False,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> Trace:
    """Make a forward pass and report every call of a block in order, with the steps between.

    >>> d2c.trace(d2c.FixedHiddenMLP(units=4), torch.zeros(2, 4))
    call              input           output      parameters    FLOPs  remarks
    ----------------  --------------  --------  ------------  -------  -----------------
    FixedHiddenMLP    (2, 4)          ()                  20      192
    │ linear: Linear  (2, 4)          (2, 4)              20       64
    │ @               (2, 4), (4, 4)  (2, 4)                       64  reads rand_weight
    │ + 1             (2, 4)          (2, 4)
    │ relu            (2, 4)          (2, 4)
    │ linear: Linear  (2, 4)          (2, 4)              20       64  2nd call
    ...
    20 parameters read, each counted once; 192 FLOPs
    activations: 128 B at their peak, 204 B kept for the backward pass
    >>> report = d2c.trace(d2c.mlp(256, 10), (2, 20))
    >>> [call.decided for call in report.calls if call.lazy]
    [(('weight', (256, 20)), ('bias', (256,))), (('weight', (10, 256)), ('bias', (10,)))]

    Steps are functions of torch that a block calls itself; those inside torch's own layers are
    left out, and what a loop repeats is shown once, with its count. What `forward` adds to the net
    in its first call has its name and counts, and is gone again afterwards. `parameters` and
    `FLOPs` include the calls inside. FLOPs are those of products of matrices and vectors, of
    convolutions and of attention; what computes with a weight and is not counted is named.

    `net` is any module; it stays as it is, lazy layers and random states too. `inputs` and
    `named_inputs` are what it takes. They may be shapes, and then nothing is computed; as a shape
    stands for floats, write `torch.zeros(2, 8, dtype=torch.long, device="meta")` for token ids.
    `forward_kwargs` are named inputs that are passed as they are, whatever their names.
    `depth` is how many levels of calls to show, "all" for all of them. `values` asks for mean,
    deviation and the like of each output, `backward` for a backward pass, and for its FLOPs, from
    `loss_fn(output)` or the sum of all floating outputs; with both, for the size of the gradient
    that comes to each output, a root mean square. `time` asks for the microseconds that each call
    takes, in a second pass.

    Returns a report whose `calls` are data. If the pass fails, the report ends there, and `error`
    is the exception. Raises `TypeError` if `net` is no module, and `ValueError` for shapes if the
    net reads values, as `while x.sum() > 1` does.
    Source: D2L 6.1 / zh 5.1
    """
    check_depth(depth)
    for name, value in (("values", values), ("backward", backward), ("time", time)):
        flag(name, value)
    if loss_fn is not None:
        function("loss_fn", loss_fn, of="the output", do="lambda Y: Y.pow(2).mean(), say")
    if loss_fn is not None and not backward:
        raise ValueError(
            "`loss_fn` must come with a backward pass, got backward=False; do backward=True"
        )
    made = Pass(net, Inputs.of(inputs, named_inputs, forward_kwargs))
    names = Names(made.net)
    parameters = [parameter for _name, parameter in names.parameters.values()]
    recorder = made.record(
        parameters,
        values=values,
        grown=names.look_at,
        then=partial(_go_back, loss_fn=loss_fn) if backward else None,
    )
    if recorder.error and made.on_meta and wants_values(recorder.error):
        so_far = list(as_calls(recorder.events, names, []))
        raise _values_wanted(recorder, so_far) from recorder.error
    seconds = _seconds(made, recorder.events) if time and not recorder.error else []
    calls = tuple(as_calls(recorder.events, names, seconds or []))
    return Trace(
        calls,
        _unused(names, calls),
        recorder.error,
        recorder.flops.uncounted + recorder.backward_flops.uncounted,
        recorder.memory.peak,
        recorder.memory.kept if recorder.saves else None,
        is_about=made.is_about
        or (made.on_meta and _are_kernels_many(recorder.events, [*recorder.inputs, *parameters])),
        went_another_way=seconds is None,
        depth=depth,
        registered=recorder.registered.names,
    )


def _go_back(recorder: Recorder, output: Any, loss_fn: Callable[[Any], Tensor] | None) -> None:
    """Make a backward pass; what fails in it ends the trace as what fails in `forward` does."""
    if recorder.error:
        return
    try:
        loss = loss_fn(output) if loss_fn else _sum_of_floats(output)
        if loss is None and not loss_fn:
            raise ValueError(
                "`backward` must find a floating output that depends on parameters, got none; "
                "do trace in grad mode, or pass a loss_fn"
            )
        if not isinstance(loss, Tensor) or loss.grad_fn is None:
            raise ValueError(
                f"`loss_fn` must return a scalar that depends on parameters, got "
                f"{type(loss).__name__} without a graph; do trace in grad mode, and no item()"
            )
        with recorder.watching_backward():
            gradients(loss, [])
    except Exception as error:
        recorder.error = error


def _sum_of_floats(output: Any) -> Tensor | None:
    floats = [plain(t) for t in tensors_in(output) if t.requires_grad and not t.is_complex()]
    return torch.stack([one.sum().to(floats[0]) for one in floats]).sum() if floats else None


def _are_kernels_many(events: Sequence[Event], tensors: Sequence[Tensor]) -> bool:
    """Return whether on meta some call may make other tensors than elsewhere."""
    has_halves = any(t.is_floating_point() and t.itemsize < 4 for t in tensors)
    return any(_has_several_kernels(event, has_halves) for event in events)


def _has_several_kernels(event: Event, has_halves: bool) -> bool:
    block = event.block
    if isinstance(block, nn.modules.batchnorm._NormBase):
        return has_halves or (not block.training and block.track_running_stats)
    is_norm = isinstance(block, nn.LayerNorm) or event.name in ("layer_norm", "instance_norm")
    return isinstance(block, _LAYERS) or event.name in _STEPS or (is_norm and has_halves)


def _seconds(made: Pass, events: Sequence[Event]) -> list[float] | None:
    """Return the seconds of each block, None if the pass that was timed called others."""
    times = made.time()
    before = [id(event.block) for event in events if event.block is not None]
    same = before == [id(block) for block, _ in times]
    return [seconds for _, seconds in times] if same else None


def _values_wanted(recorder: Recorder, calls: Sequence[Call]) -> ValueError:
    last = calls[-1]
    block = last if last.is_block or last.parent is None else calls[last.parent]
    step = "" if last.is_block else f"`{last.label}` in "
    is_elsewhere = re.search("(expected|same) device", str(recorder.error))
    wants = "takes a tensor that the net does not hold" if is_elsewhere else "reads values"
    takes_floats = recorder.inputs[0].is_floating_point() or recorder.inputs[0].is_complex()
    values = "torch.rand{}" if takes_floats else "torch.zeros{}.long()"
    return ValueError(
        f"`inputs` must be tensors for this net, got shapes, and {step}{block.type} {wants}; "
        f"do trace(net, {values.format(calls[0].inputs[0])}), say"
    )


def _unused(names: Names, calls: Sequence[Call]) -> tuple[str, ...]:
    used = {name for call in calls for name in call.parameters}
    return tuple(name for name, _ in names.parameters.values() if name not in used)
