"""Exercises of section 2, parameters."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import NestMLP
from ..words.language import _, mark
from .exercise import Exercise, expect
from .expectations import (
    has_shape,
    mapping,
    module,
    names,
    net_kept,
    number,
    sequence,
    shown,
    tensor,
    trainable,
    watched,
)

_Steps = list[dict[str, Tensor]]  # the values of all parameters, at the beginning of each step


class _Wide(nn.Linear):
    """A linear layer by inheritance."""


def _nested(draw: random.Random) -> nn.Module:
    """Linear layers, some without bias, and other layers with one, at random depths."""
    net: nn.Module = nn.Sequential(_Wide(4, 4), nn.LayerNorm(4))
    for _depth in range(draw.randint(1, 3)):
        parts = [net, nn.Linear(4, 4, bias=draw.random() < 0.6), nn.ReLU(), nn.Conv1d(1, 1, 1)]
        draw.shuffle(parts)
        net = nn.Sequential(*parts, nn.Linear(4, 4, bias=False))
    return net


def _check_biases(biases: Any, net: nn.Module) -> None:
    with net_kept(net):
        found = names(biases(net))
    linear = {n: m for n, m in net.named_modules() if isinstance(m, nn.Linear)}
    wanted = {f"{name}.bias" for name, layer in linear.items() if layer.bias is not None}
    unknown = sorted(found - {name for name, _parameter in net.named_parameters()})
    fact = _("The net has no parameter of the name {names}.", names=", ".join(unknown[:3]))
    expect(not unknown, "no such name", fact)
    extra = sorted(found - wanted)
    fact = _("This is not the bias of a linear layer: {names}.", names=", ".join(extra[:3]))
    expect(not extra, "not linear", fact)
    missing = sorted(wanted - found)
    fact = _("This is missing in your list: {names}.", names=", ".join(missing[:3]))
    expect(not missing, "missing", fact)


def _biases_finds_them_in_nest_mlp(biases: Any, draw: random.Random) -> None:
    _check_biases(biases, NestMLP(in_units=20))


def _biases_finds_linear_layers_only(biases: Any, draw: random.Random) -> None:
    _check_biases(biases, _nested(draw))


def _tied_net() -> tuple[nn.Module, Tensor, Tensor]:
    shared = nn.Linear(8, 8)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Linear(8, 1))
    X = torch.rand(32, 4)
    return net, X, X.sum(dim=1, keepdim=True)


def _watched(watch: Any, steps: int) -> tuple[list[dict[str, float]], nn.Module, _Steps, Tensor]:
    """Return the records, the net, its parameters whenever it was run, and X."""
    net, X, y = _tied_net()
    ran: _Steps = []
    handle = net.register_forward_pre_hook(
        lambda *_rest: ran.append({n: p.detach().clone() for n, p in net.named_parameters()})
    )
    records = sequence(watch(net, X, y, steps), steps)
    handle.remove()
    fact = _("All records are one and the same: each step has overwritten the one before.")
    expect(len({id(record) for record in records}) == len(records), "one record", fact)
    wanted = {name for name, _parameter in net.named_parameters()}
    for record in records:
        missing = sorted(wanted - set(mapping(record)))
        fact = _("This is missing in a record: {names}.", names=", ".join(missing[:3]))
        expect(not missing, "not every name", fact)
    numbers = [{name: number(record[name]) for name in wanted} for record in records]
    return numbers, net, ran, X


def _norms(net: nn.Module, values: dict[str, Tensor], X: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the mean squared error at these values of the parameters."""
    twin = deepcopy(net)
    for name, parameter in twin.named_parameters():
        parameter.data, parameter.grad = values[name].clone(), None
    F.mse_loss(twin(X), X.sum(dim=1, keepdim=True)).backward()
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


def _watch_records_each_step(watch: Any, draw: random.Random) -> None:
    _watched(watch, draw.randint(2, 4))


def _watch_measures_gradients(watch: Any, draw: random.Random) -> None:
    records, net, ran, X = _watched(watch, 3)
    fact = _("The net that was handed in was never run.")
    expect(ran, "copy trained", fact)
    total: dict[str, Tensor] = {}
    for step, (record, values) in enumerate(zip(records, ran, strict=False), start=1):
        for name, gradient in _norms(net, values, X).items():
            total[name] = total.get(name, 0) + gradient
            found, wanted, sum_ = record[name], gradient.norm().item(), total[name].norm().item()
            fact = _(
                "In step {step} you recorded {found:.3g} for {name}, and its gradient has the "
                "norm {wanted:.3g}.",
                step=step,
                found=found,
                name=name,
                wanted=wanted,
            )
            added = step > 1 and math.isclose(found, sum_, rel_tol=1e-3)
            expect(not added or math.isclose(wanted, sum_, rel_tol=1e-3), "added up", fact)
            expect(math.isclose(found, wanted, rel_tol=1e-3), "other gradients", fact)


