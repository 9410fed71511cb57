"""What the values of a net tell: not finite, never initialized, all the same; ties that are cut."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ...parameters.names import Entry, entries, slots, tied_entries, walk
from ...passes.deferred import deferral_of
from ...words.language import _, mark
from .findings import Finding

_FEWEST = 64  # fewer values may agree without having been one parameter
_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.Bilinear, nn.RNNBase, nn.RNNCellBase)


def unsized(net: nn.Module, ran: bool) -> Iterator[Finding]:
    """Find parameters without a shape, and initializers that wait for it."""
    waiting = [
        name for name, module in walk(net, every_name=True) for name in _orders(name, module)
    ]
    lazy = [e.name for e in distinct(entries(net)) if is_lazy(e.tensor) and not e.is_buffer]
    still = tuple(name for name in lazy if name in waiting)
    rest = tuple(name for name in lazy if name not in waiting)
    mend = (
        _("Call these layers in `forward`, or remove them.")
        if ran
        else _("Make one forward pass, or `d2lcompute.materialize(net, X)`, before anything else.")
    )
    if rest:
        yield Finding(
            mark("lazy parameters"),
            rest,
            _("still without a shape after the pass on these inputs, which did not reach them")
            if ran
            else _("still without a shape"),
            _("They hold no values yet: they cannot be counted, saved or initialized, and what is "
              "written into their `data` is lost without an error."),
            mend,
        )  # fmt: skip
    if still:
        yield Finding(
            mark("initializer waiting"),
            still,
            _("an initializer waits for the shape after the pass on these inputs, which did not "
              "reach them, and has not run") if ran
            else _("an initializer waits for the shape, and has not run"),
            _("Until then there are no values, and nothing that reads or writes them works."),
            mend,
        )  # fmt: skip


def not_finite(net: nn.Module) -> Iterator[Finding]:
    """Find NaN in anything, and infinity in parameters: buffers hold masks of it on purpose."""
    bad = tuple(
        entry.name
        for entry in distinct(entries(net))
        if has_values(entry.tensor)
        and entry.tensor.is_floating_point()
        and bool((entry.tensor.isnan() if entry.is_buffer else ~entry.tensor.isfinite()).any())
    )
    if bad:
        yield Finding(
            mark("values not finite"),
            bad,
            _("NaN or infinity among the values"),
            _("Everything computed from them is NaN or infinite, and so are the gradients, so "
              "that the next step of the optimizer spreads it over the net."),
            _("Initialize anew, or load the last good file; then look for the cause: a learning "
              "rate too high, a logarithm or a division by zero, half precision."),
        )  # fmt: skip


def symmetric_units(net: nn.Module) -> Iterator[Finding]:
    """Find layers all of whose units start alike, and zeros that let nothing through."""
    found = [e for e in distinct(entries(net)) if is_constant_matrix(e)]
    layers = [entry for entry in found if isinstance(entry.module, _LAYERS)]
    zeros = {entry.name for entry in found if not entry.tensor.any()}
    alike = tuple(e.name for e in layers if e.name not in zeros and _units(e) > 1)
    if alike:
        yield alike_finding(alike)
    matrices = [e for e in distinct(entries(net)) if _is_trained_matrix(e)]
    all_zero = len(matrices) > 1 and len(zeros) == len(matrices)
    barred = _before_others(net)
    closed = tuple(
        e.name for e in layers if e.name in zeros and (all_zero or id(e.module) in barred)
    )
    if closed:
        yield Finding(
            mark("weights all zero"),
            closed,
            _("all values are zero, and another layer comes behind"),
            _("Nothing of the input gets through, so the layers behind learn from biases alone, "
              "and the units of one layer stay alike."),
            _("Initialize them, with `d2lcompute.initialize(net, ...)` or `reset_parameters()`."),
        )  # fmt: skip


def alike_finding(names: tuple[str, ...]) -> Finding:
    """Return the finding for weights whose units start alike and are taught alike."""
    return Finding(
        mark("units all alike"),
        names,
        _("all values are the same"),
        _("All units of the layer compute the same and, as far as what comes behind treats them "
          "alike, get the same gradient: the layer is no better than one of a single unit."),
        _("Draw the weights at random, as with `d2lcompute.initialize(net, Xavier())`; biases and "
          "scales of norms may start constant."),
    )  # fmt: skip


def is_constant_matrix(entry: Entry) -> bool:
    """Whether it is a trained weight of several rows and columns, all of one value."""
    return _is_trained_matrix(entry) and is_constant(entry.tensor)


def is_constant(tensor: Tensor) -> bool:
    """Whether all values, of which there are some, are the same."""
    flat = tensor.detach().reshape(-1)
    return len(flat) > 0 and bool((flat[:1] == flat).all())


def has_values(tensor: Tensor) -> bool:
    """Whether there are values to look at."""
    return not is_lazy(tensor) and not tensor.is_meta and tensor.layout is torch.strided


def distinct(found: list[Entry]) -> list[Entry]:
    """Return each tensor under the first of its names."""
    first: dict[int, Entry] = {}
    for entry in found:
        first.setdefault(id(entry.tensor), entry)
    return list(first.values())


def _is_trained_matrix(entry: Entry) -> bool:
    tensor = entry.tensor
    return (
        not entry.is_buffer
        and has_values(tensor)
        and tensor.requires_grad
        and sum(size > 1 for size in tensor.shape) > 1
        and not isinstance(entry.module, nn.LayerNorm | nn.RMSNorm | nn.Embedding | nn.EmbeddingBag)
    )


def _units(entry: Entry) -> int:
    """Return how many units see the same input: with groups each sees one of its own."""
    return int(entry.tensor.shape[0]) // int(getattr(entry.module, "groups", 1))


def _before_others(net: nn.Module) -> set[int]:
    """Return the ids of layers that stand in an nn.Sequential before one with a weight."""
    found: set[int] = set()
    for _name, module in walk(net):
        if isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward:
            later = False
            for child in reversed(
                [child for child in module._modules.values() if child is not None]
            ):
                if later:
                    found.add(id(child))
                later = later or any(_is_trained_matrix(entry) for entry in entries(child))
    return found


def _orders(path: str, module: nn.Module) -> list[str]:
    deferral = deferral_of(module)
    leaves = deferral.orders if deferral else ()
    return [f"{path}.{leaf}" if path else leaf for leaf in leaves]


def half_broken(net: nn.Module) -> Iterator[Finding]:
    """Find trained parameters that are different objects on the same memory."""
    for group in tied_entries(slots(net)):
        members = [e for e in distinct(group) if not e.is_buffer and e.tensor.requires_grad]
        if len(members) > 1:
            first, *others = (entry.name for entry in members)
            same = len({entry.tensor.shape for entry in members}) == 1
            mend = (
                _("`d2lcompute.tie(net, {first!r}, {others})` makes them one.", first=first,
                  others=", ".join(map(repr, others)))
                if same
                else _("Keep one parameter and compute with it where the other is used now: "
                       "`F.linear(X, {weight}.t())`.", weight=_in_code(first))
            )  # fmt: skip
            yield Finding(
                mark("tie half broken"),
                (first, *others),
                _("different parameters on the same memory"),
                _("Each has a gradient of its own, so they do not add up; an optimizer counts and "
                  "updates the values once for each, and the next move to a device parts them."),
                mend,
            )  # fmt: skip


def _in_code(name: str) -> str:
    """Return a parameter as the code of the net's class names it."""
    if all(part.isidentifier() for part in name.split(".")):
        return f"self.{name}"
    return f"self.get_parameter({name!r})"


