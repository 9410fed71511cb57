"""Tied parameters: one parameter under several names, of lazy layers too."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from ..arguments import as_module, one_of
from .names import (
    Entry,
    Shape,
    dtype_name,
    entries,
    hang,
    known_shape,
    shape_text,
    slots,
    tied_entries,
    walk,
)


def await_shape(module: nn.Module, also: str) -> None:
    """Let a lazy layer learn its shape although some of its parameters have theirs already.

    Torch's lazy layers expect that either all of their parameters have a shape or none, and they
    would initialize a shared one anew. `also` is the name of the parameter that is being tied.
    """
    if isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook"):
        held = {**module._parameters, **module._buffers}
        leaves = {leaf for leaf, tensor in held.items() if tensor is not None and is_lazy(tensor)}
        key = module._initialize_hook.id
        hook = module._forward_pre_hooks[key]
        if isinstance(hook, partial) and hook.func is _infer:
            leaves |= hook.args[0]
        module._forward_pre_hooks[key] = partial(_infer, frozenset({*leaves, also}))


def _infer(leaves: frozenset[str], module: Any, args: Any, kwargs: Any) -> None:
    """Do what torch's hook does, with stand-ins for the parameters that have a shape already."""
    _check_shapes(leaves, module, args, kwargs)
    ready = {leaf: tensor for leaf, tensor in _held(module, leaves).items() if not is_lazy(tensor)}
    _put(module, {leaf: _stand_in(tensor) for leaf, tensor in ready.items()})
    try:
        module._infer_parameters(module, args, kwargs)
    finally:
        _put(module, ready)


def _check_shapes(leaves: frozenset[str], module: Any, args: Any, kwargs: Any) -> None:
    """Try the inference on stand-ins alone, so that nothing has changed if it does not fit."""
    held = _held(module, leaves)
    attributes = dict(vars(module))
    _put(module, {leaf: _stand_in(tensor) for leaf, tensor in held.items()})
    try:
        module.initialize_parameters(*args, **(kwargs or {}))
        learned = {leaf: tuple(tensor.shape) for leaf, tensor in _held(module, leaves).items()}
    finally:
        _put(module, held)
        vars(module).update(attributes)
    for leaf, shape in learned.items():
        if not is_lazy(held[leaf]) and held[leaf].shape != shape:
            raise RuntimeError(
                f"the input of this {type(module).__name__} must fit its tied `{leaf}` of shape "
                f"{tuple(held[leaf].shape)}, got one that makes it {shape}; "
                f"do tie only layers that take and give the same sizes"
            )


def _held(module: nn.Module, leaves: frozenset[str]) -> dict[str, Tensor]:
    held = {**module._parameters, **module._buffers}
    return {leaf: tensor for leaf in leaves if (tensor := held.get(leaf)) is not None}


