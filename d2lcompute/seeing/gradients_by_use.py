"""What each use of a parameter contributes to its gradient."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from operator import itemgetter
from types import CellType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.parameter import is_lazy

from ..arguments import function
from ..parameters.describe import norm
from ..parameters.names import slots, walk
from ..passes.backward import gradients
from ..passes.event import type_name
from ..passes.hooks import hooked
from ..passes.keep import dry_run
from ..passes.run import as_written, check_whole
from ..tables import Report, Table
from ..words.language import _, marks
from .parts import ordinal

MOST_NAMES = 3
MOST_USES = 8


@dataclass(frozen=True, eq=False)
class Use:
    """One operation that read a parameter, and the gradient that came back through it.

    `block` names the innermost block whose call it was part of, `call` counts that block's calls
    from 1, and `grad_fn` is what torch calls the operation.
    """

    block: str
    call: int
    grad_fn: str
    gradient: Tensor

    @property
    def scale(self) -> float:
        """The largest element of the gradient."""
        return _largest(_dense(self.gradient))


@dataclass(frozen=True, eq=False)
class UsedParameter:
    """A parameter under all its names, its uses, and the gradient that backward accumulates."""

    names: tuple[str, ...]
    uses: tuple[Use, ...]
    gradient: Tensor | None

    @property
    def scale(self) -> float:
        """The largest element of the accumulated gradient."""
        return 0.0 if self.gradient is None else _largest(_dense(self.gradient))

    @property
    def difference(self) -> float:
        """The largest difference between the sum over the uses and the accumulated gradient."""
        if self.gradient is None:
            return 0.0
        remainder = -_dense(self.gradient)
        for use in self.uses:
            remainder = remainder + _dense(use.gradient)
        return _largest(remainder)


@dataclass(frozen=True, eq=False, repr=False)
class GradientsByUse(Report, Mapping[str, UsedParameter]):
    """The parameters that are tied or read several times, by name.

    `report[name]` takes any name of a tied parameter; iteration gives the first one of each.
    """

    parameters: tuple[UsedParameter, ...]

    def __getitem__(self, name: str) -> UsedParameter:
        for parameter in self.parameters:
            if name in parameter.names:
                return parameter
        known = ", ".join(name for parameter in self.parameters for name in parameter.names)
        raise KeyError(f"{name!r} is not tied or used repeatedly; what is: {known or 'nothing'}")

    def __iter__(self) -> Iterator[str]:
        return (parameter.names[0] for parameter in self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    def _table(self) -> Table:
        headers = marks("parameter", "used by", "call", "grad_fn", "gradient norm")
        rows = [row for parameter in self.parameters for row in _rows(parameter)]
        if not rows:
            return Table(
                headers, (), notes=[_("no trainable parameter is tied or used repeatedly")]
            )
        return Table(headers, rows, notes=[self._sum_in_words()])

    def _sum_in_words(self) -> str:
        """Say how exactly the uses add up, in words: the last bits differ between machines."""
        largest = max(parameter.difference for parameter in self.parameters)
        scale = max(parameter.scale for parameter in self.parameters)
        if not largest:
            return _("the uses add up to the accumulated gradient, bit for bit")
        if largest <= 1e-4 * scale:
            return _("the uses add up to the accumulated gradient, up to rounding")
        return _(
            "the uses add up to the accumulated gradient, but for a difference of {gap:.3g}",
            gap=largest,
        )


def joined(names: Sequence[str]) -> str:
    """Return the names of one thing, the first few if there are many."""
    return " = ".join([*names[:MOST_NAMES], "..."] if len(names) > MOST_NAMES else names)


def _rows(parameter: UsedParameter) -> Iterator[tuple[object, ...]]:
    """Yield a row for each use and one for the sum, beside them the names one below the other."""
    names = joined(parameter.names).replace(" = ", "\n= ").split("\n")
    for name, cells in zip_longest(names, _use_rows(parameter)):
        yield name or "", *(cells or [""] * 4)


def _use_rows(parameter: UsedParameter) -> Iterator[tuple[object, ...]]:
    uses = parameter.uses
    shown = uses if len(uses) <= MOST_USES else uses[: MOST_USES - 2]
    for use in shown:
        yield use.block, ordinal(use.call), use.grad_fn, _norm_cell(use.gradient)
    if len(shown) < len(uses):
        yield _("{count:,} more uses", count=len(uses) - len(shown)), "", "", ""
    if parameter.gradient is None:
        yield _("nothing"), "", "", _("none")
    else:
        yield _("accumulated"), "", "", _norm_cell(parameter.gradient)


def _norm_cell(gradient: Tensor) -> str:
    return "?" if gradient.is_meta else f"{_number(norm(gradient)):.3g}"


def _largest(values: Tensor) -> float:
    return _number(values.abs().max()) if values.numel() else 0.0


def _number(scalar: Tensor) -> float:
    return math.nan if scalar.is_meta else scalar.item()


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient


# A node of the backward graph, and which of the things that it passes a gradient to.
Read = tuple[Node, int]


def gradients_by_use(net: nn.Module, loss_fn: Callable[[Any], Tensor]) -> GradientsByUse:
    """Split the gradient of each parameter that is used repeatedly into what each use contributes.

    >>> shared = nn.Linear(4, 4, bias=False)
    >>> net = nn.Sequential(shared, nn.ReLU(), shared)
    >>> X = torch.rand(2, 4)
    >>> report = d2c.gradients_by_use(net, lambda net: net(X).sum())
    >>> [(use.block, use.call) for use in report["2.weight"].uses]
    [('0 = 2', 1), ('0 = 2', 2)]
    >>> report["2.weight"].difference < 1e-6
    True

    `net` is any module that is not lazy any more. `loss_fn` takes the net and returns a scalar,
    such as `lambda net: net(X).sum()`. A use is one operation that reads the parameter in a forward
    pass, in a layer or in a function such as `F.linear(X, self.embedding.weight)`. Parameters on
    the same memory are parameters of their own: their gradients do not add up.

    Returns a report with the uses in the order of the forward pass. `net`, its gradients, buffers
    and modes, the random states and the batch are afterwards what they were. Raises `ValueError` if
    the net is lazy, if the loss is not a scalar that depends on it, or if uses lie in a function
    that makes a backward pass of its own, such as a checkpoint with `use_reentrant=True`.
    Source: D2L 6.2 / zh 5.2
    """
    check_whole(net)
    function("loss_fn", loss_fn, of="the net", do="lambda net: net(X).sum(), say")
    names, parameters = _trainable(net)
    calls = _Calls(net)
    kept = dry_run(net, *_referred_to(loss_fn))
    with torch.inference_mode(False), kept, as_written(), torch.enable_grad():
        leaves = {get_gradient_edge(tensor).node: key for key, tensor in parameters.items()}
        with hooked(calls.enter, calls.leave):
            loss = loss_fn(net)
        _check_loss(loss)
        reads = _reads(loss, leaves)
        parts, totals = _backward(loss, parameters, reads)
    used = [
        UsedParameter(
            tuple(names[key]),
            tuple(Use(*calls.at(node), node.name(), parts[node, index]) for node, index in found),
            totals[key],
        )
        for key, found in reads.items()
    ]
    for one, parameter in zip(used, parameters.values(), strict=True):
        _check_complete(one, parameter)
    return GradientsByUse(tuple(one for one in used if len(one.uses) > 1 or len(one.names) > 1))


def _referred_to(loss_fn: Any) -> list[Any]:
    """Return what a function refers to outside of itself, such as the batch."""
    if isinstance(loss_fn, partial):
        return [*_referred_to(loss_fn.func), *loss_fn.args, *loss_fn.keywords.values()]
    function = getattr(loss_fn, "__func__", loss_fn)
    if not isinstance(function, FunctionType):
        return [loss_fn]
    names = [name for name in function.__code__.co_names if name in function.__globals__]
    cells = [cell for cell in function.__closure__ or () if cell != CellType()]
    return [
        *(function.__globals__[name] for name in names),
        *(cell.cell_contents for cell in cells),
        *(function.__defaults__ or ()),
        *(function.__kwdefaults__ or {}).values(),
    ]


class _Calls:
    """Which call of which block a node of the backward graph was made in.

    Torch numbers the nodes in the order of their making, so the number that comes next when a
    call begins and ends tells its nodes from those of others.
    """

    def __init__(self, net: nn.Module) -> None:
        self._names: dict[int, list[str]] = {}
        for name, block in walk(net, every_name=True):
            self._names.setdefault(id(block), []).append(name or type_name(block))
        self._counts: Counter[str] = Counter()
        self._open = [("loss_fn", 1)]
        self._marks = [(0, self._open[0])]

    def enter(self, block: nn.Module, *rest: object) -> None:
        label = joined(self._names.get(id(block), [type_name(block)]))
        self._counts[label] += 1
        self._open.append((label, self._counts[label]))
        self._mark()

    def leave(self, block: nn.Module, *rest: object) -> None:
        self._open.pop()
        self._mark()

    def at(self, node: Node) -> tuple[str, int]:
        """Return the names of the innermost block, and the number of its call."""
        return self._marks[bisect_right(self._marks, node._sequence_nr(), key=itemgetter(0)) - 1][1]

    def _mark(self) -> None:
        self._marks.append((_get_sequence_nr(), self._open[-1]))


def _trainable(net: nn.Module) -> tuple[dict[int, list[str]], dict[int, Tensor]]:
    """Return the names of each parameter that gets a gradient, and the parameter, by its id."""
    names: dict[int, list[str]] = {}
    parameters: dict[int, Tensor] = {}
    for name, _module, _leaf, tensor, is_buffer in slots(net):
        if is_lazy(tensor):
            raise ValueError(
                f"`net` must not be lazy, got {name!r} without a shape; "
                f"do materialize(net, X) or net(X) once"
            )
        if tensor.requires_grad and not is_buffer:
            names.setdefault(id(tensor), []).append(name)
            parameters[id(tensor)] = tensor
    return names, parameters


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or loss.grad_fn is None:
        got = type(loss).__name__
        if isinstance(loss, Tensor):
            kind = "without a graph" if loss.grad_fn is None else f"of shape {tuple(loss.shape)}"
            got = f"a tensor {kind}"
        raise ValueError(
            f"`loss_fn` must return a scalar computed from the net's parameters, got {got}; "
            f"do return net(X).sum() or another loss, without item() or no_grad()"
        )


def _reads(loss: Tensor, leaves: dict[Node, int]) -> dict[int, list[Read]]:
    """Find the nodes below the loss that read each parameter, first read first."""
    reads: dict[int, list[Read]] = {key: [] for key in leaves.values()}
    stack: list[Any] = [loss.grad_fn]
    seen: set[Any] = set(stack)
    while stack:
        node = stack.pop()
        for index, (source, _number) in enumerate(node.next_functions):
            if source in leaves:
                reads[leaves[source]].append((node, index))
            elif source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    for found in reads.values():
        found.sort(key=lambda read: (read[0]._sequence_nr(), read[1]))
    return reads


def _backward(
    loss: Tensor, parameters: dict[int, Tensor], reads: dict[int, list[Read]]
) -> tuple[dict[Read, Tensor], dict[int, Tensor | None]]:
    """Run backward once; return the gradient through each read, and the accumulated ones."""
    parts: dict[Read, Tensor] = {}
    every = chain.from_iterable(reads.values())
    handles = [read[0].register_hook(partial(_keep, parts, read)) for read in every]
    try:
        totals = gradients(loss, list(parameters.values()))
    finally:
        for handle in handles:  # else node and hook keep each other alive, unseen by the collector
            handle.remove()
    for key, found in reads.items():
        for read in found:
            if read not in parts:  # an operation may pass nothing back
                parts[read] = torch.zeros_like(parameters[key])
    return parts, dict(zip(parameters, totals, strict=True))


def _check_complete(used: UsedParameter, parameter: Tensor) -> None:
    """Refuse gradients that come from uses which the graph does not show."""
    if used.gradient is None or used.gradient.is_meta or parameter._backward_hooks:
        return
    largest = max([used.scale, *(use.scale for use in used.uses)])
    rounding = 1e-3 + 4 * len(used.uses) * torch.finfo(parameter.dtype).eps
    if used.difference > rounding * largest:
        raise ValueError(
            f"`loss_fn` must use {used.names[0]!r} where autograd sees it, got gradients from a "
            f"function that makes a backward pass of its own, whose uses cannot be told apart; "
            f"do checkpoint(..., use_reentrant=False), say"
        )


def _keep(parts: dict[Read, Tensor], read: Read, arrived: Sequence[Tensor | None], _: Any) -> None:
    gradient = arrived[read[1]]
    if gradient is not None:
        parts[read] = gradient  # itself: a view of it would be accumulated into
