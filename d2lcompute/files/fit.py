"""Which tensor of a file belongs to which name of a net, and what does not fit."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.memory import extent
from ..parameters.names import Entry, entries, known_shape, slots, tied_entries, walk
from ..passes.keep import is_waiting
from ..words.language import mark
from .format import repeats
from .report import EXTRA, KEPT, LEFT_OUT, LOSSES, MISSING, Kind, Match, shape_fits
from .restore import Lesson, learn

_EXTRA_STATE = "_extra_state"  # torch's name for what a module saves beside parameters and buffers
_PIECE = 1 << 22  # elements that are looked at together, so that little memory is needed


@dataclass(frozen=True)
class Fitting:
    """How the entries of a file fit a net, and what is to be loaded if all of them do."""

    matches: tuple[Match, ...]
    values: Mapping[str, Any]
    lessons: tuple[Lesson, ...]


def fit(
    net: nn.Module,
    targets: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    allow_missing: bool,
    ignore_extra: bool,
) -> Fitting:
    """Hold the entries of a file against `targets`, what the net saves; neither is changed."""
    check = _Check(net, targets, found)
    check.match(allow_missing, ignore_extra)
    check.require_equal_ties()
    lessons = tuple(check.lessons(net))
    values = {n: found[n] for n, t in targets.items() if n in found and not is_lazy(t)}
    return Fitting(tuple(check.matches.values()), values, lessons)


class _Check:
    """What is known so far of each name."""

    def __init__(
        self, net: nn.Module, targets: Mapping[str, Any], found: Mapping[str, Any]
    ) -> None:
        self.found = found
        self.targets = targets
        self.held = {entry.name: entry for entry in entries(net)}
        self.groups = [[e for e in g if e.name in targets] for g in tied_entries(slots(net))]
        self.ties = repeats(found)
        self.stand_ins = _stand_ins(self.groups, found)
        self.matches: dict[str, Match] = {}

    def match(self, allow_missing: bool, ignore_extra: bool) -> None:
        for name, target in self.targets.items():
            wanted = _wanted(target, self.held.get(name))
            if name in self.found:
                match = _match(name, self.found[name], wanted)
                cut = match.fits and self._is_cut(name)
                self.matches[name] = replace(match, cut=cut, tie=self.ties[name] if cut else "")
            elif name in self.stand_ins:
                tie = self.stand_ins[name]
                self.matches[name] = Match(name, None, wanted, mark("tied to {tie}"), tie=tie)
            else:
                kind = KEPT if allow_missing else MISSING
                self.matches[name] = Match(name, None, wanted, kind, allow_missing)
        for name in self.found:
            if name not in self.targets:
                kind = LEFT_OUT if ignore_extra else EXTRA
                found = kind_of(self.found[name])
                self.matches[name] = Match(name, found, None, kind, ignore_extra)

    def _is_cut(self, name: str) -> bool:
        """Tell whether a name is tied to another in the file and not in the net."""
        first = self.ties.get(name)
        if first is None or first not in self.held or name not in self.held:
            return False
        return _memory(self.held[name].tensor) != _memory(self.held[first].tensor)

    def require_equal_ties(self) -> None:
        """Refuse values of which only those written last would stay."""
        for group in self.groups:
            present = [e for e in group if e.name in self.found and self.matches[e.name].fits]
            values = [self.found[entry.name].to(entry.tensor.dtype) for entry in present]
            if len({id(value) for value in values}) > 1:
                kept = _overlaid([entry.tensor for entry in present], values)
                for entry, left, value in zip(present, kept, values, strict=True):
                    if not torch.equal(_bits(left), _bits(value)):
                        self._refuse(
                            entry.name, mark("differs from {tie}, its tie"), present[0].name
                        )

    def lessons(self, net: nn.Module) -> Iterator[Lesson]:
        """Yield what completes each lazy layer that the file knows."""
        for prefix, module in walk(net):
            leaves = (*module._parameters.keys(), *module._buffers.keys())
            names = {leaf: f"{prefix}.{leaf}" if prefix else leaf for leaf in leaves}
            names = {leaf: name for leaf, name in names.items() if name in self.matches}
            lazy = {leaf: name for leaf, name in names.items() if is_lazy(self.targets[name])}
            sources = [self.stand_ins.get(name, name) for name in (lazy or names).values()]
            given = any(name in self.found for name in sources)
            fits = all(self.matches[name].fits for name in sources)
            if given and fits and (lazy or is_waiting(module)):
                yield from self._lesson(module, lazy)

    def _lesson(self, module: nn.Module, lazy: Mapping[str, str]) -> list[Lesson]:
        sources = {leaf: self.stand_ins.get(name, name) for leaf, name in lazy.items()}
        values = {leaf: self.found[n] for leaf, n in sources.items() if n in self.found}
        lesson = learn(module, values) if len(values) == len(lazy) else None
        if lesson is not None:
            return [lesson]
        for name in lazy.values():
            self._refuse(name, mark("a lazy layer needs all that it has, in shapes that agree"))
        return []

    def _refuse(self, name: str, kind: str, tie: str = "") -> None:
        self.matches[name] = replace(self.matches[name], kind=kind, tie=tie, fits=False)


def _stand_ins(groups: Iterable[list[Entry]], found: Mapping[str, Any]) -> dict[str, str]:
    """Map each missing name to one in the file that means the same memory."""
    stand_ins: dict[str, str] = {}
    for group in groups:
        alike: dict[Hashable, list[str]] = {}
        for entry in group:
            alike.setdefault(_memory(entry.tensor), []).append(entry.name)
        for names in alike.values():
            present = [name for name in names if name in found]
            stand_ins.update({n: present[0] for n in names if present and n not in found})
    return stand_ins


def _memory(tensor: Tensor) -> Hashable:
    """Return what is equal for tensors that fill the same bytes without gaps."""
    place = None if is_lazy(tensor) else extent(tensor)
    dense = place is not None and place[2] - place[1] == tensor.nbytes
    return place if dense else id(tensor)


def _wanted(target: Any, entry: Entry | None) -> Kind:
    if entry is None:
        return kind_of(target)
    return known_shape(entry.module, entry.leaf), target.dtype


def kind_of(value: Any) -> Kind:
    """Return shape and dtype of a tensor, and what there is else: a layout or a type."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if is_lazy(value):
        return "lazy"
    return (tuple(value.shape), value.dtype) if value.layout is torch.strided else str(value.layout)


