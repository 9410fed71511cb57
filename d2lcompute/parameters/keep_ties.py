"""Ties that outlive what cuts them: `keep_ties`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .memory import extent, overlapping
from .names import Entry, entries, hang, slots, tied_entries


@contextmanager
def keep_ties(net: nn.Module) -> Iterator[None]:
    """Restore the ties that the block cuts, as moves to and from the meta device do.

    >>> shared = nn.Linear(8, 8, bias=False)
    >>> net = nn.Sequential(shared, nn.ReLU(), nn.Linear(8, 8, bias=False))
    >>> d2c.tie(net, "0", "2")
    >>> with d2c.keep_ties(net):
    ...     _ = net.to("meta").to_empty(device="cpu")
    >>> d2c.tied_groups(net)
    [('0.weight', '2.weight')]

    Of the names that were tied, the first that got a new tensor gives it to the others. Parameters
    that shared memory share it again. An error in the block goes on after the ties are restored.
    Raises `RuntimeError` if a tie cannot be restored, since the block removed or reshaped a
    parameter; all others are.
    Source: D2L 6.2 / zh 5.2
    """
    ties = [_Tie(group) for group in tied_entries(slots(net))]
    try:
        yield
    except BaseException:
        _restore(net, ties)
        raise
    lost = _restore(net, ties)
    if lost:
        raise RuntimeError(
            f"what was tied must keep its name and shape, got changes to {'; '.join(lost)}; "
            f"do untie(net, name) before such a change"
        )


class _View(NamedTuple):
    """Where in the memory of another parameter one lies, in elements."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


class _Tie:
    """Which names held one object, and how the objects of a group lay in the same memory."""

    def __init__(self, group: Sequence[Entry]) -> None:
        self._objects: dict[int, list[str]] = {}
        tensors: dict[str, Tensor] = {}
        for entry in group:
            names = self._objects.setdefault(id(entry.tensor), [])
            names.append(entry.name)
            tensors[names[0]] = entry.tensor
        self._views = _views(tensors) if len(tensors) > 1 else {}

    def __str__(self) -> str:
        return " and ".join(name for names in self._objects.values() for name in names)

    def restore(self, held: dict[str, Entry]) -> bool:
        """Tie again what was, in the net whose entries are `held`; return whether all of it is."""
        whole = [self._rehang(names, key, held) for key, names in self._objects.items()]
        return all(whole) and (len(self._objects) == 1 or self._realias(held))

    def _rehang(self, names: list[str], before: int, held: dict[str, Entry]) -> bool:
        present = [held[name] for name in names if name in held]
        renewed = [entry for entry in present if id(entry.tensor) != before]
        if not renewed:
            return len(present) == len(names)
        keep = renewed[0].tensor
        alike = [entry for entry in present if _shape(entry.tensor) == _shape(keep)]
        for entry in alike:
            if entry.tensor is not keep:
                hang(entry, keep)
                held[entry.name] = entry._replace(tensor=keep)
        return len(alike) == len(names)

    def _realias(self, held: dict[str, Entry]) -> bool:
        tensors = [held[names[0]].tensor for names in self._objects.values()]
        if overlapping(tensors) == [list(range(len(tensors)))]:
            return True
        if not self._views:
            return False
        (base_name, base_view), *others = self._views.items()
        base = held[base_name].tensor
        if (tuple(base.shape), base.stride()) != base_view[:2]:
            return False
        for name, view in others:
            member = held[name].tensor
            offset = int(base.storage_offset()) + view.offset
            member.data = base.detach().as_strided(view.size, view.stride, offset)
        return True


def _restore(net: nn.Module, ties: Sequence[_Tie]) -> list[str]:
    """Restore the ties as far as `net` still has their parameters; return those it cannot."""
    held = {entry.name: entry for entry in entries(net)}
    return [str(tie) for tie in ties if not tie.restore(held)]


def _views(tensors: dict[str, Tensor]) -> dict[str, _View]:
    """Return how each lies in the widest, which comes first; empty if it does not hold them all."""
    places = {name: place for name, tensor in tensors.items() if (place := extent(tensor))}
    base = max(places, key=lambda name: places[name][2] - places[name][1])
    _, first, last, _ = places[base]
    views: dict[str, _View] = {}
    for name in sorted(places, key=lambda name: name != base):
        tensor = tensors[name]
        _, start, stop, _ = places[name]
        if start < first or stop > last or tensor.dtype != tensors[base].dtype:
            return {}
        offset = (start - first) // tensor.element_size()
        views[name] = _View(tuple(tensor.shape), tensor.stride(), offset)
    return views


def _shape(tensor: Tensor) -> tuple[int, ...] | None:
    return None if is_lazy(tensor) else tuple(tensor.shape)
