"""Tied parameters: one parameter under several names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from torch import nn

from ..passes.collector import collector_paused
from .lazy_ties import await_shape
from .names import entries, slots, tied_entries, walk
from .pairing import check_known, replacements
from .retying import Tie, hang, restore


def tie(net: nn.Module, source: str, *targets: str) -> None:
    """Let parameters share: every target becomes the very parameter that the source is.

    >>> net = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(8), nn.ReLU())
    >>> d2c.tie(net, "0.weight", "2.weight")
    >>> _ = net(torch.rand(2, 8))
    >>> net[2].weight is net[0].weight
    True

    `net` is any module, with sized and lazy layers. `source` and `targets` are names in it, as
    `describe` shows them: of parameters, or of modules, which then share all of their parameters
    name by name (but not their buffers). What was tied to a target stays tied to it. Create the
    optimizer after tying: an earlier one steps the parameters that the targets had.

    Raises `ValueError`, and changes nothing, if a name is unknown or if names, shapes, types or
    devices do not agree.
    Source: D2L 6.2 / zh 5.2
    """
    if not targets:
        raise ValueError("`targets` must name what to tie to `source`, got none; do add a name")
    replaced = replacements(net, source, targets)
    for entry in entries(net):
        if id(entry.tensor) in replaced:
            hang(entry, replaced[id(entry.tensor)])
    shared = {id(tensor) for tensor in replaced.values()}
    for entry in entries(net):
        if id(entry.tensor) in shared:
            await_shape(entry.module, entry.leaf)


def untie(net: nn.Module, name: str) -> None:
    """Give a name a parameter of its own again, with the value that it has now and no gradient.

    >>> shared = nn.Linear(8, 8)
    >>> net = nn.Sequential(shared, nn.ReLU(), shared)
    >>> d2c.untie(net, "2")
    >>> net[0] is net[2], torch.equal(net[0].weight, net[2].weight)
    (False, True)

    `name` is that of a parameter, a buffer or a module in `net`; under a module, all that is tied
    to something outside of it is untied. A module that hangs at several places is copied for this
    one. What is not tied stays as it is. The accumulated gradient, a sum over all uses, stays with
    the other names. Raises `ValueError` if the name is unknown.
    Source: D2L 6.2 / zh 5.2
    """
    check_known(net, "name", name)
    _own_modules(net, name)
    for group in tied_entries(slots(net)):
        inside = [entry for entry in group if _is_inside(entry.name, name)]
        if len(inside) < len(group):
            own = {id(entry.tensor): deepcopy(entry.tensor) for entry in inside}
            for entry in inside:
                hang(entry, own[id(entry.tensor)])


@collector_paused()
def tied_groups(net: nn.Module) -> list[tuple[str, ...]]:
    """Return the names that stand for the same parameter or buffer, one tuple a group.

    >>> shared = nn.Linear(8, 8, bias=False)
    >>> d2c.tied_groups(nn.Sequential(shared, nn.ReLU(), shared))
    [('0.weight', '2.weight')]

    A group is one object under several names, or several that share memory, as one made from
    another's `.detach()` does: torch counts and steps those twice. Disjoint slices of one tensor
    share nothing.
    Source: D2L 6.2 / zh 5.2
    """
    return [tuple(entry.name for entry in group) for group in tied_entries(slots(net))]


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
    ties = [Tie(group) for group in tied_entries(slots(net))]
    try:
        yield
    except BaseException:
        restore(net, ties)
        raise
    lost = restore(net, ties)
    if lost:
        raise RuntimeError(
            f"what was tied must keep its name and shape, got changes to {'; '.join(lost)}; "
            f"do untie(net, name) before such a change"
        )


def _own_modules(net: nn.Module, name: str) -> None:
    """Copy the modules on the way to `name`, and inside, that hang elsewhere too."""
    places = dict(walk(net, every_name=True))
    names: dict[int, list[str]] = {}
    for place, module in places.items():
        names.setdefault(id(module), []).append(place)
    copies: dict[int, nn.Module] = {}
    for place, module in places.items():
        if place and (_is_inside(place, name) or _is_inside(name, place)):
            parent, _, leaf = place.rpartition(".")
            others = [p for p in names[id(module)] if p != place and not _is_inside(p, name)]
            if others:
                places[place] = copies.setdefault(id(module), _own_copy(module))
            places[parent]._modules[leaf] = places[place]


def _own_copy(module: nn.Module) -> nn.Module:
    """Copy a module alone: the copy holds the same parameters, buffers and children."""
    held = [*module._parameters.values(), *module._buffers.values(), *module._modules.values()]
    return deepcopy(module, {id(item): item for item in held})


def _is_inside(name: str, outer: str) -> bool:
    return name == outer or name.startswith(f"{outer}.")
