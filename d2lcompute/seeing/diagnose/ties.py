"""Ties that are broken, or half broken."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import nn

from ...parameters.names import Entry, entries, slots, tied_entries
from .findings import Finding
from .values import distinct, has_values

_FEWEST = 16  # fewer values may agree without having been one parameter


def half_broken(net: nn.Module) -> Iterator[Finding]:
    """Find trained parameters that are different objects on the same memory."""
    for group in tied_entries(slots(net)):
        members = [e for e in distinct(group) if not e.is_buffer and e.tensor.requires_grad]
        if len(members) > 1:
            first, *others = (entry.name for entry in members)
            yield Finding(
                "tie half broken",
                (first, *others),
                "different parameters on the same memory",
                "Each has a gradient of its own, so they do not add up; an optimizer counts and "
                "updates the values once for each, and the next move to a device parts them.",
                f"`d2lcompute.tie(net, {first!r}, {', '.join(map(repr, others))})` makes them one.",
            )


def cut(net: nn.Module) -> Iterator[Finding]:
    """Find parameters of unlike layers that are equal bit for bit, and not one.

    Layers of the same kind are equal where they were copied, as those of an nn.TransformerEncoder
    are, or a teacher and its student. An embedding and an output layer do not come to that.
    """
    alike: dict[object, list[Entry]] = {}
    for entry in distinct(entries(net)):
        tensor = entry.tensor
        trained = not entry.is_buffer and has_values(tensor) and tensor.requires_grad
        if trained and tensor.dim() > 1 and tensor.numel() >= _FEWEST:
            alike.setdefault((tensor.shape, tensor.dtype, tensor.device), []).append(entry)
    shared = {frozenset(e.name for e in group) for group in tied_entries(slots(net))}
    for group in alike.values():
        for left, right in _equal_pairs(group):
            if not any({left.name, right.name} <= names for names in shared):
                yield Finding(
                    "tie cut",
                    (left.name, right.name),
                    f"equal bit for bit, in {_kind(left)} and {_kind(right)}, and not tied",
                    "Two layers of different kinds do not come to the same values by themselves: "
                    "a tie was probably cut, by a copy, a move or a load, and from now on the two "
                    "will part.",
                    f"`d2lcompute.tie(net, {left.name!r}, {right.name!r})`, and "
                    f"`with d2lcompute.keep_ties(net):` around what cuts it.",
                )


def _equal_pairs(group: list[Entry]) -> Iterator[tuple[Entry, Entry]]:
    if len({(_kind(entry), entry.leaf) for entry in group}) < 2:
        return
    beginnings: dict[object, list[Entry]] = {}
    for entry in group:
        beginning = entry.tensor.detach().reshape(-1)[:8].tolist()
        beginnings.setdefault(tuple(beginning), []).append(entry)
    for found in beginnings.values():
        for left, right in combinations(found, 2):
            unlike = (_kind(left), left.leaf) != (_kind(right), right.leaf)
            if unlike and torch.equal(left.tensor, right.tensor) and _is_drawn(left):
                yield left, right


def _is_drawn(entry: Entry) -> bool:
    """Whether the values are so various that only a copy gives them again: no identity matrix."""
    ordered = entry.tensor.detach().reshape(-1).sort().values
    return 2 * int((ordered.diff() != 0).sum()) > len(ordered)


def _kind(entry: Entry) -> str:
    return type(entry.module).__name__