def _match(name: str, value: Any, wanted: Kind) -> Match:
    found = kind_of(value)
    match = Match(name, found, wanted, mark("fits"))
    if name.rpartition(".")[2] == _EXTRA_STATE:
        return match
    if isinstance(found, str) or value.is_meta:
        return replace(match, kind=mark("not a tensor with values"), fits=False)
    if isinstance(wanted, str) or (found[1] == wanted[1] and shape_fits(found, wanted)):
        return match
    if not shape_fits(found, wanted):
        return replace(match, kind=mark("other shape"), fits=False)
    if not _converts(found[1], wanted[1]):
        return replace(match, kind=mark("other kind of number"), fits=False)
    return replace(match, kind=mark("converted"), losses=tuple(_losses(value, wanted[1])))


def _converts(found: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether numbers stay what they are, up to the precision of floating point."""
    kinds = {(t.is_floating_point, t.is_complex, t is torch.bool) for t in (found, wanted)}
    if len(kinds) > 1:
        return False
    if found.is_floating_point or found.is_complex:
        return True
    narrow, wide = torch.iinfo(found), torch.iinfo(wanted)
    return wide.min <= narrow.min and narrow.max <= wide.max


def _losses(value: Tensor, dtype: torch.dtype) -> Iterator[tuple[str, int]]:
    """Yield in what ways a conversion changes values, and how many."""
    if value.is_complex():
        value, dtype = torch.view_as_real(value.resolve_conj()), dtype.to_real()
    if not dtype.is_floating_point or _holds_all(dtype, value.dtype):
        return
    exact = torch.float64 if value.dtype == torch.float64 else torch.float32
    counts = dict.fromkeys(LOSSES, 0)
    for piece in torch.split(value.reshape(-1), _PIECE):
        before, after = piece.to(exact), piece.to(dtype).to(exact)
        lost = {
            "infinite": after.isinf(),
            "NaN": after.isnan(),
            "zero": after == 0,
            "cut off": before.abs() > torch.finfo(dtype).max,
            "rounded": torch.ones_like(after, dtype=torch.bool),
        }
        changed = (before != after) & ~before.isnan()
        for how, mask in lost.items():
            counts[how] += int((changed & mask).sum())
            changed &= ~mask
    yield from ((how, count) for how, count in counts.items() if count)


def _holds_all(wide: torch.dtype, narrow: torch.dtype) -> bool:
    left, right = torch.finfo(wide), torch.finfo(narrow)
    return left.eps <= right.eps and left.max >= right.max and left.tiny <= right.tiny


def _overlaid(homes: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """Return what would be read from memory that overlaps after all values were written to it."""
    if is_lazy(homes[0]):
        return [values[0]] * len(values)
    places = [place for home in homes if (place := extent(home)) is not None]
    start, stop = min(place[1] for place in places), max(place[2] for place in places)
    memory = torch.empty(stop - start, dtype=torch.uint8, device="cpu")
    copies = []
    for home, place, value in reversed(list(zip(homes, places, values, strict=True))):
        part = memory[place[1] - start : place[2] - start].view(home.dtype)
        copies.append(part.as_strided(home.shape, home.stride()).copy_(value))
    return copies[::-1]


def _bits(tensor: Tensor) -> Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)
