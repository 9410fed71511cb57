"""Exercises of section 9: one for each symptom that sends a reader there."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from ..words.language import _, mark
from .devices import two_devices
from .exercise import Exercise, NotYetError, expect
from .expectations import (
    batch_kept,
    computed,
    has_shape,
    module,
    names,
    net_kept,
    tensor,
    watched,
)

Loss = Callable[[nn.Module], Tensor]


class _Partly(nn.Module):
    """A net in which some of the parameters do not learn, each for another reason."""

    def __init__(self) -> None:
        super().__init__()
        self.learns = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.cut = nn.Linear(4, 4)
        self.silenced = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)

    def forward(self, X: Tensor) -> Tensor:
        X = self.frozen(self.learns(X))
        Y: Tensor = X + self.cut(X).detach() + 0 * self.silenced(X)
        return Y


def _loss(net: nn.Module) -> Tensor:
    loss: Tensor = net(torch.linspace(-1, 1, 12).reshape(3, 4)).pow(2).mean()
    return loss


def _stuck_finds_what_does_not_learn(stuck: Any, draw: random.Random) -> None:
    net = _Partly()
    found = names(stuck(net, _loss))
    for part, cause in {
        "frozen": "misses frozen",
        "unused": "misses unused",
        "cut": "misses unused",
        "silenced": "misses zero",
    }.items():
        missing = sorted(f"{part}.{leaf}" for leaf in ("weight", "bias"))
        fact = _("This does not learn, and is not in your list: {names}.", names=", ".join(missing))
        expect(found >= set(missing), cause, fact)
    extra = ", ".join(sorted(found - {n for n, _p in net.named_parameters() if n[0] != "l"}))
    expect(not extra, "false alarm", _("This does learn, or does not exist: {names}.", names=extra))


def _stuck_leaves_gradients(stuck: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    net[0].weight.grad = torch.full((4, 4), 7.0)
    with net_kept(net):
        found = names(stuck(net, _loss))
    expect(not found, "false alarm", _("This does learn: {names}.", names=", ".join(sorted(found))))
    kept = net[0].weight.grad is not None and bool((net[0].weight.grad == 7).all())
    others = [p.grad for name, p in net.named_parameters() if name != "0.weight"]
    fact = _("The gradients of the net are not what they were.")
    expect(kept and all(one is None for one in others), "gradients changed", fact)


def _stuck_sees_through_old_gradients(stuck: Any, draw: random.Random) -> None:
    net = _Partly()
    net.unused.weight.grad = torch.ones(4, 4)
    fact = _("This has an old gradient and does not learn: {name}.", name="unused.weight")
    expect("unused.weight" in names(stuck(net, _loss)), "misled", fact)


def _fitting_is_loaded(load_fitting: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, draw.randint(3, 6)))
    state = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)).state_dict()
    state["1.running_mean"] = torch.randn(8)
    state["1.bias"] = torch.randn(1)  # torch would fill all eight with it
    state["3.weight"] = torch.randn(2, 2)
    gone = draw.choice(["0.bias", "1.weight"])
    del state[gone]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    objects = [id(p) for p in net.parameters()]
    found = names(load_fitting(net, dict(state)))
    expect(objects == [id(p) for p in net.parameters()], "replaced",
           _("The parameters of the net are other objects now."))  # fmt: skip
    left = {gone, "1.bias", "2.weight", "2.bias"}
    for name, value in net.state_dict().items():
        fact = _("This fits, and was not loaded: {name}.", name=name)
        expect(name in left or torch.equal(value, state[name]), "not loaded", fact)
        fact = _("This does not fit, and has changed: {name}.", name=name)
        expect(name not in left or torch.equal(value, before[name]), "changed", fact)
    fact = _(
        "Not filled were {wanted}, and you say {found}.",
        wanted=", ".join(sorted(left)),
        found=", ".join(sorted(found)) or "-",
    )
    expect(found == left, "other names", fact)


class _TiedNet(nn.Module):
    """A model of language in little: the embedding is the output layer, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 4)
        self.inner = nn.Linear(4, 4)
        self.output = nn.Linear(4, 9, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        Y: Tensor = self.output(torch.tanh(self.inner(self.embedding(tokens))))
        return Y


def _tied_comes_back(answer: Any, draw: random.Random) -> None:
    save_tied, load_tied = answer
    saved, net, tokens = _TiedNet(), _TiedNet(), torch.arange(9)
    objects = [id(p) for p in net.parameters()]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "net.safetensors"))
        with net_kept(saved):
            save_tied(path, saved)
        _check_file(path, saved)
        load_tied(path, net)
    tied = net.output.weight is net.embedding.weight
    expect(tied, "untied", _("After loading the two layers no longer share their weight."))
    fact = _("The parameters of the net are other objects now.")
    expect(objects == [id(p) for p in net.parameters()], "replaced", fact)
    fact = _("After loading the net computes something else than the saved one.")
    expect(torch.equal(saved(tokens), net(tokens)), "values lost", fact)


