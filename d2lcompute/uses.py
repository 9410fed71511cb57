"""What each use of a parameter contributes to its gradient."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.autograd.graph import Node, get_gradient_edge
from torch.nn.parameter import is_lazy

from .description import norm
from .lazy import dry_run
from .parameters import slots, walk
from .recording import hooked, type_name
from .reports import Table
from .tracetable import ordinal

# A node of the backward graph, and which of the things that it passes a gradient to.
Read = tuple[Node, int]


@dataclass(frozen=True)
class Use:
    """One operation that read a parameter, and the gradient that came back through it.

    `block` names the innermost block whose call it was part of, `call` counts that block's calls
    from 1, and `grad_fn` is what torch calls the operation.
    """

    block: str
    call: int
    grad_fn: str
    gradient: Tensor


@dataclass(frozen=True)
class UsedParameter:
    """A parameter under all its names, its uses, and the gradient that backward accumulates."""

    names: tuple[str, ...]
    uses: tuple[Use, ...]
    gradient: Tensor | None

    @property
    def difference(self) -> float:
        """The largest difference between the sum over the uses and the accumulated gradient."""
        if self.gradient is None:
            return 0.0
        remainder = -_dense(self.gradient)
        for use in self.uses:
            remainder = remainder + _dense(use.gradient)
        return _number(remainder.abs().max()) if remainder.numel() else 0.0


@dataclass(frozen=True)
class GradientsByUse:
    """The parameters that are tied or read several times; `report[name]` is the one of a name."""

    parameters: tuple[UsedParameter, ...]

    def __getitem__(self, name: str) -> UsedParameter:
        for parameter in self.parameters:
            if name in parameter.names:
                return parameter
        known = ", ".join(name for parameter in self.parameters for name in parameter.names)
        raise KeyError(f"{name!r} is not tied or used repeatedly; what is: {known or 'nothing'}")

    def __repr__(self) -> str:
        return self._table().text()

    def _repr_html_(self) -> str:
        return self._table().html()

    def _table(self) -> Table:
        headers = ("parameter", "used by", "call", "grad_fn", "gradient norm")
        rows = [row for parameter in self.parameters for row in _rows(parameter)]
        if not rows:
            return Table(headers, (), notes=["no trainable parameter is tied or used repeatedly"])
        largest = max(parameter.difference for parameter in self.parameters)
        note = f"the uses add up to the accumulated gradient: largest difference {largest:.3g}"
        return Table(headers, rows, notes=[note])


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
    and modes and the random state are afterwards what they were. Raises `ValueError` if the net is
    lazy or the loss is not a scalar that depends on it. Source: D2L 6.2 / zh 5.2
    """
    names, parameters = _trainable(net)
    leaves = {get_gradient_edge(parameter).node: key for key, parameter in parameters.items()}
    calls = _Calls(net)
    with dry_run(net), torch.enable_grad():
        with hooked(calls.enter, calls.leave):
            loss = loss_fn(net)
        _check_loss(loss)
        reads = _reads(loss, leaves)
        chosen = [key for key in parameters if len(reads[key]) > 1 or len(names[key]) > 1]
        parts, totals = _gradients(loss, [(parameters[key], reads[key]) for key in chosen])
    return GradientsByUse(
        tuple(
            UsedParameter(
                tuple(names[key]),
                tuple(Use(*calls.at(node), node.name(), parts[node, i]) for node, i in reads[key]),
                total,
            )
            for key, total in zip(chosen, totals, strict=True)
        )
    )


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
        label = _joined(self._names.get(id(block), [type_name(block)]))
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
    for name, _, _, tensor, is_buffer in slots(net):
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
        for index, (source, _) in enumerate(node.next_functions):
            if source in leaves:
                reads[leaves[source]].append((node, index))
            elif source is not None and source not in seen:
                seen.add(source)
                stack.append(source)
    for found in reads.values():
        found.sort(key=lambda read: (read[0]._sequence_nr(), read[1]))
    return reads


def _gradients(
    loss: Tensor, parameter_reads: Sequence[tuple[Tensor, list[Read]]]
) -> tuple[dict[Read, Tensor], list[Tensor | None]]:
    """Run backward once; return the gradient through each read, and the accumulated ones."""
    parts = {read: torch.zeros_like(p) for p, reads in parameter_reads for read in reads}
    for read in parts:
        read[0].register_hook(partial(_keep, parts, read))
    parameters = [parameter for parameter, reads in parameter_reads if reads]
    totals = iter(torch.autograd.grad(loss, parameters) if parameters else ())
    return parts, [next(totals) if reads else None for _, reads in parameter_reads]


def _keep(parts: dict[Read, Tensor], read: Read, arrived: Sequence[Tensor | None], _: Any) -> None:
    gradient = arrived[read[1]]
    if gradient is not None:
        parts[read] = gradient.detach()


def _rows(parameter: UsedParameter) -> Iterator[tuple[object, ...]]:
    name = _joined(parameter.names)
    for use in parameter.uses:
        yield name, use.block, ordinal(use.call), use.grad_fn, _norm_cell(use.gradient)
        name = ""
    if parameter.gradient is None:
        yield name, "nothing", "", "", "none"
    else:
        yield name, "accumulated", "", "", _norm_cell(parameter.gradient)


def _joined(names: Sequence[str]) -> str:
    return " = ".join([*names[:3], "..."] if len(names) > 3 else names)


def _norm_cell(gradient: Tensor) -> str:
    measured = _number(norm(gradient))
    return "?" if math.isnan(measured) and gradient.is_meta else f"{measured:.3g}"


def _number(scalar: Tensor) -> float:
    return math.nan if scalar.is_meta else scalar.item()


def _dense(gradient: Tensor) -> Tensor:
    return gradient.to_dense() if gradient.is_sparse else gradient