def _watch_trains(watch: Any, draw: random.Random) -> None:
    net, X, y = _tied_net()
    before, values = F.mse_loss(net(X), y).item(), deepcopy(net.state_dict())
    watch(net, X, y, 40)
    same = all(torch.equal(values[name], value) for name, value in net.state_dict().items())
    expect(not same, "no step", _("After 40 steps the parameters are what they were."))
    after = F.mse_loss(net(X), y).item()
    fact = _(
        "In 40 steps the loss went from {before:.3g} to {after:.3g}.", before=before, after=after
    )
    expect(after < 0.8 * before, "does not learn", fact)


def _nets_share_and_separate(make_nets: Any, draw: random.Random) -> None:
    places = draw.randint(3, 6)
    sharing, separate = map(module, sequence(make_nets(places), 2))
    X = torch.rand(5, places)
    for net in (sharing, separate):
        has_shape(tensor(net(X)), X.shape, X)
    few, many = (sum(p.numel() for p in net.parameters()) for net in (sharing, separate))
    fact = _(
        "For {places} places the first net has {few} numbers in its parameters, and the second "
        "{many}.",
        places=places,
        few=few,
        many=many,
    )
    expect(few <= many, "swapped", fact)
    expect(many == places * few > 0, "another size", fact)
    _treats_columns_apart(sharing, X)
    _treats_columns_apart(separate, X)
    values = torch.rand(4, 1).expand(4, places)
    Y = sharing(values)
    fact = _("The first net gives different outputs for equal inputs at two places.")
    expect(torch.allclose(Y, Y[:, :1].expand(4, places), atol=1e-5), "places differ", fact)
    Y = separate(values)
    fact = _("The second net gives equal outputs for equal inputs at all places.")
    expect(not torch.allclose(Y, Y[:, :1].expand(4, places)), "places alike", fact)


def _treats_columns_apart(net: nn.Module, X: Tensor) -> None:
    Z = X.clone()
    Z[:, 0] += 1
    Y, changed = net(X), net(Z)
    fact = _("An output changes when the input of another place does.")
    expect(torch.allclose(Y[:, 1:], changed[:, 1:], atol=1e-5), "columns mix", fact)


def _sharing_learns_for_all(make_nets: Any, draw: random.Random) -> None:
    X = (torch.rand(40, 1) * 4 - 2).expand(40, 4)
    sharing, separate = make_nets(4)
    trainable(separate, X)
    optimizer = torch.optim.Adam(sharing.parameters(), lr=0.05)
    elsewhere = []
    for _step in range(31):
        optimizer.zero_grad()
        errors = (sharing(X) - torch.sin(X)) ** 2
        watched(errors)
        elsewhere.append(errors[:, 1:].mean().item())
        errors[:, 0].mean().backward()
        optimizer.step()
    fact = _(
        "The first net was trained at one place only. The error at the others went from "
        "{before:.3g} to {after:.3g}.",
        before=elsewhere[0],
        after=elsewhere[-1],
    )
    expect(elsewhere[-1] < 0.9 * elsewhere[0], "not better", fact)


def _known_tells_shapes(known: Any, draw: random.Random) -> None:
    units, last = draw.randint(4, 9), draw.randint(4, 9)
    net = nn.Sequential(nn.LazyLinear(units), nn.ReLU(), nn.Linear(units, 3))
    net.append(nn.LazyLinear(last, bias=False))
    with net_kept(net):
        found = mapping(known(net))
    wanted: dict[str, tuple[set[int | None], ...]] = {
        "0.weight": ({units}, {None}),
        "0.bias": ({units},),
        "2.weight": ({3}, {units}),
        "2.bias": ({3},),
        "3.weight": ({last}, {None, 3}),  # who looks at the layer before knows that it is 3
    }
    for name, sizes in wanted.items():
        _check_shape(name, found, sizes)