def _put(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    for leaf, tensor in tensors.items():
        home: dict[str, Any] = module._buffers if leaf in module._buffers else module._parameters
        home[leaf] = tensor


def _stand_in(tensor: Tensor) -> Tensor:
    """Return a lazy tensor that costs no memory and draws no random numbers."""
    kind: Any = UninitializedParameter if isinstance(tensor, nn.Parameter) else UninitializedBuffer
    lazy: Tensor = kind(tensor.requires_grad, device="meta", dtype=tensor.dtype)
    return lazy


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
    as_module("net", net)
    if not targets:
        raise ValueError("`targets` must name what to tie to `source`, got none; do add a name")
    replaced = _replacements(net, source, targets)
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
    _check_known(net, "name", name)
    _own_modules(net, name)
    for group in tied_entries(slots(net)):
        inside = [entry for entry in group if _is_inside(entry.name, name)]
        if len(inside) < len(group):
            own = {id(entry.tensor): deepcopy(entry.tensor) for entry in inside}
            for entry in inside:
                hang(entry, own[id(entry.tensor)])


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


def _replacements(net: nn.Module, source: str, targets: Sequence[str]) -> dict[int, Tensor]:
    """Map the id of each parameter that has to go to the one that comes, or raise."""
    found = {entry.name: entry for entry in entries(net)}
    sources = _members(net, found, "source", source)
    replaced: dict[int, Tensor] = {}
    for target in targets:
        members = _members(net, found, "targets", target)
        _check_names((source, sources), (target, members))
        for leaf, entry in members.items():
            comes = sources[leaf].tensor
            if entry.tensor is not comes:
                _check_alike(sources[leaf], entry)
                if replaced.setdefault(id(entry.tensor), comes) is not comes:
                    raise _entangled(entry.name)
    for entry in sources.values():
        if id(entry.tensor) in replaced:
            raise _entangled(entry.name)
    return replaced


def _members(net: nn.Module, found: dict[str, Entry], role: str, name: str) -> dict[str, Entry]:
    """Return the parameter of that name under "", or those of the module by their names in it."""
    _check_known(net, role, name)
    if name in found and not found[name].is_buffer:
        return {"": found[name]}
    prefix = f"{name}."
    inside = {
        other.removeprefix(prefix): entry
        for other, entry in found.items()
        if other.startswith(prefix) and not entry.is_buffer
    }
    if not inside:
        kind = "a buffer" if name in found else "a module without parameters"
        raise ValueError(
            f"`{role}` must name a parameter or a module that has some, got {name!r}, {kind}; "
            f"do describe(net) to see all names"
        )
    return inside


def _check_known(net: nn.Module, role: str, name: str) -> None:
    """Raise if the net has no parameter, buffer or module of that name, and tell similar names."""
    tensors = [slot[0] for slot in slots(net)]
    names = [place for place, _ in walk(net, every_name=True) if place] + tensors
    parent, dot, leaf = str(name).rpartition(".")  # a parametrized layer keeps `leaf` further down
    below = [n for n in tensors if n.startswith(parent + dot) and leaf in n.split(".")[:-1]]
    what = "the name of a parameter or a module of the net"
    one_of(role, name, names, what=what, see="describe(net)", near=below)


def _check_names(
    source: tuple[str, dict[str, Entry]], target: tuple[str, dict[str, Entry]]
) -> None:
    (source_name, sources), (target_name, members) = source, target
    if sources.keys() == members.keys():
        return
    if "" in sources or "" in members:
        kinds = ["a parameter" if "" in held else "a module" for held in (sources, members)]
        raise ValueError(
            f"`targets` must be {kinds[0]} as {source_name!r} is, got {target_name!r}, {kinds[1]}; "
            f"do name two modules or two parameters"
        )
    both = [leaf for leaf in sources if leaf in members]
    way_out = f"do tie {', '.join(both)} one by one" if both else "they have no name in common"
    raise ValueError(
        f"`targets` must have the parameters of {source_name!r}, {', '.join(sources)}, "
        f"got {target_name!r} with {', '.join(members)}; {way_out}"
    )


def _check_alike(source: Entry, target: Entry) -> None:
    if is_lazy(source.tensor) and not is_lazy(target.tensor):
        raise ValueError(
            f"`source` must have a shape if a target has one, got the lazy {source.name!r} for "
            f"{target.name!r}; do tie them the other way round, the sized one first"
        )
    shapes = known_shape(source.module, source.leaf), known_shape(target.module, target.leaf)
    kinds = [f"{dtype_name(e.tensor.dtype)} on {e.tensor.device}" for e in (source, target)]
    if not _agree(*shapes) or kinds[0] != kinds[1]:
        raise ValueError(
            f"`targets` must be like {source.name!r}, {shape_text(shapes[0])} {kinds[0]}, "
            f"got {target.name!r}, {shape_text(shapes[1])} {kinds[1]}; "
            f"do tie parameters of one shape, type and device"
        )


def _agree(left: Shape | None, right: Shape | None) -> bool:
    if left is None or right is None:
        return True
    pairs = zip(left, right, strict=False)
    return len(left) == len(right) and all(a == b or None in (a, b) for a, b in pairs)


def _entangled(name: str) -> ValueError:
    return ValueError(
        f"`source` and `targets` must not hold one parameter at two places that would part, "
        f"got {name!r}, which is tied within them; do untie(net, {name!r}) first"
    )
