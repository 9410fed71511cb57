"""What students really answer to the exercises of section 4, and the hint that they get."""

import pytest
import torch
from torch import nn
from torch.nn.parameter import is_lazy

import d2lcompute as d2c
from d2lcompute import initializers as init


class Notes(init.Initializer):
    def __init__(self):
        self.names = []

    def _init_weight(self, name, data):
        self.names.append(name)


def weights_only(net, X):
    notes = Notes()
    d2c.initialize(net, notes)
    at_once = list(notes.names)
    net(X)
    return at_once, notes.names[len(at_once) :]


def all_at_once(net, X):
    return [name for name, _ in net.named_parameters()], []


def all_later(net, X):
    return [], [name for name, _ in net.named_parameters()]


def backwards(net, X):
    names = {
        lazy: [n for n, p in net.named_parameters() if is_lazy(p) is lazy] for lazy in (False, True)
    }
    return names[False], names[True][::-1]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (weights_only, "Biases are initialized too"),
        (all_at_once, "`initialize` fills at once: "),
        (all_later, "`initialize` fills at once: "),
        (backwards, "In the first pass come, in this order: "),
        (lambda net, X: None, "Return two lists of names, got NoneType"),
    ],
)
def test_first_only_hints_at_what_is_wrong(said, answer, hint):
    assert said("lazy.first-only", answer)[-1].startswith(f"hint  {hint}")


def in_place(net, X):
    for index, layer in enumerate(net):
        try:
            X = layer(X)
        except RuntimeError:
            return index
    return None


def last_layer(net, X):
    return len(net) - 1 if in_place(net, X) is not None else None


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (in_place, "The net is no longer lazy"),
        (last_layer, "Layer "),
        (lambda net, X: in_place(net, X) or 0, "In a net where all layers fit"),
    ],
)
def test_mismatch_hints_at_what_is_wrong(said, answer, hint):
    assert said("lazy.mismatch", answer)[-1].startswith(f"hint  {hint}")


class Cut(nn.Linear):
    def __init__(self, units):
        super().__init__(2, units)

    def forward(self, X):
        return super().forward(X[:, :2])


class Mean(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def forward(self, X):
        return X.mean(dim=1, keepdim=True).expand(-1, self.units)


class Each(nn.Linear):
    def __init__(self, units):
        super().__init__(1, units)

    def forward(self, X):
        return super().forward(X.unsqueeze(-1))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (nn.LazyLinear, "After a batch of width"),
        (Each, "For X of shape"),
        (Cut, "Some inputs have no influence"),
        (Mean, "The block has no parameters"),
    ],
)
def test_varying_hints_at_what_is_wrong(said, answer, hint):
    assert said("lazy.varying", answer)[-1].startswith(f"hint  {hint}")


def on_the_net(net, first, second):
    net(torch.rand(first))
    try:
        net(torch.rand(second))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda net, first, second: first == second, "After ("),
        (lambda net, first, second: True, "After ("),
        (on_the_net, "The net itself has lost its laziness"),
    ],
)
def test_new_shape_hints_at_what_is_wrong(said, answer, hint):
    assert said("lazy.new-shape", answer)[-1].startswith(f"hint  {hint}")
