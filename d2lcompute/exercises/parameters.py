"""Exercises of section 2, parameters."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import is_lazy

from ..blocks import NestMLP
from .exercise import Exercise, expect


def _nested(draw: random.Random) -> nn.Module:
    """Linear layers, some without bias, and other layers with one, at random depths."""
    net: nn.Module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    for _ in range(draw.randint(1, 3)):
        parts = [net, nn.Linear(4, 4, bias=draw.random() < 0.6), nn.ReLU(), nn.Conv1d(1, 1, 1)]
        draw.shuffle(parts)
        net = nn.Sequential(*parts)
    return net


def _biases_finds_them_in_nest_mlp(biases: Any, draw: random.Random) -> None:
    found = list(biases(NestMLP(in_units=20)))
    wanted = ["net.0.bias", "net.2.bias", "linear.bias"]
    expect(
        sorted(found) == sorted(wanted),
        f"NestMLP has the biases {', '.join(wanted)}; you found {', '.join(map(str, found))}.",
        "net.named_parameters() gives every parameter with its whole path.",
    )


def _biases_finds_linear_layers_only(biases: Any, draw: random.Random) -> None:
    net = _nested(draw)
    linear = {n for n, m in net.named_modules() if isinstance(m, nn.Linear)}
    wanted = {f"{name}.bias" for name in linear if net.get_submodule(name).bias is not None}
    found = set(biases(net))
    extra, missing = sorted(found - wanted), sorted(wanted - found)
    expect(
        not extra,
        f"{', '.join(map(str, extra))} belongs to no linear layer, or does not exist.",
        "Go through net.named_modules(), keep what isinstance(module, nn.Linear), and leave out "
        "a layer whose bias is None.",
    )
    expect(not missing, f"Missing: {', '.join(missing)}. How deep do you look?")


def _tied_net() -> tuple[nn.Module, Tensor, Tensor]:
    shared = nn.Linear(8, 8)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), shared, nn.Tanh(), shared, nn.Linear(8, 1))
    X = torch.rand(32, 4)
    return net, X, X.sum(dim=1, keepdim=True)


def _watch_records_each_step(watch: Any, draw: random.Random) -> None:
    net, X, y = _tied_net()
    steps = draw.randint(1, 4)
    records = watch(net, X, y, steps)
    expect(
        isinstance(records, list) and len(records) == steps,
        f"For steps={steps} return a list of {steps} records.",
        "Start with records = [], and append one dictionary in each step.",
    )
    names = [name for name, _ in net.named_parameters()]
    expect(
        all(isinstance(record, dict) and set(record) == set(names) for record in records),
        f"Each record needs the name of every parameter, a shared one once: {', '.join(names)}.",
        "{name: p.grad.norm().item() for name, p in net.named_parameters()}",
    )
    expect(
        all(isinstance(value, float) and value > 0 for value in records[0].values()),
        "Record each gradient's norm as a number, after backward and before it is cleared.",
        "p.grad.norm().item(), between loss.backward() and optimizer.zero_grad().",
    )


def _watch_measures_gradients(watch: Any, draw: random.Random) -> None:
    net, X, y = _tied_net()
    oracle = deepcopy(net)
    torch.autograd.backward(F.mse_loss(oracle(X), y))
    (record,) = watch(net, X, y, 1)
    for name, parameter in oracle.named_parameters():
        assert parameter.grad is not None
        ratio = record[name] / parameter.grad.norm().item()
        expect(
            abs(ratio - 1) < 1e-3,
            f"With the mean squared error the gradient norm of {name} should be "
            f"{parameter.grad.norm().item():.4f}, got {record[name]:.4f}.",
            "loss = F.mse_loss(net(X), y), and zero the gradients before backward.",
        )


def _watch_trains(watch: Any, draw: random.Random) -> None:
    net, X, y = _tied_net()
    before = F.mse_loss(net(X), y).item()
    watch(net, X, y, 100)
    after = F.mse_loss(net(X), y).item()
    expect(
        after < 0.8 * before,
        f"After 100 steps the loss should have fallen, but it went from {before:.3f} to "
        f"{after:.3f}.",
        "torch.optim.SGD(net.parameters(), lr=0.1), and optimizer.step() in each step.",
    )


def _nets_share_and_separate(make_nets: Any, draw: random.Random) -> None:
    places = draw.randint(3, 6)
    sharing, separate = make_nets(places)
    sizes = [sum(p.numel() for p in net.parameters()) for net in (sharing, separate)]
    expect(
        sizes[1] == places * sizes[0] > 0,
        f"For {places} places the separate net should have {places} times the parameters of the "
        f"sharing one, got {sizes[1]} and {sizes[0]}.",
        "One small net for a single number, used for every column; against one such net a column.",
    )
    X = torch.rand(5, places)
    expect(
        sharing(X).shape == X.shape == separate(X).shape,
        f"Both nets must map {tuple(X.shape)} to {tuple(X.shape)}.",
        "Give each column X[:, i : i + 1] to a net 1-8-1 and torch.cat the results.",
    )
    values = torch.rand(4, 1).expand(4, places)
    outputs = sharing(values)
    expect(
        torch.allclose(outputs, outputs[:, :1].expand(4, places), atol=1e-5),
        "The sharing net must treat all places alike: equal inputs give equal outputs.",
    )


def _sharing_generalizes(make_nets: Any, draw: random.Random) -> None:
    if draw.random() > 0.3:  # training is slow: a few of the cases are enough
        return
    X, unseen = torch.rand(6, 8) * 4 - 2, torch.rand(200, 8) * 4 - 2
    errors = []
    for net in make_nets(8):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
        for _ in range(300):
            optimizer.zero_grad()
            torch.autograd.backward(F.mse_loss(net(X), torch.sin(X)))
            optimizer.step()
        with torch.no_grad():
            errors.append(F.mse_loss(net(unseen), torch.sin(unseen)).item())
    expect(
        errors[0] < errors[1],
        "After training on six examples the sharing net should be better on new ones: errors "
        f"{errors[0]:.3f} (sharing) and {errors[1]:.3f} (separate).",
        "Give the small net a hidden layer: nn.Sequential(nn.Linear(1, 16), nn.Tanh(), "
        "nn.Linear(16, 1)).",
    )


def _known_tells_shapes(known: Any, draw: random.Random) -> None:
    units = draw.randint(2, 9)
    net = nn.Sequential(nn.LazyLinear(units), nn.ReLU(), nn.Linear(units, 3))
    net.append(nn.LazyLinear(draw.randint(2, 9), bias=False))
    before = dict(known(net))
    expect(
        any(is_lazy(p) for p in net.parameters()),
        "The net has lost its laziness: your function ran it.",
        "Look at what each layer knows of itself, without calling the net.",
    )
    net(torch.rand(2, 4))
    for name, parameter in net.named_parameters():
        lazy = name in ("0.weight", "3.weight")
        wanted = (parameter.shape[0], None) if lazy else tuple(parameter.shape)
        expect(
            name in before and tuple(before[name]) == wanted,
            f"{name} should be {wanted}, got {before.get(name)}.",
            "A LazyLinear knows its out_features, and so its bias; the weight's second size is "
            "the input's, which nobody has seen yet.",
        )


EXERCISES = (
    Exercise(
        "parameters.nested",
        "a function: `biases(net)` lists the paths of the biases of all linear layers",
        {
            "finds the biases of NestMLP": _biases_finds_them_in_nest_mlp,
            "finds those of linear layers only, at any depth": _biases_finds_linear_layers_only,
        },
    ),
    Exercise(
        "parameters.tied-training",
        "a function: `watch(net, X, y, steps)` trains the net with the mean squared error and "
        "gives for each step a dict from every parameter's name to the norm of its gradient",
        {
            "records every parameter at each step": _watch_records_each_step,
            "measures the gradients": _watch_measures_gradients,
            "trains the net": _watch_trains,
        },
    ),
    Exercise(
        "parameters.why-tie",
        "a function: `make_nets(places)` gives (sharing, separate), two nets that map X (n, "
        "places) to (n, places) column by column, with one small net for all or one for each",
        {
            "gives one net that shares and one that does not": _nets_share_and_separate,
            "learns more from few examples by sharing": _sharing_generalizes,
        },
    ),
    Exercise(
        "parameters.before-forward",
        "a function: `known(net)` maps each parameter's name to its shape, with None for a size "
        "that is not known before the first forward pass",
        {"tells the known sizes without running the net": _known_tells_shapes},
    ),
)
