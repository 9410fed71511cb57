"""Exercises of section 6, files."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..files.save_load import save_parameters
from ..words.language import _, mark
from .exercise import Exercise, expect
from .expectations import has_shape, mapping, net_kept, returned, shown, tensor

Batch = tuple[Tensor, Tensor]


@contextmanager
def _path(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield str(Path(folder, name))


def _mlp(classes: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, classes)
    )


def _optimizer(net: nn.Module, kind: str) -> torch.optim.Optimizer:
    if kind == "Adam":
        return torch.optim.Adam(net.parameters(), lr=0.01)
    return torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)


def _train(net: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Batch]) -> None:
    for X, y in batches:
        optimizer.zero_grad()
        F.mse_loss(net(X), y).backward()
        optimizer.step()


def _batches(count: int) -> list[Batch]:
    return [(torch.randn(6, 4), torch.randn(6, 2)) for _batch in range(count)]


def _equal(net: nn.Module, other: nn.Module) -> bool:
    pairs = zip(net.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _resumed(answer: Any, draw: random.Random) -> tuple[list[nn.Module], list[Any], str]:
    """Return a net that trained on, one that was loaded, both optimizers, and their kind."""
    save_state, load_state = answer
    kind = draw.choice(["Adam", "momentum"])
    nets: list[nn.Module] = [_mlp(), _mlp()]
    optimizers = [_optimizer(net, kind) for net in nets]
    _train(nets[0], optimizers[0], _batches(3))
    known = [id(parameter) for parameter in nets[1].parameters()]
    with _path("state") as path:
        save_state(path, nets[0], optimizers[0])
        expect(Path(path).exists(), "no file", _("There is no file at the path after saving."))
        load_state(path, nets[1], optimizers[1])
    fact = _("The parameters of the net are other objects now; its optimizer holds the old ones.")
    expect(known == [id(parameter) for parameter in nets[1].parameters()], "replaced", fact)
    return nets, optimizers, kind


def _state_comes_back(answer: Any, draw: random.Random) -> None:
    nets, _optimizers, _kind = _resumed(answer, draw)
    fact = _("Right after loading, the new net does not have the values of the old one.")
    expect(_equal(*nets), "values lost", fact)


def _training_goes_on(answer: Any, draw: random.Random) -> None:
    nets, optimizers, kind = _resumed(answer, draw)
    batches = _batches(3)
    for net, optimizer in zip(nets, optimizers, strict=True):
        _train(net, optimizer, batches)
    fact = _("The values came back, and three steps later the nets differ, with {kind}.", kind=kind)
    expect(_equal(*nets), "optimizer forgotten", fact)


def _first_two_arrive(reuse: Any, draw: random.Random) -> None:
    saved, net = _mlp(2), _mlp(draw.randint(3, 9))
    head = [p.detach().clone() for p in net[4].parameters()]
    known = [id(p) for p in net.parameters()]
    with _path("net.safetensors") as path:
        save_parameters(saved, path)
        reuse(path, net)
    fact = _("Some parameters are other objects now, which an optimizer would not know.")
    expect(known == [id(p) for p in net.parameters()], "replaced", fact)
    for layer in (0, 2):
        fact = _("Layer {layer} does not have the values of the file.", layer=layer)
        expect(_equal(saved[layer], net[layer]), "not loaded", fact)
    same = all(torch.equal(a, b) for a, b in zip(head, net[4].parameters(), strict=True))
    expect(same, "head changed", _("The last layer has changed."))
    frozen = [name for name, p in net.named_parameters() if not p.requires_grad]
    fact = _("This wants no gradient any more: {names}.", names=", ".join(frozen))
    expect(not frozen, "frozen", fact)


class _Unknown(nn.Module):
    """A class that whoever loads the file does not have: pickle cannot find it again."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.layer = nn.Linear(4, units)
        self.__class__ = type("Unknown", (_Unknown,), {})

    def forward(self, X: Tensor) -> Tensor:
        return torch.tanh(self.layer(X))


def _whole_needs_no_class(answer: Any, draw: random.Random) -> None:
    save_whole, load_whole = answer
    net, X, Z = _Unknown(draw.randint(2, 6)), torch.randn(3, 4), torch.randn(3, 4)
    with _path("net.pt2") as path:
        save_whole(path, net, X)
        expect(Path(path).exists(), "no file", _("There is no file at the path after saving."))
        loaded = returned(load_whole(path))
    fact = _("What was loaded cannot be called: it is {value}.", value=shown(loaded))
    expect(callable(loaded), "not to be called", fact)
    Y, wanted = tensor(loaded(Z)), net(Z)
    has_shape(Y, wanted.shape, Z)
    fact = _("For an input that it has not seen, what was loaded gives other numbers.")
    expect(torch.allclose(Y, wanted, atol=1e-5), "other numbers", fact)


