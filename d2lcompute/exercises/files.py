"""Exercises of section 6, files."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.save_load import save_parameters
from .exercise import Exercise, expect


def _mlp(classes: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, classes)
    )


def _optimizer(net: nn.Module, kind: str) -> torch.optim.Optimizer:
    if kind == "Adam":
        return torch.optim.Adam(net.parameters(), lr=0.01)
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    X = torch.linspace(-1, 1, 40).reshape(10, 4)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(F.mse_loss(net(X), X[:, :2]))
        optimizer.step()


def _two_functions(answer: Any) -> None:
    expect(
        isinstance(answer, tuple | list) and len(answer) == 2 and all(map(callable, answer)),
        "Two functions are wanted, one that saves and one that loads.",
        "Hand in both together: (save, load).",
    )


def _resumed_training_goes_on(answer: Any, draw: random.Random) -> None:
    _two_functions(answer)
    save_state, load_state = answer
    kind, steps = draw.choice(["Adam", "momentum"]), draw.randint(2, 5)
    net = _mlp()
    optimizer = _optimizer(net, kind)
    _train(net, optimizer, steps)
    resumed = _mlp()
    resumed_optimizer = _optimizer(resumed, kind)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "state"))
        save_state(path, net, optimizer)
        load_state(path, resumed, resumed_optimizer)
    expect(
        _equal(net, resumed),
        "Right after loading, the new net does not have the values of the old one.",
        "torch.load(path, weights_only=True) gives back what was saved; then load_state_dict.",
    )
    _train(net, optimizer, 3)
    _train(resumed, resumed_optimizer, 3)
    expect(
        _equal(net, resumed),
        f"The values came back, but three steps later the nets differ, with {kind}.",
        "An optimizer remembers something from step to step. Save that as well.",
        'torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, path)',
    )


def _equal(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _first_two_arrive(reuse: Any, draw: random.Random) -> None:
    saved, net = _mlp(2), _mlp(draw.randint(3, 9))
    head = [p.detach().clone() for p in net[4].parameters()]
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "net.safetensors"))
        save_parameters(saved, path)
        try:
            reuse(path, net)
        except (RuntimeError, ValueError) as error:
            expect(
                "size mismatch" not in str(error) and "misfits" not in str(error),
                "The last layer of the file does not fit the net, and should not be loaded.",
                "Load the file as a dictionary, and keep the names that begin with 0. or 2.",
                'state = {k: v for k, v in d2c.load(path).items() if k[0] in "02"}, then '
                "net.load_state_dict(state, strict=False).",
            )
            raise
    expect(
        _equal(saved[0], net[0]) and _equal(saved[2], net[2]),
        "Layers 0 and 2 do not have the values from the file.",
        "The names in the file are 0.weight, 0.bias, 2.weight and so on.",
    )
    expect(
        all(torch.equal(a, b) for a, b in zip(head, net[4].parameters(), strict=True)),
        "The last layer changed; it should have kept its values.",
    )


def _first_two_are_free(reuse: Any, draw: random.Random) -> None:
    saved, net = _mlp(2), _mlp(3)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "net.safetensors"))
        save_parameters(saved, path)
        before = [id(p) for p in net.parameters()]
        reuse(path, net)
    expect(
        [id(p) for p in net.parameters()] == before,
        "The net has new parameter objects, which an optimizer made before would not know.",
        "Copy the values into the parameters that are there: load_state_dict does.",
    )
    expect(
        all(p.requires_grad for p in net.parameters()),
        "Some parameters no longer want a gradient: freezing was not asked for.",
    )


class _Unknown(nn.Module):
    """A class that whoever loads the file does not have: pickle cannot find it again."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, units)
        self.__class__ = type("Unknown", (_Unknown,), {})

    def forward(self, X: Tensor) -> Tensor:
        return torch.tanh(self.layer(X))


def _whole_needs_no_class(answer: Any, draw: random.Random) -> None:
    if draw.random() > 0.3:  # writing down a program is slow: a few of the cases are enough
        return
    _two_functions(answer)
    save_whole, load_whole = answer
    net, X = _Unknown(draw.randint(2, 6)), torch.rand(3, 4)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "net.pt2"))
        try:
            save_whole(path, net, X)
        except Exception as error:
            expect(
                "pickle" not in f"{type(error).__name__} {error}".lower(),
                "That file would hold the name of a class, and not what the class does.",
                "torch.save(net) pickles the object, and loading it needs the same class again. "
                "torch.export writes down the operations instead.",
            )
            raise
        loaded = load_whole(path)
    Z = torch.rand(3, 4)
    Y, wanted = loaded(Z) if callable(loaded) else None, net(Z)
    expect(
        isinstance(Y, Tensor) and Y.shape == wanted.shape and torch.allclose(Y, wanted),
        "What was loaded does not compute what the net computes.",
        "torch.export.load(path).module() can be called like the net.",
    )


EXERCISES = (
    Exercise(
        "files.why",
        "two functions: `save_state(path, net, optimizer)` and `load_state(path, net, optimizer)`",
        {"lets a new net go on exactly where the old one stopped": _resumed_training_goes_on},
    ),
    Exercise(
        "files.first-two",
        "a function: `reuse(path, net)` loads the layers 0 and 2 of a saved net into `net`, whose "
        "layer 4 has another width",
        {
            "loads the first two and leaves the last": _first_two_arrive,
            "keeps the net's parameters trainable and in place": _first_two_are_free,
        },
    ),
    Exercise(
        "files.architecture",
        "two functions: `save_whole(path, net, X)` and `load_whole(path)`, which gives something "
        "to call without the class of the net",
        {"needs no class to be loaded": _whole_needs_no_class},
    ),
)