def _check_shape(name: str, found: Mapping[str, Any], sizes: tuple[set[int | None], ...]) -> None:
    expect(name in found, "not every name", _("{name} is missing.", name=name))
    shape = found[name]
    fact = _("{name} has no shape in your answer, but {shape}.", name=name, shape=shown(shape))
    expect(isinstance(shape, tuple | list), "not a shape", fact)
    fact = _(
        "{name} has {dims} axes, and you found {shape}.", name=name, dims=len(sizes), shape=shape
    )
    expect(len(shape) == len(sizes), "not a shape", fact)
    for size, allowed in zip(shape, sizes, strict=True):
        fact = _("You say that {name} has the shape {shape}.", name=name, shape=tuple(shape))
        expect(size is not None or None in allowed, "too little", fact)
        expect(size is None or None not in allowed or size in allowed, "too much", fact)
        expect(size in allowed, "another size", fact)


def _tied(answer: Any, draw: random.Random) -> tuple[nn.Module, Tensor, Tensor, Tensor, Tensor]:
    """Return the net, its weight (hidden, inputs), its two biases, and a batch."""
    inputs, hidden = draw.sample(range(3, 9), 2)
    net = module(answer(inputs, hidden))
    weights = [p for p in net.parameters() if p.dim() == 2]
    shapes = ", ".join(str(tuple(p.shape)) for p in net.parameters())
    fact = _("For inputs={inputs}, hidden={hidden} the net has parameters of shape {shapes}.",
             inputs=inputs, hidden=hidden, shapes=shapes or "-")  # fmt: skip
    expect(len(weights) != 2, "two weights", fact)
    biases = {len(p): p for p in net.parameters() if p.dim() == 1}
    fits = len(weights) == 1 and sorted(weights[0].shape) == sorted((inputs, hidden))
    expect(fits and sorted(biases) == sorted((inputs, hidden)), "other parameters", fact)
    weight = weights[0] if weights[0].shape[0] == hidden else weights[0].t()
    return net, weight, biases[hidden], biases[inputs], torch.randn(draw.randint(12, 20), inputs)


def _formula(X: Tensor, W: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.relu(X @ W.t() + b) @ W + c


def _tied_uses_one_weight(answer: Any, draw: random.Random) -> None:
    net, W, b, c, X = _tied(answer, draw)
    Y = tensor(net(X))
    has_shape(Y, X.shape, X)
    fact = _("The output is not `relu(X @ W.t() + b) @ W + c` for the parameters of the net.")
    expect(torch.allclose(Y, _formula(X, W, b, c), atol=1e-5), "other numbers", fact)


def _tied_learns_through_both(answer: Any, draw: random.Random) -> None:
    net, W, b, c, X = _tied(answer, draw)
    trainable(net, X)
    W, b, c = (one.detach().requires_grad_() for one in (W, b, c))
    net.zero_grad()
    net(X).pow(2).sum().backward()
    _formula(X, W, b, c).pow(2).sum().backward()
    (weight,) = (p for p in net.parameters() if p.dim() == 2)
    assert weight.grad is not None
    assert W.grad is not None
    found = weight.grad if weight.shape == W.shape else weight.grad.t()
    fact = _("The gradient of the weight is not that of both of its uses.")
    expect(torch.allclose(found, W.grad, rtol=1e-3, atol=1e-4), "half a gradient", fact)


def _tied_stays_tied(answer: Any, draw: random.Random) -> None:
    net, W, b, c, X = _tied(answer, draw)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))
    fact = _("After a step of an optimizer the two uses of the weight are no longer the same.")
    expect(torch.allclose(net(X), _formula(X, W, b, c), rtol=1e-3, atol=1e-4), "left behind", fact)


EXERCISES = (
    Exercise(
        "parameters.nested",
        {
            mark("finds the biases of `NestMLP`"): _biases_finds_them_in_nest_mlp,
            mark("finds those of linear layers only, at any depth"): (
                _biases_finds_linear_layers_only
            ),
        },
    ),
    Exercise(
        "parameters.tied-training",
        {
            mark("records every parameter at each step"): _watch_records_each_step,
            mark("measures the gradients"): _watch_measures_gradients,
            mark("trains the net"): _watch_trains,
        },
        cases=2,
    ),
    Exercise(
        "parameters.why-tie",
        {
            mark("gives one net that shares and one that does not"): _nets_share_and_separate,
            mark("knows at all places what it learns at one"): _sharing_learns_for_all,
        },
        cases=2,
    ),
    Exercise(
        "parameters.before-forward",
        {mark("tells the known sizes without running the net"): _known_tells_shapes},
    ),
    Exercise(
        "parameters.transposed",
        {
            mark("computes with one weight, there and back"): _tied_uses_one_weight,
            mark("stays tied while it trains"): _tied_stays_tied,
            mark("learns through both uses"): _tied_learns_through_both,
        },
        cases=5,
    ),
)