class _PowerCutError(Exception):
    """What ends a training too early."""


def _cut(batches: list[Batch], after: int) -> Iterator[Batch]:
    yield from batches[:after]
    raise _PowerCutError


class _Counted(nn.Sequential):
    """A net that counts how often it is run."""

    runs = 0

    def forward(self, X: Tensor) -> Tensor:
        self.runs += 1
        output: Tensor = super().forward(X)
        return output


def _fit_survives_a_power_cut(fit: Any, draw: random.Random) -> None:
    batches, after = _batches(5), draw.randint(2, 4)
    first, again = _Counted(*_mlp()), _Counted(*_mlp())
    twin = _mlp()
    twin.load_state_dict(first.state_dict())
    _train(twin, _optimizer(twin, "Adam"), batches)
    with _path("checkpoint") as path:
        with suppress(_PowerCutError):
            fit(first, _cut(batches, after), path)
        fact = _("{count} steps were made before the power cut, and no file is there.", count=after)
        expect(Path(path).exists(), "no file", fact)
        fit(again, iter(batches), path)
    fact = _(
        "{count} steps were left to be made, and your function ran the net {runs} times.",
        count=5 - after,
        runs=again.runs,
    )
    expect(again.runs != 5, "starts over", fact)
    expect(again.runs == 5 - after, "other steps", fact)
    fact = _("With a power cut after step {after} training ends at other values.", after=after)
    expect(_equal(again, twin), "other values", fact)


def _fit_trains_without_one(fit: Any, draw: random.Random) -> None:
    batches, net, twin = _batches(4), _mlp(), _mlp()
    twin.load_state_dict(net.state_dict())
    _train(twin, _optimizer(twin, "Adam"), batches)
    with _path("checkpoint") as path:
        fit(net, iter(batches), path)
    fact = _("After four steps the net has other values than with Adam and lr=0.01.")
    expect(_equal(net, twin), "other training", fact)


class _Renamed(nn.Module):
    def __init__(self, last: str) -> None:
        super().__init__()
        self.layout = nn.Linear(4, 8)
        self.submodule = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))
        setattr(self, last, nn.Linear(8, 2))


def _adapt_fits(adapt: Any, draw: random.Random) -> None:
    saved, net = nn.DataParallel(_Renamed("out")), _Renamed("head")
    state = saved.state_dict()
    before = dict(state)
    with net_kept(net):
        found = mapping(adapt(state, net))
    fact = _("The dictionary that was handed in has changed.")
    same = list(state) == list(before) and all(state[name] is before[name] for name in before)
    expect(same, "state changed", fact)
    wanted = net.state_dict()
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    fact = _("Missing: {missing}. Too much: {extra}.", missing=", ".join(missing[:2]) or "-",
             extra=", ".join(extra[:2]) or "-")  # fmt: skip
    expect(not any(name.startswith("module.") for name in extra), "prefix left", fact)
    expect(not any(name.startswith("out.") for name in extra), "old name", fact)
    expect(not missing or extra, "left out", fact)
    expect(not missing and not extra, "other names", fact)
    net.load_state_dict(dict(found))
    values = zip(net.state_dict().values(), before.values(), strict=True)
    fact = _("With your dictionary the net does not get the values that were saved.")
    expect(all(torch.equal(a, b) for a, b in values), "other values", fact)


EXERCISES = (
    Exercise(
        "files.why",
        {
            mark("brings the values back"): _state_comes_back,
            mark("lets a new net go on exactly where the old one stopped"): _training_goes_on,
        },
        cases=4,
        pair=True,
    ),
    Exercise(
        "files.first-two",
        {mark("loads the first two layers and leaves the last"): _first_two_arrive},
        cases=5,
    ),
    Exercise(
        "files.architecture",
        {mark("needs no class to be loaded"): _whole_needs_no_class},
        cases=1,
        pair=True,
    ),
    Exercise(
        "files.resume",
        {
            mark("trains where nothing goes wrong"): _fit_trains_without_one,
            mark("goes on after a power cut"): _fit_survives_a_power_cut,
        },
        cases=4,
    ),
    Exercise("files.keys", {mark("gives each value its new name"): _adapt_fits}, cases=2),
)
