"""Exercises of section 5, custom layers."""

from __future__ import annotations

import random
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from ..seeing.diagnose.registration import plain_tensors, unregistered
from ..words.language import _, mark
from .exercise import Exercise, NotYetError, expect
from .expectations import batch_kept, computed, has_shape, module, shown, tensor, trainable, watched


def _same_gradients(found: Tensor, wanted: Tensor, inputs: list[Tensor]) -> None:
    """Expect two outputs to have the same gradients with respect to `inputs`."""
    watched(found)
    weights = torch.rand_like(wanted.abs())
    pairs = [
        torch.autograd.grad((Y.abs() * weights).sum(), inputs, allow_unused=True)
        for Y in (found, wanted)
    ]
    same = all(
        one is not None and other is not None and torch.allclose(one, other, rtol=1e-3, atol=1e-4)
        for one, other in zip(*pairs, strict=True)
    )
    fact = _("The values are right, and the gradient is not: autograd misses a part of them.")
    expect(same, "other gradient", fact)


def _rows_centers_each_row(answer: Any, draw: random.Random) -> None:
    layer = module(answer())
    X = torch.randn(*draw.sample(range(2, 7), 2)) + draw.uniform(-3, 3)
    Y = computed(layer, X)
    has_shape(Y, X.shape, X)
    fact = _("The mean of each column was subtracted.")
    expect(not torch.allclose(Y, X - X.mean(dim=0), atol=1e-5), "column means", fact)
    fact = _("One mean of the whole batch was subtracted.")
    expect(not torch.allclose(Y, X - X.mean(), atol=1e-5), "one mean", fact)
    largest = Y.mean(dim=1).abs().max().item()
    fact = _("The mean of a row is still {mean:.3g}.", mean=largest)
    expect(largest < 1e-4, "not centered", fact)
    fact = _("The rows have the mean 0, and are not the old ones minus their mean.")
    expect(torch.allclose(Y, X - X.mean(dim=1, keepdim=True), atol=1e-5), "not only shifted", fact)


def _rows_lets_gradients_through(answer: Any, draw: random.Random) -> None:
    X = torch.randn(3, 4, requires_grad=True)
    _same_gradients(answer()(X), X - X.mean(dim=1, keepdim=True), [X])


def _form(answer: Any, draw: random.Random) -> tuple[nn.Module, Tensor, Tensor]:
    inputs, units = draw.randint(2, 4), draw.randint(5, 7)
    layer = module(answer(inputs, units))
    parameters = list(layer.parameters())
    fact = _(
        "For in_units={inputs}, units={units} the layer has parameters of shape {shapes}.",
        inputs=inputs,
        units=units,
        shapes=", ".join(str(tuple(p.shape)) for p in parameters) or "-",
    )
    right = [tuple(p.shape) for p in parameters] == [(inputs, inputs, units)]
    expect(right, "other parameters", fact)
    return layer, parameters[0], torch.randn(draw.randint(2, 4), inputs)


def _reduction_computes_the_form(answer: Any, draw: random.Random) -> None:
    layer, W, X = _form(answer, draw)
    Y = computed(layer, X)
    has_shape(Y, (len(X), W.shape[2]), X)
    fact = _("The output is not the sum over i and j of `W[i, j, k] * x[i] * x[j]`.")
    wanted = torch.einsum("ni,nj,ijk->nk", X, X, W)
    expect(torch.allclose(Y, wanted, rtol=1e-3, atol=1e-4), "other numbers", fact)


def _reduction_learns(answer: Any, draw: random.Random) -> None:
    layer, W, X = _form(answer, draw)
    X.requires_grad_()
    _same_gradients(layer(X), torch.einsum("ni,nj,ijk->nk", X, X, W), [W, X])


