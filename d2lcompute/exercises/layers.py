"""Exercises of section 5, custom layers."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from .exercise import Exercise, expect


def _is_layer(layer: object) -> None:
    expect(
        isinstance(layer, nn.Module),
        f"A layer is an nn.Module, got {type(layer).__name__}.",
        "Write a class that inherits from nn.Module and has a `forward`, then call the class.",
    )


def _rows_centers_each_row(answer: Any, draw: random.Random) -> None:
    layer = answer()
    _is_layer(layer)
    X = torch.rand(draw.randint(2, 5), draw.randint(2, 6))
    Y = layer(X)
    expect(
        isinstance(Y, Tensor) and Y.shape == X.shape,
        f"The output must have the shape of the input, {tuple(X.shape)}.",
        "X.mean(dim=1, keepdim=True) keeps the axis that it averages over, with size 1.",
    )
    expect(
        not torch.allclose(Y, X - X.mean(dim=0)),
        "That is the mean of each column: it runs over the examples.",
        "The last axis holds one example's features: average over dim=1 or dim=-1.",
    )
    expect(
        torch.allclose(Y.mean(dim=1), torch.zeros(len(X)), atol=1e-6),
        "After the layer the mean of each row should be zero, not only that of the batch.",
        "X.mean() is one number for the whole batch; X.mean(dim=1, keepdim=True) one per row.",
    )
    expect(
        torch.allclose(Y, X - X.mean(dim=1, keepdim=True), atol=1e-6),
        "The means are zero, but the rows have changed otherwise too: only subtract.",
    )


def _reduction_computes_the_form(answer: Any, draw: random.Random) -> None:
    inputs, units = draw.randint(2, 4), draw.randint(5, 7)
    layer = answer(inputs, units)
    _is_layer(layer)
    shapes = [tuple(p.shape) for p in layer.parameters()]
    expect(
        shapes == [(inputs, inputs, units)],
        f"The layer needs one parameter W of shape {(inputs, inputs, units)}, got {shapes}.",
        "self.W = nn.Parameter(torch.randn(in_units, in_units, units))",
    )
    X = torch.randn(draw.randint(1, 3), inputs)
    Y = layer(X)
    expect(
        isinstance(Y, Tensor) and Y.shape == (len(X), units),
        f"For X of shape {tuple(X.shape)} the output must have shape {(len(X), units)}.",
        "Let einsum name the axes: n for the example, i and j are summed, k stays.",
    )
    (W,) = layer.parameters()
    expect(
        torch.allclose(Y, torch.einsum("ni,nj,ijk->nk", X, X, W), rtol=1e-4, atol=1e-4),
        "The numbers differ from the sum over i and j of W[i, j, k] x[i] x[j].",
        'torch.einsum("ni,nj,ijk->nk", X, X, self.W) says it in one line.',
    )


def _reduction_learns(answer: Any, draw: random.Random) -> None:
    layer = answer(3, 2)
    Y = layer(torch.randn(4, 3))
    expect(
        Y.requires_grad,
        "Autograd did not watch the computation: no gradient will reach W.",
        "Use the parameter itself in `forward`: no .data, no .detach(), no torch.no_grad().",
    )
    Y.sum().backward()
    expect(
        all(p.grad is not None for p in layer.parameters()),
        "No gradient reached W: use the parameter itself in `forward`.",
    )


def _fourier_gives_the_leading_half(answer: Any, draw: random.Random) -> None:
    layer = answer()
    _is_layer(layer)
    width = 2 * draw.randint(2, 6)
    X = torch.randn(draw.randint(2, 4), width)
    Y, wanted = layer(X), torch.fft.fft(X)[..., : width // 2]
    expect(
        isinstance(Y, Tensor) and Y.is_complex(),
        "Fourier coefficients are complex numbers; do not take their size or real part.",
        "torch.fft.fft(X) gives them, along the last axis.",
    )
    expect(
        Y.shape[-1] != width // 2 + 1,
        "One coefficient too many: `rfft` gives n // 2 + 1 of them, half of n is wanted.",
    )
    expect(
        Y.shape == wanted.shape,
        f"For X of shape {tuple(X.shape)} the output must have shape {tuple(wanted.shape)}.",
        "Transform each row, and keep its first n // 2 coefficients: [..., : n // 2].",
    )
    expect(
        torch.allclose(Y, wanted, atol=1e-4),
        "These are not the leading coefficients of each row.",
        "torch.fft.fft(X), without fftn or fft2, transforms the last axis alone.",
    )


def _own_runs(layer: Any, draw: random.Random) -> None:
    _is_layer(layer)
    expect(
        not type(layer).__module__.startswith("torch."),
        f"{type(layer).__name__} is torch's own; write a class yourself.",
    )
    expect(
        list(layer.parameters()),
        "The layer has no parameters; give it one.",
        "self.weight = nn.Parameter(torch.randn(6, 3)) in `__init__`, after super().__init__().",
    )
    Y = layer(torch.rand(draw.randint(1, 5), 6))
    expect(isinstance(Y, Tensor), f"`forward` must give a tensor, got {type(Y).__name__}.")


def _own_learns(layer: Any, draw: random.Random) -> None:
    layer = deepcopy(layer)
    Y = layer(torch.rand(8, 6))
    expect(
        Y.requires_grad,
        "Autograd did not watch the computation, so the layer will never learn.",
        "Use the parameters themselves in `forward`: no .data, no .detach().",
    )
    Y.abs().sum().backward()
    unreached = [name for name, p in layer.named_parameters() if p.grad is None]
    expect(
        not unreached,
        f"No gradient reaches {', '.join(unreached)}: does `forward` use it?",
        "Use every parameter itself in `forward`, without .data, or leave it out.",
    )


def _own_survives_saving(layer: Any, draw: random.Random) -> None:
    saved, loaded = deepcopy(layer).eval(), deepcopy(layer).eval()
    held = [t for m in saved.modules() for t in vars(m).values() if isinstance(t, Tensor)]
    expect(
        not held,
        "A tensor lies in a plain attribute: it is neither saved nor moved with the layer.",
        "self.register_buffer(name, tensor) for a constant, nn.Parameter for what learns.",
    )
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.copy_(torch.randn_like(parameter))
    loaded.load_state_dict(saved.state_dict())
    X = torch.rand(3, 6)
    expect(
        torch.equal(saved(X), loaded(X)),
        "After saving and loading the layer computes something else.",
        "Does `forward` draw random numbers, or read a value that the state_dict lacks?",
    )


EXERCISES = (
    Exercise(
        "layers.rows",
        "a class: `Rows()(X)` subtracts from each row of X (n, d) its own mean",
        {"centers each row on its own": _rows_centers_each_row},
    ),
    Exercise(
        "layers.reduction",
        "a class: `Reduction(in_units, units)` has a parameter W (in_units, in_units, units) and "
        "maps X (n, in_units) to Y (n, units)",
        {
            "computes the sum over i and j": _reduction_computes_the_form,
            "lets gradients through": _reduction_learns,
        },
    ),
    Exercise(
        "layers.fourier",
        "a class: `Fourier()` maps real X (n, d), d even, to the first d / 2 Fourier coefficients "
        "of each row",
        {"gives the leading half of each row's coefficients": _fourier_gives_the_leading_half},
    ),
    Exercise(
        "layers.own",
        "a layer of your own, an instance, with parameters, for X (n, 6)",
        {
            "runs, and has parameters": _own_runs,
            "learns in all its parameters": _own_learns,
            "survives being saved and loaded": _own_survives_saving,
        },
    ),
)