def cut(net: nn.Module) -> Iterator[Finding]:
    """Find weights of unlike layers that are equal bit for bit, and not one.

    Layers of the same kind are equal where they were copied, as those of an nn.TransformerEncoder
    are, or a teacher and its student. An embedding and an output layer do not come to that.
    """
    alike: dict[object, list[Entry]] = {}
    shared = {id(e.tensor) for group in tied_entries(slots(net)) for e in group}
    for entry in distinct(entries(net)):
        tensor = entry.tensor
        if _is_trained_table(entry) and id(tensor) not in shared:
            beginning = tuple(tensor.detach().reshape(-1)[:8].tolist())
            key = tensor.shape, tensor.dtype, tensor.device, beginning
            alike.setdefault(key, []).append(entry)
    for group in alike.values():
        same = [one for one in group if torch.equal(one.tensor, group[0].tensor)]
        kinds = list(dict.fromkeys(type(one.module).__name__ for one in same))
        if len(kinds) > 1 and _is_drawn(same[0].tensor):
            names = tuple(entry.name for entry in same)
            yield Finding(
                mark("tie cut"),
                names,
                _("equal bit for bit, in {kinds}, and not tied", kinds=_(" and ").join(kinds)),
                _("Two layers of different kinds do not come to the same values by themselves: a "
                  "tie was probably cut, by a copy, a move or a load, and from now on the two will "
                  "part."),
                _("`d2lcompute.tie(net, {names})`, and `with d2lcompute.keep_ties(net):` around "
                  "what cuts it.", names=", ".join(map(repr, names))),
            )  # fmt: skip


def _is_trained_table(entry: Entry) -> bool:
    tensor = entry.tensor
    trained = not entry.is_buffer and has_values(tensor) and tensor.requires_grad
    return trained and sum(size > 1 for size in tensor.shape) > 1 and tensor.numel() >= _FEWEST


def _is_drawn(tensor: Tensor) -> bool:
    """Whether the values follow no formula that two layers might share.

    What is drawn at random has neighbours that know nothing of each other; those of ramps, waves
    and decays do, and those of constants and identities are mostly the same.
    """
    values = tensor.detach().squeeze().double()
    if 2 * int((values.flatten().sort().values.diff() != 0).sum()) < values.numel():
        return False
    for axis in range(values.dim()):
        length = values.shape[axis] - 1
        neighbours = [values.narrow(axis, start, length).flatten() for start in (0, 1)]
        if length > 1 and bool(torch.stack(neighbours).corrcoef()[0, 1].abs() > 0.5):
            return False
    return True
