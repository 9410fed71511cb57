"""Which tensor of a file belongs to which name of a net, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.memory import extent
from ..parameters.names import Entry, entries, known_shape, slots, tied_entries, walk
from .format import repeats
from .restore import Lesson, is_unfinished, learn

Rename = Mapping[str, str] | Callable[[str], str] | None
Shape = tuple[int | None, ...]
Shown = tuple[Shape | None, torch.dtype] | str
EXTRA_STATE = "_extra_state"  # torch's name for what a module saves beside parameters and buffers


@dataclass(frozen=True)
class Match:
    """A name, what the file and the net have under it, and whether that fits.

    `found` and `wanted` are shape and dtype in the file and in the net, None where the name is
    not there, and the name of a type where it is no tensor. A shape holds None for a size that the
    net does not know yet, and is None if it knows none.
    """

    name: str
    found: Shown | None
    wanted: Shown | None
    outcome: str
    fits: bool = True


@dataclass(frozen=True)
class Fitting:
    """How the tensors of a file fit a net, and what is to be loaded if all of them do."""

    matches: tuple[Match, ...]
    values: Mapping[str, Any]
    lessons: tuple[Lesson, ...]


def rename_all(tensors: Mapping[str, Any], rename: Rename) -> dict[str, Any]:
    """Return the tensors of a file under the names that the net has for them."""
    if not (rename is None or callable(rename) or isinstance(rename, Mapping)):
        raise TypeError(
            f"`rename` must be a dict or a function, got {type(rename).__name__}; "
            "do rename={'name in the file': 'name in the net'}"
        )
    table = {} if rename is None or callable(rename) else rename
    unknown = [old for old in table if old not in tensors]
    if unknown:
        raise ValueError(
            f"`rename` must map names that the file has, got {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(map(repr, tensors))}"
        )
    found: dict[str, Any] = {}
    for old, tensor in tensors.items():
        new = rename(old) if callable(rename) else table.get(old, old)
        if not isinstance(new, str) or new in found:
            raise ValueError(
                f"`rename` must give each name one of its own, got {new!r} for {old!r}"
            )
        found[new] = tensor
    return found


def fit(
    net: nn.Module, tensors: Mapping[str, Any], *, allow_missing: bool, ignore_extra: bool
) -> Fitting:
    """Hold the tensors of a file against the state of a net; neither is changed."""
    check = _Check(net, tensors)
    check.match(allow_missing, ignore_extra)
    check.require_equal_ties()
    lessons = tuple(check.lessons(net))
    values = {n: tensors[n] for n, t in check.targets.items() if n in tensors and not is_lazy(t)}
    return Fitting(tuple(check.matches.values()), values, lessons)


class _Check:
    """What is known so far of each name."""

    def __init__(self, net: nn.Module, tensors: Mapping[str, Any]) -> None:
        self.tensors = tensors
        self.held = {entry.name: entry for entry in entries(net)}
        self.targets: dict[str, Any] = net.state_dict(keep_vars=True)
        self.groups = [[e for e in g if e.name in self.targets] for g in tied_entries(slots(net))]
        self.ties = repeats(tensors)
        self.stand_ins = _stand_ins(self.groups, tensors)
        self.matches: dict[str, Match] = {}

    def match(self, allow_missing: bool, ignore_extra: bool) -> None:
        for name, target in self.targets.items():
            wanted = _wanted(target, self.held.get(name))
            if name in self.tensors:
                self.matches[name] = _compare(name, self.tensors[name], wanted, self._cut(name))
            elif name in self.stand_ins:
                self.matches[name] = Match(name, None, wanted, f"tied to {self.stand_ins[name]}")
            else:
                outcome = "missing, kept as it was" if allow_missing else "missing"
                self.matches[name] = Match(name, None, wanted, outcome, allow_missing)
        for name in self.tensors:
            if name not in self.targets:
                found = _shown(self.tensors[name])
                outcome = "extra, left out" if ignore_extra else "extra"
                self.matches[name] = Match(name, found, None, outcome, ignore_extra)

    def _cut(self, name: str) -> str:
        """Say what a name is tied to in the file and not in the net."""
        first = self.ties.get(name)
        if first is None or first not in self.held or name not in self.held:
            return ""
        mine, other = self.held[name].tensor, self.held[first].tensor
        tied = _memory(mine) == _memory(other)
        return "" if tied else f", but is tied to {first} in the file only"

    def require_equal_ties(self) -> None:
        """Refuse values of which only those written last would stay."""
        for group in self.groups:
            present = [e for e in group if e.name in self.tensors and self.matches[e.name].fits]
            values = [self.tensors[entry.name].to(entry.tensor.dtype) for entry in present]
            if len({id(value) for value in values}) > 1:
                kept = _overlaid([entry.tensor for entry in present], values)
                for entry, left, value in zip(present, kept, values, strict=True):
                    if not torch.equal(_bits(left), _bits(value)):
                        self._refuse(entry.name, f"differs from {present[0].name}, its tie")

    def lessons(self, net: nn.Module) -> Iterator[Lesson]:
        """Yield what completes each lazy layer that the file knows."""
        for prefix, module in walk(net):
            leaves = (*module._parameters.keys(), *module._buffers.keys())
            names = {leaf: f"{prefix}.{leaf}" if prefix else leaf for leaf in leaves}
            names = {leaf: name for leaf, name in names.items() if name in self.matches}
            lazy = {leaf: name for leaf, name in names.items() if is_lazy(self.targets[name])}
            sources = [self.stand_ins.get(name, name) for name in (lazy or names).values()]
            given = any(name in self.tensors for name in sources)
            fits = all(self.matches[name].fits for name in sources)
            if given and fits and (lazy or is_unfinished(module)):
                yield from self._lesson(module, lazy)

    def _lesson(self, module: nn.Module, lazy: Mapping[str, str]) -> list[Lesson]:
        sources = {leaf: self.stand_ins.get(name, name) for leaf, name in lazy.items()}
        values = {leaf: self.tensors[n] for leaf, n in sources.items() if n in self.tensors}
        lesson = learn(module, values) if len(values) == len(lazy) else None
        if lesson is not None:
            return [lesson]
        for name in lazy.values():
            self._refuse(name, "a lazy layer needs all that it has, in shapes that agree")
        return []

    def _refuse(self, name: str, outcome: str) -> None:
        self.matches[name] = replace(self.matches[name], outcome=outcome, fits=False)


def _stand_ins(groups: Iterable[list[Entry]], tensors: Mapping[str, Any]) -> dict[str, str]:
    """Map each missing name to one in the file that means the same memory."""
    found: dict[str, str] = {}
    for group in groups:
        alike: dict[Hashable, list[str]] = {}
        for entry in group:
            alike.setdefault(_memory(entry.tensor), []).append(entry.name)
        for names in alike.values():
            present = [name for name in names if name in tensors]
            found.update({name: present[0] for name in names if present and name not in tensors})
    return found


def _memory(tensor: Tensor) -> Hashable:
    """Return what is equal for tensors that fill the same bytes without gaps."""
    place = None if is_lazy(tensor) else extent(tensor)
    dense = place is not None and place[2] - place[1] == tensor.nbytes
    return place if dense else id(tensor)


def _wanted(target: Any, entry: Entry | None) -> Shown:
    if entry is None:
        return _shown(target)
    return known_shape(entry.module, entry.leaf), target.dtype


def _shown(value: Any) -> Shown:
    if isinstance(value, Tensor) and value.layout is torch.strided and not is_lazy(value):
        return tuple(value.shape), value.dtype
    return str(value.layout) if isinstance(value, Tensor) else type(value).__name__


def _compare(name: str, value: Any, wanted: Shown, note: str) -> Match:
    found = _shown(value)
    if isinstance(found, str) or value.is_meta:
        return Match(name, found, wanted, "not a tensor with values", False)
    if isinstance(wanted, str) or name.rpartition(".")[2] == EXTRA_STATE:
        return Match(name, found, wanted, "fits")
    if not _shape_fits(found[0], wanted[0]):
        return Match(name, found, wanted, "other shape", False)
    if not _converts(found[1], wanted[1]):
        return Match(name, found, wanted, "other kind of number", False)
    return Match(name, found, wanted, ("fits" if found[1] == wanted[1] else "converted") + note)


def _shape_fits(found: Shape | None, wanted: Shape | None) -> bool:
    if found is None or wanted is None:
        return True
    return len(found) == len(wanted) and all(
        size is None or size == n for n, size in zip(found, wanted, strict=True)
    )


def _converts(found: torch.dtype, wanted: torch.dtype) -> bool:
    """Whether numbers stay what they are, up to the precision of floating point."""
    kinds = {(t.is_floating_point, t.is_complex, t is torch.bool) for t in (found, wanted)}
    if found == wanted or len(kinds) > 1:
        return found == wanted
    if found.is_floating_point or found.is_complex:
        return True
    narrow, wide = torch.iinfo(found), torch.iinfo(wanted)
    return wide.min <= narrow.min and narrow.max <= wide.max


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
