"""Two of them: how a file fits a net, what differs between two nets, two files or two traces."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..files.fit import fit, kind_of
from ..files.format import repeats
from ..files.names import check_rename, find
from ..files.read import read
from ..files.report import AnyPath, FitReport, Rename
from ..files.restore import state_of
from ..words.language import _, ngettext
from .comparison import Comparison, Pair, TraceComparison, by_size, compare_traces, gap_text
from .trace import Trace

_PIECE = 1 << 22  # values that are compared together, so that little memory is needed


def compare(
    net: nn.Module | AnyPath | Trace,
    other: nn.Module | AnyPath | Trace,
    *,
    rename: Rename = None,
) -> FitReport | Comparison | TraceComparison:
    """Report how a file fits a net, or what differs between two nets, two files or two traces.

    >>> net = nn.Linear(3, 4)
    >>> d2c.save_parameters(net, "small.safetensors")
    >>> d2c.compare(nn.Linear(3, 5), "small.safetensors")
    small.safetensors: does not fit, 2 misfits
    name    in the file     in the net      outcome
    ------  --------------  --------------  -----------
    weight  (4, 3) float32  (5, 3) float32  other shape
    bias    (4,) float32    (5,) float32    other shape
    >>> _ = nn.init.zeros_(net.bias)
    >>> report = d2c.compare(net, nn.Sequential(nn.Linear(3, 4)), rename={"0": ""})
    >>> [pair.name for pair in report.differences]
    ['weight', 'bias']
    >>> wide = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    >>> slim = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Dropout())
    >>> d2c.compare(d2c.trace(wide, (5, 3)), d2c.trace(slim, (5, 3)))
    Sequential and Sequential: 4 differences
    name        in the first                in the second               outcome
    ----------  --------------------------  --------------------------  ...
    Sequential  Sequential (5, 3) → (5, 4)  Sequential (5, 3) → (5, 2)  other output, 16 and 8 ...
    0           Linear (5, 3) → (5, 4)      Linear (5, 3) → (5, 2)      other output, 16 and 8 ...
    1           Tanh (5, 4) → (5, 4)        Tanh (5, 2) → (5, 2)        other input, other output
    2           -                           Dropout (5, 2) → (5, 2)     only in the second

    `net` and `other` are a module and a file that `load_parameters` takes, or two modules, two
    files that `load` takes, or two reports of `trace`. Nothing is changed. `rename` maps names in
    the file, and else names in `other`, to those in `net`, as in `load_parameters`. Calls of two
    traces stand side by side by their names, in order, and a call that replaces another beside it.
    They differ in name, type, shapes, where inputs and outputs come from, what they read of the
    net, and, where both traces have `values`, in numbers about these.

    Returns the `FitReport` of `load_parameters` for a module and a file; its `misfits` are the rows
    that do not fit. Else returns a `Comparison`; its `differences` are the rows that differ in
    shape, type or values, or for traces a `TraceComparison`. Raises `FileError` if a file is
    damaged, `OSError` if it cannot be read, and `TypeError` for a trace beside what is none.
    Source: D2L 6.6 / zh 5.5
    """
    check_rename(rename)
    for argument, value in (("net", net), ("other", other)):
        _check_side(argument, value)
    if isinstance(net, Trace) or isinstance(other, Trace):
        return compare_traces(*_two_traces(net, other, rename))
    if isinstance(net, nn.Module) and not isinstance(other, nn.Module):
        return _fit_report(net, other, rename)
    if isinstance(other, nn.Module) and not isinstance(net, nn.Module):
        return _fit_report(other, net, rename)
    first, second = _content(net), _content(other)
    mine, label = dict(_leaves(first)), _label(other)
    found = find(label, dict(_leaves(second)), mine.keys(), rename)
    if not found.hits:  # one may be a checkpoint that holds the other among more
        found = find(label, second, mine.keys(), rename)
    if not found.hits:
        mine = find(_label(net), first, found.entries.keys()).entries
    pairs = tuple(_pairs(mine, found.entries))
    return Comparison(_label(net), label, pairs, found.notes)


def _check_side(argument: str, value: object) -> None:
    if not isinstance(value, nn.Module | str | os.PathLike | Trace):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(
            f"`{argument}` must be an nn.Module, the name of a file or a trace, got {got}; "
            "do compare(net, 'net.safetensors') or compare(net, another_net)"
        )


def _two_traces(net: object, other: object, rename: Rename) -> tuple[Trace, Trace]:
    if not (isinstance(net, Trace) and isinstance(other, Trace)):
        argument, value = ("net", net) if isinstance(other, Trace) else ("other", other)
        raise TypeError(
            f"`{argument}` must be a trace beside a trace, got {type(value).__name__}; "
            "do compare(d2c.trace(net, X), d2c.trace(other, X))"
        )
    if rename is not None:
        raise ValueError(
            f"`rename` must be None for traces, got {type(rename).__name__}; "
            "do compare(trace, other_trace)"
        )
    return net, other


def _fit_report(net: nn.Module, path: AnyPath, rename: Rename) -> FitReport:
    targets = state_of(net)
    found = find(path, read(path).value, targets.keys(), rename)
    fitting = fit(net, targets, found.entries, allow_missing=False, ignore_extra=False)
    return FitReport(os.fspath(path), fitting.matches, False, found.notes)


def _label(one: nn.Module | AnyPath) -> str:
    return type(one).__name__ if isinstance(one, nn.Module) else os.fspath(one)


def _content(one: nn.Module | AnyPath) -> Any:
    return state_of(one) if isinstance(one, nn.Module) else read(one).value


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield all that is in lists and dicts, with the keys and indices that lead there."""
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        yield ".".join(place), value
        return
    for key, item in value.items():
        yield from _leaves(item, (*place, str(key)))


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Pair]:
    ties = repeats(first), repeats(second)
    for name in dict.fromkeys((*first, *second)):
        if name not in first:
            yield Pair(name, None, kind_of(second[name]), _("only in the second"), False)
        elif name not in second:
            yield Pair(name, kind_of(first[name]), None, _("only in the first"), False)
        else:
            yield _pair(name, first[name], second[name], _tied_once(name, *ties))