def _fourier_gives_the_leading_half(answer: Any, draw: random.Random) -> None:
    layer = module(answer())
    width = 2 * draw.randint(3, 6)
    X = torch.randn(draw.randint(2, 4), width)
    Y, wanted = computed(layer, X), torch.fft.fft(X)[:, : width // 2]
    fact = _("The output holds numbers of type {dtype}.", dtype=str(Y.dtype).removeprefix("torch."))
    expect(Y.is_complex(), "not complex", fact)
    fact = _("For d = {width} the output has {found} coefficients.", width=width, found=Y.shape[-1])
    expect(Y.shape[-1] != width // 2 + 1, "one too many", fact)
    has_shape(Y, wanted.shape, X)
    fact = _("These are not the first coefficients of each row.")
    expect(torch.allclose(Y, wanted, atol=1e-4), "other numbers", fact)


def _fourier_lets_gradients_through(answer: Any, draw: random.Random) -> None:
    X = torch.randn(3, 8, requires_grad=True)
    _same_gradients(answer()(X), torch.fft.fft(X)[:, :4], [X])


def _own_runs(layer: Any, draw: random.Random) -> None:
    if isinstance(layer, type):
        fact = _("A layer is wanted, your answer is the class {name}.", name=shown(layer))
        raise NotYetError("a class", fact)
    module(layer)
    fact = _("{kind} is a layer of torch.", kind=type(layer).__name__)
    own = [kind for kind in type(layer).__mro__ if not kind.__module__.startswith("torch.")]
    is_own = any({"__init__", "forward"} & vars(kind).keys() for kind in own if kind is not object)
    expect(is_own, "not your own", fact)
    X = torch.randn(draw.randint(2, 5), 6)
    with batch_kept(X):
        Y = tensor(layer(X))
    fact = _("For {count} examples the output has the shape {shape}.",
             count=len(X), shape=tuple(Y.shape))  # fmt: skip
    expect(Y.shape[:1] == X.shape[:1], "another shape", fact)


def _own_holds_all_it_has(layer: Any, draw: random.Random) -> None:
    hidden = next(chain(unregistered(layer), plain_tensors(layer, None)), None)
    where = ", ".join(hidden.where) if hidden is not None else ""
    fact = _("The module does not know what is in this attribute: {name}.", name=where)
    expect(hidden is None, "not registered", fact)
    expect(list(layer.parameters()), "no parameters", _("The layer has no parameters."))


def _own_learns(layer: Any, draw: random.Random) -> None:
    trainable(deepcopy(layer), torch.randn(16, 6))


def _own_survives_saving(layer: Any, draw: random.Random) -> None:
    saved, loaded = deepcopy(layer).eval(), deepcopy(layer).eval()
    with torch.no_grad():
        for held in chain(loaded.parameters(), loaded.buffers()):
            held.copy_(torch.randn_like(held.double()))
    loaded.load_state_dict(saved.state_dict())
    X = torch.randn(3, 6)
    saved(torch.randn(2, 6))  # what it notes of a batch is not in the file
    fact = _("After saving and loading the layer computes something else.")
    expect(torch.equal(saved(X), loaded(X)), "another layer", fact)


EXERCISES = (
    Exercise(
        "layers.rows",
        {
            mark("centers each row on its own"): _rows_centers_each_row,
            mark("lets gradients through"): _rows_lets_gradients_through,
        },
    ),
    Exercise(
        "layers.reduction",
        {
            mark("computes the sum over i and j"): _reduction_computes_the_form,
            mark("lets gradients through"): _reduction_learns,
        },
    ),
    Exercise(
        "layers.fourier",
        {
            mark("gives the leading half of each row's coefficients"): (
                _fourier_gives_the_leading_half
            ),
            mark("lets gradients through"): _fourier_lets_gradients_through,
        },
    ),
    Exercise(
        "layers.own",
        {
            mark("runs"): _own_runs,
            mark("knows all that it holds"): _own_holds_all_it_has,
            mark("learns in all its parameters"): _own_learns,
            mark("survives being saved and loaded"): _own_survives_saving,
        },
    ),
)
