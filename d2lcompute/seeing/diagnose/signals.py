"""What a pass tells about learning: signals that die or explode on their way, and dead ReLUs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ...parameters.names import walk
from ...passes.event import Event, Statistics
from ...words.language import _, mark
from .findings import Finding
from .observe import Rectified, Seen, trained
from .state import alike_finding, has_values, is_constant, is_constant_matrix

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)
_SOUND = math.log(1.25)  # a layer may make that much more or less of a signal
_MUCH = math.log(1e5)  # all together must make that much, to be worth a word
_STEEP, _LITTLE = math.log(10), math.log(1e3)  # or that much, where each layer makes so much
_CLOSED = 1e-3
_ROOM = 16


@dataclass(frozen=True)
class _Station:
    """A layer on the way of the signal: what it gave, and the gradient that came back to it."""

    parameters: frozenset[int]
    values: Statistics
    gradient: Statistics | None
    width: int
    is_norm: bool


def signals(seen: Seen) -> Iterator[Finding]:
    """Find a gradient that dies or explodes, or a signal, where the gradient does not tell."""
    beyond = tuple(name for name, size in _sizes(seen).items() if not math.isfinite(size))
    if beyond and seen.loss is not None and bool(seen.loss.isfinite()):
        yield _exploding(beyond, _("gradients beyond all numbers"))
        return
    stations = _stations(seen)
    found = _of_gradient(seen, stations) or _of_signal(seen, stations)
    if not found and _is_wide(stations):
        found = _exactly_zero(seen)
    if found:
        yield found


def dead_relus(seen: Seen) -> Iterator[Finding]:
    """Find ReLUs that give only zeros, if that is no matter of chance."""
    names = tuple(dict.fromkeys(one.where for one in seen.rectified if _is_dead(one)))
    if names:
        yield Finding(
            mark("dead ReLU"),
            names,
            _("on these inputs every unit gives zero"),
            _("Nothing gets through, forward or backward: the layers before it get no gradient "
              "and cannot come back to life by training."),
            _("Initialize the layer before it anew, with a bias of zero; scale the inputs; lower "
              "the learning rate if it has died in training; or use a LeakyReLU."),
        )  # fmt: skip


def symmetric_gradients(seen: Seen, known: set[str]) -> Iterator[Finding]:
    """Find weights that are all one value and are taught the same in all rows or columns."""
    names = []
    for entry in trained(seen.net):
        gradient = seen.gradients.get(id(entry.tensor))
        if gradient is not None and entry.name not in known and is_constant_matrix(entry):
            table = gradient.to_dense().squeeze()
            same = any(bool((table == table.narrow(axis, 0, 1)).all()) for axis in (0, 1))
            if same and bool(table.any()):
                names.append(entry.name)
    if names:
        yield alike_finding(tuple(names))


def tells_of_training(net: nn.Module) -> bool:
    """Whether gradients have the sizes of training: no BatchNorm takes stored statistics."""
    norms = [module for _name, module in walk(net) if isinstance(module, _BatchNorm)]
    return all(norm.training or not norm.track_running_stats for norm in norms)


def _of_gradient(seen: Seen, stations: Sequence[_Station]) -> Finding | None:
    """Compare the gradients that came to the first and to the last station of one kind."""
    norms = [station for station in stations if station.is_norm]
    sizes = [
        (one, one.gradient.norm) for one in _distinct(norms if norms else stations) if one.gradient
    ]
    if len(sizes) < 2 or not sizes[-1][1] > 0:
        return None
    way = [station for station, _size in sizes]
    factor = sizes[0][1] / sizes[-1][1]
    side = _beyond(factor, len(sizes) - 1, way, chance=bool(seen.rectified))
    if side > 0:
        large = {key for one, size in sizes if size > 30 * sizes[-1][1] for key in one.parameters}
        return _exploding(_names(seen, large), _grown(factor))
    if side == 0 or _may_be_closed(seen):
        return None
    small = {key for one, size in sizes if size < sizes[-1][1] / 30 for key in one.parameters}
    return _vanishing(_names(seen, small), _grown(factor))


def _of_signal(seen: Seen, stations: Sequence[_Station]) -> Finding | None:
    """Compare how much different inputs differ at the beginning and at the end of the way."""
    last_norm = max((i for i, one in enumerate(stations) if one.is_norm), default=None)
    if last_norm is None:
        spreads = [one.spread for one in seen.input_values if one and one.spread]
        start, way = max(spreads, default=None), list(stations)
        if start is None and way:
            start, way = way[0].values.spread, way[1:]
    else:
        start, way = stations[last_norm].values.spread, list(stations[last_norm + 1 :])
    end = way[-1].values.spread if way else None
    if not start or end is None:
        return None
    steps = len(_distinct(way))
    side = _beyond(end / start, steps, way)
    if side < 0:  # the last layer may stand on a branch that is the same for all inputs
        given = max((one.spread or 0.0 for one in seen.events[0].values if one), default=0.0)
        side = min(0, _beyond(max(given, end) / start, steps, way))
    if side == 0 or (side < 0 and _may_be_closed(seen)):
        return None
    names = _names(seen, {key for one in way for key in one.parameters})
    what = _("inputs that differ by {start:.2g} come out {factor}", start=start,
             factor=_times(end / start))  # fmt: skip
    if side > 0:
        return Finding(
            mark("exploding signal"),
            names,
            what,
            _("Numbers of this size saturate what comes behind, overflow in half precision, and "
              "make the first steps of training throw the parameters far away."),
            _("Draw smaller weights (Xavier, Kaiming), or put norms or skip connections in "
              "between."),
        )  # fmt: skip
    return Finding(
        mark("vanishing signal"),
        names,
        what,
        _("The net gives nearly the same for all inputs, so it cannot tell them apart, and its "
          "gradients tell the first layers next to nothing."),
        _("Draw larger weights, by Xavier (tanh, sigmoid) or Kaiming (ReLU), or put norms or skip "
          "connections in between."),
    )  # fmt: skip


def _exactly_zero(seen: Seen) -> Finding | None:
    """Find gradients of which most are exactly zero, where the inputs are not."""
    sizes = _sizes(seen)
    matrices = {entry.name for entry in trained(seen.net) if entry.tensor.dim() > 1}
    none = [name for name, size in sizes.items() if size == 0]
    most = 2 * len(none) > len(sizes) and not matrices.isdisjoint(none)
    has_content = any(one is None or one.zeros < 1 for one in seen.input_values)
    if not most or not has_content or _may_be_closed(seen):
        return None
    return _vanishing(tuple(none), _("the gradient is exactly zero"))


def _vanishing(names: tuple[str, ...], what: str) -> Finding:
    return Finding(
        mark("vanishing gradient"),
        names,
        what,
        _("These layers do not learn: each sigmoid or tanh that is saturated, each small weight "
          "makes the gradient smaller on its way back, and rounding, signs and comparisons let "
          "nothing of it through."),
        _("Use ReLUs, norms and skip connections, draw weights by Xavier or Kaiming, and leave "
          "`round`, `sign` and comparisons out of the way to the loss."),
    )  # fmt: skip


def _exploding(names: tuple[str, ...], what: str) -> Finding:
    return Finding(
        mark("exploding gradient"),
        names,
        what,
        _("One step of an optimizer throws the parameters far away, and the loss soon is NaN."),
        _("Draw smaller weights (Xavier, Kaiming), put norms or skip connections in between, or "
          "limit the gradient with nn.utils.clip_grad_norm_."),
    )  # fmt: skip


def _grown(factor: float) -> str:
    return _("on its way back to the first layers the gradient becomes {factor}",
             factor=_times(factor))  # fmt: skip


def _times(factor: float) -> str:
    if factor >= 1:
        return _("{factor:.0e} times as large", factor=factor)
    return _("{factor:.0e} times smaller", factor=1 / factor) if factor else _("zero")


def _beyond(factor: float, steps: int, way: Sequence[_Station], *, chance: bool = True) -> int:
    """Return -1 if a signal dies over so many steps, 1 if it explodes, 0 if it may be sound.

    Sound are all gains from 0.8 to 1.25 a step. What narrow layers make of a signal by chance is
    not held against them: it adds up as the steps of a random walk do.
    """
    width = min((station.width for station in way), default=0)
    if not steps or not _is_wide(way) or not 0 <= factor < math.inf:
        return 0
    if not factor:
        # All ReLUs of a narrow layer may be off by chance.
        return 0 if chance and steps * 2.0**-width > 1e-4 else -1
    size = math.log(factor)
    least = _LITTLE if abs(size) > steps * _STEEP else _MUCH
    allowed = max(least, steps * _SOUND + 10 * math.sqrt(steps / width))
    return 0 if abs(size) <= allowed else 1 if size > 0 else -1


def _is_wide(way: Sequence[_Station]) -> bool:
    """Whether what happens on the way is no matter of chance: few directions survive a norm."""
    return all(station.width >= (_ROOM if station.is_norm else 1) for station in way)


def _stations(seen: Seen) -> list[_Station]:
    """Return the norms and the layers with a weight matrix, in the order of the pass."""
    matrices = {id(e.tensor) for e in trained(seen.net) if e.tensor.dim() > 1}
    found = []
    for event in seen.events:
        is_norm = _is_norm(event.block)
        values = event.values[0] if event.values else None
        if values and not event.failed and (is_norm or event.parameters & matrices):
            gradient = event.gradients[0] if event.gradients else None
            width = _room(event) if is_norm else _units(event.outputs[0])
            found.append(_Station(event.parameters, values, gradient, width, is_norm))
    return found


def _distinct(stations: Sequence[_Station]) -> list[_Station]:
    """Return one station a layer: of a layer that is called again, the largest gradient counts."""
    largest: dict[object, _Station] = {}
    for position, one in enumerate(stations):
        key = one.parameters or position
        known = largest.get(key)
        if known is None or _norm(one) > _norm(known):
            largest[key] = one
    return list(largest.values())


def _norm(station: _Station) -> float:
    return station.gradient.norm if station.gradient else -1.0


def _is_norm(block: nn.Module | None) -> bool:
    """Whether a block normalizes; other libraries have classes of their own for that."""
    name = type(block).__name__.lower()
    named = block is not None and not block._modules and ("norm" in name or "rms" in name)
    return isinstance(block, _NORMS) or named


def _units(shape: Sequence[int | None]) -> int:
    """Return how many units stand side by side: channels of images, else the last axis."""
    return int(shape[1] or 0) if len(shape) > 3 else int(shape[-1] or 0) if shape else 0


def _room(event: Event) -> int:
    """Return how many directions a normalization leaves free, which takes two from each group."""
    sizes = [int(size or 0) for size in event.outputs[0]]
    units, block = _units(sizes), event.block
    group = math.prod(sizes) // units if isinstance(block, _NormBase) else units
    return min(units, group - 2)


def _names(seen: Seen, parameters: set[int]) -> tuple[str, ...]:
    return tuple(entry.name for entry in trained(seen.net) if id(entry.tensor) in parameters)


def _is_dead(one: Rectified) -> bool:
    # A few units are negative together by chance; then they are so by a little.
    return one.largest <= 0 and one.mean < -24 / one.units * one.deviation


def _sizes(seen: Seen) -> dict[str, float]:
    """Return the largest element of each gradient."""
    found = [(e.name, seen.gradients.get(id(e.tensor))) for e in trained(seen.net)]
    return {name: _largest(g) for name, g in found if g is not None and not g.is_meta}


def _largest(gradient: Tensor) -> float:
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return float(values.abs().max()) if values.numel() else 0.0


def _may_be_closed(seen: Seen) -> bool:
    """Whether nothing gets through for a reason of its own.

    A parameter, other than a bias, that starts at nothing or next to it closes a residual branch
    or an adapter on purpose, and opens in a step; a dead ReLU is a finding of its own, or chance.
    """
    if any(one.largest <= 0 for one in seen.rectified):
        return True
    return any(
        "bias" not in entry.leaf
        and has_values(entry.tensor)
        and is_constant(entry.tensor)
        and float(entry.tensor.detach().reshape(-1)[0].abs()) <= _CLOSED
        for entry in trained(seen.net)
    )