def _tied_once(name: str, first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """Say what a name is tied to in one of the two only."""
    if name in first and name not in second:
        return _("tied to {tie} in the first only", tie=first[name])
    if name in second and name not in first:
        return _("tied to {tie} in the second only", tie=second[name])
    return ""


def _pair(name: str, first: Any, second: Any, tie: str) -> Pair:
    count, gap, said = 0, 0.0, [tie]
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        said.insert(0, _other_value(first, second))
    elif _has_values(first) != _has_values(second):
        said.insert(0, _("without values in one of the two"))
    elif not _has_values(first):
        pass
    elif first.shape != second.shape:
        said.insert(0, _("other shape"))
    else:
        count, gap = _apart(first, second)
        said.insert(0, _apart_text(count, first.numel(), gap))
        said.insert(0, "" if first.dtype == second.dtype else _("other dtype"))
    outcome = _(", ").join(filter(None, said))
    kinds = kind_of(first), kind_of(second)
    return Pair(name, *kinds, outcome or _("equal"), not outcome, count, gap)


def _has_values(tensor: Tensor) -> bool:
    return not tensor.is_meta and not is_lazy(tensor)


def _other_value(first: Any, second: Any) -> str:
    if type(first) is not type(second):
        return _("other type")
    return "" if first == second else f"{first!r:.40} ≠ {second!r:.40}"


def _apart(first: Tensor, second: Tensor) -> tuple[int, float]:
    """Return how many values differ, and by how much at most; NaN is equal to NaN."""
    left, right = (t.detach().cpu().to_dense().reshape(-1) for t in (first, second))
    if left.dtype == right.dtype and torch.equal(left, right):
        return 0, 0.0
    exact = torch.complex128 if left.is_complex() or right.is_complex() else torch.float64
    count, gap = 0, 0.0
    for one, two in zip(torch.split(left, _PIECE), torch.split(right, _PIECE), strict=True):
        one, two = one.to(exact), two.to(exact)
        differs = (one != two) & ~(one.isnan() & two.isnan())
        if differs.any():
            count += int(differs.sum())
            gap = max(gap, float((one - two)[differs].abs().max()), key=by_size)
    return count, gap


def _apart_text(count: int, total: int, gap: float) -> str:
    if not count:
        return ""
    return ngettext(
        "{n} of {total:,} values differs, by {gap}",
        "{n:,} of {total:,} values differ, by at most {gap}",
        count,
        total=total,
        gap=gap_text(gap),
    )
