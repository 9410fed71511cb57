"""Deferred initialization: which shapes are not known yet, and how a net learns them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .arguments import shown
from .initializers.base import Initializer
from .initializers.initialize import initialize
from .parameters.names import Entry, Shape, collect_params, entries, walk
from .passes.first_pass import first_pass
from .passes.inputs import Inputs, has_gaps
from .passes.keep import dry_run as dry_run
from .passes.keep import is_unfinished
from .passes.record import Recorder
from .passes.registered import registered_text
from .passes.run import Pass, collector_paused, explained
from .passes.twin import meta_twin as meta_twin
from .passes.values import is_shape
from .tables import Report, Table
from .words.language import _, marks

Net = TypeVar("Net", bound=nn.Module)
Shapes = tuple[Shape, ...]


@dataclass(frozen=True)
class Learned:
    """A parameter or buffer that got its shape, its layer, and the shapes that came in there."""

    name: str
    shape: tuple[int, ...]
    layer: str
    inputs: Shapes


@dataclass(frozen=True, repr=False)
class ShapeReport(Report):
    """Which layer learned which shape from what input, and what the net gave out in the end.

    `pending` names the parameters that were not reached, and `registered` what `forward` made and
    added to the net, as `self.fc = nn.Linear(...)` does in a first call; it is gone again.
    """

    rows: tuple[Learned, ...]
    output: Shapes
    pending: tuple[str, ...]
    registered: tuple[str, ...] = ()

    def _table(self) -> Table:
        headers = marks("name", "shape", "layer", "learned from input")
        rows = [(row.name, row.shape, row.layer, _listed(row.inputs)) for row in self.rows]
        notes = [_("output: {shapes}").format(shapes=_listed(self.output))] if self.output else []
        if self.pending:
            text = _("not reached, and still without a shape: {names}")
            notes.append(text.format(names=", ".join(self.pending)))
        if self.registered:
            notes.append(registered_text(self.registered))
        return Table(headers, rows, notes=notes)


def pending(net: nn.Module) -> list[str]:
    """Return the names of the parameters that have no shape yet.

    >>> net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.LazyLinear(10))
    >>> d2c.pending(net)
    ['2.weight', '2.bias']

    `net` is any module. A tied parameter comes once, under its first name.
    Source: D2L 6.4 / zh 5.3
    """
    return [name for name, parameter in collect_params(net).items() if is_lazy(parameter)]


def materialize(
    net: nn.Module,
    *inputs: Any,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> ShapeReport:
    """Give the lazy layers of a net their shapes and first values, by a pass that leaves no trace.

    >>> net = d2c.mlp(256, 10)
    >>> d2c.materialize(net, (2, 20))
    name      shape      layer    learned from input
    --------  ---------  -------  --------------------
    0.weight  (256, 20)  Linear   (2, 20)
    0.bias    (256,)     Linear   (2, 20)
    2.weight  (10, 256)  Linear   (2, 256)
    2.bias    (10,)      Linear   (2, 256)
    output: (2, 10)

    `inputs` and `named_inputs` are what the net takes, tensors or the shapes of such; a shape
    stands for floats of the net's type. `forward_kwargs` are named inputs that are passed as they
    are, a tuple of whole numbers too. What `initialize` deferred is done. The values are those
    that a first forward pass would give, but training modes, BatchNorm statistics, gradients and
    random states stay as they are. A pass on much input is made on the meta device where that is
    possible, which computes nothing: a batch of 1,000 costs no more than a batch of one.

    Returns a report. Raises `RuntimeError`, and leaves the net as it was, if the pass fails: the
    error names the module and its input. Source: D2L 6.4 / zh 5.3
    """
    given = Inputs.of(inputs, named_inputs, forward_kwargs)
    lazy = _lazy_entries(net)
    if not any(is_unfinished(module) for _, module in walk(net)):
        return ShapeReport((), (), ())
    return _report(net, lazy, first_pass(net, given))


@collector_paused()
def infer_shapes(
    net: nn.Module,
    *inputs: Any,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> ShapeReport:
    """Tell which shapes the lazy layers of a net would learn, without touching it or computing.

    >>> net = nn.Sequential(nn.LazyConv2d(6, 5), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    >>> d2c.infer_shapes(net, (1, 3, 32, 32))
    name      shape         layer    learned from input
    --------  ------------  -------  --------------------
    0.weight  (6, 3, 5, 5)  Conv2d   (1, 3, 32, 32)
    0.bias    (6,)          Conv2d   (1, 3, 32, 32)
    3.weight  (10, 4704)    Linear   (1, 4704)
    3.bias    (10,)         Linear   (1, 4704)
    output: (1, 10)
    >>> d2c.pending(net)
    ['0.weight', '0.bias', '3.weight', '3.bias']

    `inputs` and `named_inputs` are shapes, or tensors, of which only shape and type are used.
    `forward_kwargs` are named inputs that are passed as they are. The pass is made by a copy on the
    meta device, which has no data, so a net of any size will do. What `forward` itself adds to the
    net is named in the report. Types are checked as in a real pass: a linear layer of floats
    refuses whole numbers.

    Returns a report. Raises `RuntimeError` if the pass fails, and for a net whose `forward` reads
    values, as `while x.sum() > 1` does: `materialize` can run that one. Source: D2L 6.4 / zh 5.3
    """
    given = Inputs.of(inputs, named_inputs, forward_kwargs)
    made = Pass(net, given, imagined=True)
    lazy = _lazy_entries(made.net)
    recorder = made.record(steps=False)
    if recorder.error:
        raise explained(recorder, made.net, given) from recorder.error
    return _report(made.net, lazy, recorder)


def apply_init(
    net: Net, inputs: Any, init: Initializer | Callable[[nn.Module], None] | None = None
) -> Net:
    """Do the book's two steps in one: a dry run on `inputs`, then `init`.

    >>> from d2lcompute import initializers as init
    >>> net = d2c.apply_init(d2c.mlp(256, 10), [torch.rand(2, 20)], init.init_normal)
    >>> net[0].weight.shape
    torch.Size([256, 20])

    `net` is any module, `inputs` the sequence of its inputs, or one tensor or shape. `init` is an
    initializer, which sets all parameters, or a visitor for `net.apply`; without it the lazy ones
    keep what the dry run gave them, see `materialize`.

    Returns the net. Raises as `materialize` and `initialize` do, and `TypeError` for an `init`
    that is neither. Source: D2L 6.4 / zh 5.3
    """
    of_tensors = getattr(init, "__module__", "") == nn.init.__name__  # torch's, not of modules
    if init is not None and (isinstance(init, type) or not callable(init) or of_tensors):
        raise TypeError(
            f"`init` must be an initializer or a function for net.apply, got {shown(init)}; "
            f"do pass one such as initializers.Normal(0.01) or initializers.init_normal"
        )
    lone = isinstance(inputs, Tensor) or is_shape(inputs) or has_gaps(inputs)
    if not lone and not isinstance(inputs, list | tuple):
        raise TypeError(
            f"`inputs` must be a list of inputs, or one tensor or shape, got {shown(inputs)}; "
            f"do apply_init(net, [X], init)"
        )
    materialize(net, *([inputs] if lone else inputs))
    if isinstance(init, Initializer):
        initialize(net, init, force_reinit=True)
    elif init is not None:
        net.apply(init)
    return net


def _lazy_entries(net: nn.Module) -> list[Entry]:
    """Return the parameters and buffers without a shape, each under the first of its names."""
    found: dict[int, Entry] = {}
    for entry in entries(net):
        if is_lazy(entry.tensor):
            found.setdefault(id(entry.tensor), entry)
    return list(found.values())


def _report(net: nn.Module, lazy: Sequence[Entry], made: Recorder) -> ShapeReport:
    inputs: dict[int, Shapes] = {}
    for event in made.events:
        inputs.setdefault(id(event.block), event.inputs)
    by_name = {name: inputs[id(block)] for name, block in walk(net) if id(block) in inputs}
    rows, waiting = [], []
    for entry in lazy:
        if not is_lazy(entry.tensor):
            source = _source(entry.name.rpartition(".")[0], by_name)
            layer = type(entry.module).__name__
            rows.append(Learned(entry.name, tuple(entry.tensor.shape), layer, source))
        elif not entry.is_buffer:
            waiting.append(entry.name)
    output = made.events[0].outputs
    return ShapeReport(tuple(rows), output, tuple(waiting), made.registered.names)


def _source(path: str, inputs: Mapping[str, Shapes]) -> Shapes:
    """Return what came into a module, or for containers into the innermost one around them."""
    while path and path not in inputs:
        path = path.rpartition(".")[0]
    return inputs.get(path, ())


def _listed(shapes: Shapes) -> str:
    return ", ".join(map(str, shapes))