def _check_file(path: str, net: nn.Module) -> None:
    expect(Path(path).exists(), "no file", _("There is no file at the path after saving."))
    try:
        stored = sum(value.numel() for value in load_file(path).values())
    except SafetensorError as error:
        fact = _("The file is no safetensors file: {error}", error=error)
        raise NotYetError("no safetensors", fact) from None
    wanted = sum(p.numel() for p in net.parameters())
    fact = _(
        "The file holds {stored} numbers, and the net has {wanted}.", stored=stored, wanted=wanted
    )
    expect(stored <= wanted, "twice", fact)


def _shift_adds(answer: Any, draw: random.Random) -> None:
    values, X = torch.randn(5), 1 * torch.randn(3, 5, requires_grad=True)
    layer = module(answer(values))
    with batch_kept(values):
        Y = computed(layer, X)
    watched(Y)
    has_shape(Y, X.shape, X)
    expect(
        torch.allclose(Y, X + values), "other numbers", _("The output is not X plus the values.")
    )
    fact = _("The values are a parameter: an optimizer would change them.")
    expect(not list(layer.parameters()), "a parameter", fact)


def _shift_follows(answer: Any, draw: random.Random) -> None:
    values, X = torch.randn(5), torch.randn(3, 5)
    Y = tensor(answer(values).double()(X.double()))
    fact = _("For numbers of type float64 the output has the type {dtype}.", dtype=Y.dtype)
    expect(Y.dtype == torch.float64, "another type", fact)
    with two_devices() as devices:
        Y = tensor(answer(values).to(devices[1])(X.to(devices[1])))
        fact = _("On {device} the output lies on {found}.", device=devices[1], found=Y.device)
        expect(Y.device == devices[1], "other place", fact)


def _shift_is_saved(answer: Any, draw: random.Random) -> None:
    saved, loaded = answer(torch.randn(5)), answer(torch.zeros(5))
    loaded.load_state_dict(saved.state_dict())
    X = torch.randn(2, 5)
    fact = _("After saving and loading the layer adds other values.")
    expect(torch.equal(saved(X), loaded(X)), "not saved", fact)


def _follow(cell: nn.RNNCell, inputs: list[Tensor], h: Tensor) -> Tensor:
    for x in inputs:
        h = cell(x, h.detach())
        h.pow(2).mean().backward()
    return h.detach()


def _follow_is_right(follow: Any, draw: random.Random) -> None:
    cell, twin = nn.RNNCell(3, 4), nn.RNNCell(3, 4)
    twin.load_state_dict(cell.state_dict())
    inputs, h = [torch.randn(2, 3) for _step in range(5)], torch.randn(2, 4)
    with batch_kept(h, *inputs):
        found = tensor(follow(cell, inputs, h))
    wanted = _follow(twin, inputs, h)
    has_shape(found, wanted.shape, h)
    fact = _("The last state is not that of five steps in a row.")
    expect(torch.allclose(found, wanted, atol=1e-5), "other state", fact)
    for (name, parameter), other in zip(cell.named_parameters(), twin.parameters(), strict=True):
        if parameter.grad is None or other.grad is None:
            raise NotYetError(
                "no gradients", _("After five steps {name} has no gradient.", name=name)
            )
        fact = _("The gradient of {name} is not the sum of those of five single steps.", name=name)
        same = torch.allclose(parameter.grad, other.grad, rtol=1e-3, atol=1e-5)
        expect(same, "other gradients", fact)


def _trained(seed_steps: int) -> tuple[nn.Module, torch.optim.Optimizer, Any]:
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    _train(net, optimizer, scheduler, seed_steps)
    return net, optimizer, scheduler


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, steps: int) -> None:
    X = torch.linspace(-1, 1, 24).reshape(6, 4)
    for _step in range(steps):
        optimizer.zero_grad()
        F.mse_loss(net(X), X[:, :1]).backward()
        optimizer.step()
        scheduler.step()


def _all_three_go_on(answer: Any, draw: random.Random) -> None:
    save_all, load_all = answer
    old, new = _trained(draw.choice([4, 5])), _trained(0)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "state"))
        save_all(path, *old)
        expect(Path(path).exists(), "no file", _("There is no file at the path after saving."))
        load_all(path, *new)
    fact = _("Right after loading, the new net does not have the values of the old one.")
    expect(_equal(old[0], new[0]), "values lost", fact)
    fact = _("Right after loading, the new optimizer has no momentum.")
    expect(new[1].state, "optimizer forgotten", fact)
    rates = [one[1].param_groups[0]["lr"] for one in (old, new)]
    _train(*old, 1)
    _train(*new, 1)
    fact = _("After one more step the nets differ.")
    expect(rates[0] != rates[1] or _equal(old[0], new[0]), "optimizer forgotten", fact)
    _train(*old, 4)
    _train(*new, 4)
    fact = _("The learning rate is {found} after five more steps, and was to be {wanted}.",
             found=new[1].param_groups[0]["lr"], wanted=old[1].param_groups[0]["lr"])  # fmt: skip
    same = new[1].param_groups[0]["lr"] == old[1].param_groups[0]["lr"]
    expect(same, "scheduler forgotten", fact)
    expect(
        _equal(old[0], new[0]), "optimizer forgotten", _("After five more steps the nets differ.")
    )


