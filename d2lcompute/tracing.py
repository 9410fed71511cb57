"""What happened inside a forward pass, call by call: `trace`."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves, tree_map

from .calls import Call, Names, as_calls
from .initializing.deferral import deferral_of
from .parameters import walk
from .passes.dryrun import dry_run, meta_twin
from .passes.firstpass import is_shape
from .recording import Recorder, tensors_in, time_blocks
from .tracetable import listed, table_of


@dataclass(frozen=True)
class Trace:
    """Every call of a forward pass, in order.

    `calls` are `Call` objects, of blocks and of steps. `unused` names the parameters that the
    pass did not read. `error` is the exception that ended the pass early, or None.
    """

    calls: tuple[Call, ...]
    unused: tuple[str, ...]
    error: Exception | None

    def __repr__(self) -> str:
        return table_of(self.calls, list(self._notes())).text()

    def _repr_html_(self) -> str:
        return table_of(self.calls, list(self._notes())).html()

    def _notes(self) -> Iterator[str]:
        if self.calls:
            net = self.calls[0]
            yield f"{net.parameter_count:,} parameters read, each counted once; {net.flops:,} FLOPs"
        if self.unused:
            yield f"not read: {listed(self.unused)}"
        if self.error:
            yield f"stopped by {type(self.error).__name__}: {self.error}"


def trace(net: nn.Module, *inputs: Any, time: bool = False, **named_inputs: Any) -> Trace:
    """Make a forward pass and report every call of a block in order, with the steps between.

    >>> d2c.trace(d2c.FixedHiddenMLP(units=4), torch.zeros(2, 4))
    call              input           output      parameters    FLOPs  remarks
    ----------------  --------------  --------  ------------  -------  ---------
    FixedHiddenMLP    (2, 4)          ()                  20      192
    │ linear: Linear  (2, 4)          (2, 4)              20       64
    │ @               (2, 4), (4, 4)  (2, 4)                       64
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
    `time` asks for the microseconds that each call takes, in a second pass.

    Returns a report whose `calls` are data. If the pass fails, the report ends there, and `error`
    is the exception. Raises `TypeError` if `net` is no module, and `ValueError` for shapes if the
    net reads values, as `while x.sum() > 1` does.
    Source: D2L 6.1 / zh 5.1
    """
    shapes_only = _shapes_only(net, [*inputs, *named_inputs.values()])
    subject = meta_twin(net) if shapes_only else _copy_if_lazy(net)
    convert = _on_meta if shapes_only else _copied
    args = [convert(value) for value in inputs]
    kwargs = {name: convert(value) for name, value in named_inputs.items()}
    names = Names(subject)
    recorder = Recorder(names.parameters, tensors_in((args, kwargs)))
    error: Exception | None = None
    seconds: list[float] = []
    device = torch.device("meta") if shapes_only else nullcontext()
    try:
        with dry_run(subject), _as_written(), device, recorder:
            subject(*args, **kwargs)
        if time:
            with dry_run(subject), device:
                seconds = time_blocks(lambda: subject(*args, **kwargs))
    except Exception as caught:
        if shapes_only and _wants_values(caught):
            raise _values_wanted(list(as_calls(recorder.events, names, []))) from caught
        error = caught
    calls = tuple(as_calls(recorder.events, names, seconds))
    return Trace(calls, _unused(names, calls), error)


def _shapes_only(net: nn.Module, values: Sequence[Any]) -> bool:
    """Whether to run on the meta device: for shapes, meta tensors and meta nets."""
    leaves = [leaf for value in values for leaf in tree_leaves(value, is_leaf=is_shape)]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    has_shape = not tensors and any(is_shape(leaf) for leaf in leaves)
    return has_shape or any(tensor.is_meta for tensor in [*tensors, *_tensors(net)])


def _on_meta(value: Any) -> Any:
    def stand_in(leaf: Any) -> Any:
        if is_shape(leaf):
            return torch.empty(leaf, device="meta")
        return torch.empty_like(leaf, device="meta") if isinstance(leaf, Tensor) else leaf

    return tree_map(stand_in, value, is_leaf=is_shape)


def _copied(value: Any) -> Any:
    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().clone().requires_grad_(leaf.requires_grad)

    return tree_map(copy, value)


@contextmanager
def _as_written() -> Iterator[None]:
    """Let blocks that were compiled run as they are written: compiled code calls no blocks."""
    if "torch._dynamo" not in sys.modules:  # it takes a second to import
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using `torch.compile")  # on hooks, as recording has
        yield


def _copy_if_lazy(net: nn.Module) -> nn.Module:
    """Return a copy that may get its shapes, sharing the tensors that have one; or the net."""
    tensors = _tensors(net)
    if not any(is_lazy(tensor) for tensor in tensors):
        return net
    memo: dict[int, Any] = {id(tensor): tensor for tensor in tensors if not is_lazy(tensor)}
    for _, block in reversed(list(walk(net))):  # deepest first, which needs no recursion
        try:
            deepcopy(block, memo)
        except TypeError as error:
            raise TypeError(
                f"`net` must be copyable as long as it is lazy, got a {type(block).__name__} that "
                f"is not ({error}); do materialize(net, X) first"
            ) from error
        deferral = deferral_of(memo[id(block)])
        if deferral:  # what the copy does is not to be announced
            orders = deferral.orders.items()
            deferral.orders = {name: replace(order, verbose=False) for name, order in orders}
    copy: nn.Module = memo[id(net)]
    return copy


def _tensors(net: nn.Module) -> list[Tensor]:
    places = (place for _, block in walk(net) for place in (block._parameters, block._buffers))
    return [tensor for place in places for tensor in place.values() if tensor is not None]


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
