"""One right answer to each exercise of section 1; many others pass as well."""

import copy

import torch
from torch import nn


def works(experiment):
    try:
        experiment()
    except (RuntimeError, ValueError):
        return False
    return True


def broken(net):
    X = torch.rand(2, 20)
    experiments = {
        "forward": lambda: net(X),
        "optimizer": lambda: torch.optim.SGD(net.parameters(), lr=0.1),
        "double": lambda: copy.deepcopy(net).double()(X.double()),
    }
    found = {name for name, experiment in experiments.items() if not works(experiment)}
    return found if net.state_dict() else found | {"state_dict"}


class Parallel(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, X):
        return torch.cat((self.first(X), self.second(X)), dim=-1)


def repeat(make, times):
    return nn.Sequential(*(make() for _ in range(times)))


def allowed(value):
    class Early(nn.Module):
        def __init__(self):
            self.x = value
            super().__init__()

    try:
        Early()
    except AttributeError:
        return False
    return True


def halve(X):
    while (large := X.abs().sum(dim=1, keepdim=True) > 1).any():
        X = torch.where(large, X / 2, X)
    return X


ANSWERS = {
    "blocks.list": broken,
    "blocks.parallel": Parallel,
    "blocks.factory": repeat,
    "blocks.super": allowed,
    "blocks.item": halve,
}