def _equal(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _scale_scales(scale: Any, draw: random.Random) -> None:
    net, factor = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), draw.uniform(0.2, 3)
    before = {name: (p, p.detach().clone()) for name, p in net.named_parameters()}
    scale(net, factor)
    for name, parameter in net.named_parameters():
        fact = _("{name} is another object now.", name=name)
        expect(parameter is before[name][0], "replaced", fact)
        fact = _("{name} is not what it was, times {factor:.3g}.", name=name, factor=factor)
        expect(torch.allclose(parameter, before[name][1] * factor), "not scaled", fact)
        fact = _("{name} wants no gradient any more.", name=name)
        expect(parameter.requires_grad and parameter.is_leaf, "frozen", fact)


def _scale_is_noticed(scale: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
    loss = net(torch.randn(2, 4)).sum()
    scale(net, 2.0)
    try:
        loss.backward()
    except RuntimeError:
        return
    fact = _("Between a forward and a backward pass the change stays unnoticed: wrong gradients.")
    raise NotYetError("unnoticed", fact)


class _Broken(nn.Module):
    def forward(self, X: Tensor) -> Tensor:
        raise ValueError("this net fails")


def _modes(net: nn.Module) -> list[bool]:
    return [one.training for one in net.modules()]


def _predicted_as_in_use(predict: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Linear(4, 50), nn.BatchNorm1d(50), nn.Dropout(0.5), nn.Linear(50, 2))
    net[1].train(draw.random() < 0.5)
    X, modes = torch.randn(6, 4), _modes(net)
    with net_kept(net):
        Y = tensor(predict(net, X))
    expect(modes == _modes(net), "mode changed", _("The net is no longer in the mode it was in."))
    fact = _("The output still has a graph, which keeps all of the pass in memory.")
    expect(not Y.requires_grad, "graph kept", fact)
    net.eval()
    fact = _("The output is not that of the net in evaluation mode.")
    expect(torch.allclose(Y, net(X), atol=1e-6), "training mode", fact)


def _modes_come_back_after_an_error(predict: Any, draw: random.Random) -> None:
    net = nn.Sequential(nn.Dropout(0.5), _Broken(), nn.Dropout(0.2).eval())
    modes = _modes(net)
    with suppress(ValueError):
        predict(net, torch.randn(2, 4))
    fact = _("Where the pass fails, the net is left in another mode than it was in.")
    expect(modes == _modes(net), "mode after an error", fact)


EXERCISES = (
    Exercise(
        "symptoms.not-learning",
        {
            mark("finds what does not learn"): _stuck_finds_what_does_not_learn,
            mark("leaves the gradients of the net alone"): _stuck_leaves_gradients,
            mark("sees through old gradients"): _stuck_sees_through_old_gradients,
        },
        cases=2,
    ),
    Exercise("symptoms.missing-keys", {mark("loads what fits"): _fitting_is_loaded}, cases=4),
    Exercise(
        "symptoms.shared-memory",
        {mark("keeps the tie, and writes each tensor once"): _tied_comes_back},
        cases=2,
        pair=True,
    ),
    Exercise(
        "symptoms.same-device",
        {
            mark("adds the values"): _shift_adds,
            mark("follows the net to any device and type"): _shift_follows,
            mark("is saved and loaded"): _shift_is_saved,
        },
        cases=2,
    ),
    Exercise(
        "symptoms.memory-grows", {mark("cuts the graph at each step"): _follow_is_right}, cases=3
    ),
    Exercise(
        "symptoms.loss-jumps",
        {mark("goes on exactly as if nothing had happened"): _all_three_go_on},
        cases=3,
        pair=True,
    ),
    Exercise(
        "symptoms.leaf-in-place",
        {
            mark("multiplies every parameter in place"): _scale_scales,
            mark("is noticed by autograd"): _scale_is_noticed,
        },
        cases=3,
    ),
    Exercise(
        "symptoms.other-each-time",
        {
            mark("computes as in use, without a graph"): _predicted_as_in_use,
            mark("gives the modes back, even after an error"): _modes_come_back_after_an_error,
        },
        cases=3,
    ),
)
