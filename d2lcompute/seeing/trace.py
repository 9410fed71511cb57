"""What happened inside a forward pass, call by call: `trace`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from ..passes.inputs import Inputs
from ..passes.record import Event
from ..passes.run import Pass, collector_paused
from ..tables import Report, Table, listed
from .calls import Call, Names, as_calls
from .trace_table import MOST_NAMES, table_of


@dataclass(frozen=True, repr=False)
class Trace(Report):
    """Every call of a forward pass, in order.

    `calls` are `Call` objects, of blocks and of steps. `unused` names the parameters that the
    pass did not read. `error` is the exception that ended the pass early, or None. A second pass
    that was made for times and `went_another_way` called other blocks, so there are no times.
    """

    calls: tuple[Call, ...]
    unused: tuple[str, ...]
    error: Exception | None
    went_another_way: bool = False

    def _table(self) -> Table:
        return table_of(self.calls, list(self._notes()))

    def _notes(self) -> Iterator[str]:
        if self.calls:
            net = self.calls[0]
            yield f"{net.parameter_count:,} parameters read, each counted once; {net.flops:,} FLOPs"
        if self.unused:
            yield f"not read: {listed(self.unused, MOST_NAMES)}"
        if self.went_another_way:
            yield "no times: the pass that was timed called other blocks, as by chance"
        if self.error:
            yield f"stopped by {type(self.error).__name__}: {self.error}"


@collector_paused()
def trace(
    net: nn.Module,
    *inputs: Any,
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
    >>> report = d2c.trace(d2c.mlp(256, 10), (2, 20))
    >>> [call.decided for call in report.calls if call.lazy]
    [(('weight', (256, 20)), ('bias', (256,))), (('weight', (10, 256)), ('bias', (10,)))]

    Steps are functions of torch that a block calls itself; those inside torch's own layers are
    left out, and what a loop repeats is shown once, with its count. `parameters` and `FLOPs`
    include the calls inside. FLOPs are those of torch's own counter: products of matrices,
    convolutions and attention.

    `net` is any module; it stays as it is, lazy layers and random states too. `inputs` and
    `named_inputs` are what it takes. They may be shapes, and then nothing is computed; as a shape
    stands for floats, write `torch.zeros(2, 8, dtype=torch.long, device="meta")` for token ids.
    `forward_kwargs` are named inputs that are passed as they are, whatever their names.
    `time` asks for the microseconds that each call takes, in a second pass.

    Returns a report whose `calls` are data. If the pass fails, the report ends there, and `error`
    is the exception. Raises `TypeError` if `net` is no module, and `ValueError` for shapes if the
    net reads values, as `while x.sum() > 1` does.
    Source: D2L 6.1 / zh 5.1
    """
    made = Pass(net, Inputs(inputs, named_inputs, forward_kwargs or {}))
    names = Names(made.net)
    recorder = made.record(names.parameters)
    if recorder.error and made.on_meta and _wants_values(recorder.error):
        raise _values_wanted(list(as_calls(recorder.events, names, []))) from recorder.error
    seconds = _seconds(made, recorder.events) if time and not recorder.error else []
    calls = tuple(as_calls(recorder.events, names, seconds or []))
    return Trace(calls, _unused(names, calls), recorder.error, went_another_way=seconds is None)


def _seconds(made: Pass, events: Sequence[Event]) -> list[float] | None:
    """Return the seconds of each block, None if the pass that was timed called others."""
    times = made.time()
    before = [id(event.block) for event in events if event.block is not None]
    same = before == [id(block) for block, _ in times]
    return [seconds for _, seconds in times] if same else None


def _wants_values(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _values_wanted(calls: Sequence[Call]) -> ValueError:
    last = calls[-1]
    block = last if last.is_block or last.parent is None else calls[last.parent]
    step = "" if last.is_block else f"`{last.label}` in "
    return ValueError(
        f"`inputs` must be tensors for this net, got shapes, and {step}{block.type} reads values; "
        f"do trace(net, torch.rand{calls[0].inputs[0]}), say"
    )


def _unused(names: Names, calls: Sequence[Call]) -> tuple[str, ...]:
    used = {name for call in calls for name in call.parameters}
    return tuple(name for name, _ in names.parameters.values() if name not in used)
