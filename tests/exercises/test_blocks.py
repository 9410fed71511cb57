"""What students really answer to the exercises of section 1, and the hint that they get."""

import pytest
import torch
from torch import nn


def test_list_names_what_else_is_broken(said):
    hint = said("blocks.list", lambda net: set() if list(net.parameters()) else {"state_dict"})
    assert hint[-1] == "hint  One thing more is broken: optimizer."


def test_list_says_that_the_forward_pass_works(said):
    everything = {"forward", "state_dict", "double", "optimizer"}
    lines = said("blocks.list", lambda net: set() if list(net.parameters()) else everything)
    assert lines[-1].startswith("hint  The forward pass works")


class Stacked(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.nets = [first, second]

    def forward(self, X):
        return torch.stack([net(X) for net in self.nets])


class Forgetful(Stacked):
    def forward(self, X):
        return torch.cat([net(X) for net in self.nets], dim=-1)


class FirstAxis(nn.Sequential):
    def forward(self, X):
        return torch.cat([self[0](X), self[1](X)], dim=1)


class Swapped(nn.Sequential):
    def forward(self, X):
        return torch.cat([self[1](X), self[0](X)], dim=-1)


def joining_function(first, second):
    return lambda X: torch.cat((first(X), second(X)), dim=-1)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (nn.Sequential, "The second net must read the same X"),
        (Stacked, "The outputs may have different widths"),
        (Swapped, "The columns of the first net come first"),
        (FirstAxis, "The outputs may have different widths: join them along the last axis"),
        (Forgetful, "The block must know the parameters of both nets"),
        (joining_function, "Parallel(first, second) must be an nn.Module"),
    ],
)
def test_parallel_hints_at_what_is_wrong(said, answer, hint):
    assert said("blocks.parallel", answer)[-1].startswith(f"hint  {hint}")


def test_factory_notices_one_block_at_many_places(said):
    hint = said("blocks.factory", lambda make, times: nn.Sequential(*[make()] * times))[-1]
    assert hint.startswith("hint  `make` was called only once")


def test_super_notices_that_a_plain_list_may_come_early(said):
    hint = said("blocks.super", lambda value: isinstance(value, float | str | list | torch.Tensor))
    assert hint[-1].startswith("hint  Your function is wrong about a Parameter.")


def halve_in_place(X):
    while (large := X.abs().sum(dim=1, keepdim=True) > 1).any():
        X /= torch.where(large, 2.0, 1.0)
    return X


def halve_all(X):
    while X.abs().sum() > 1:
        X = X / 2
    return X


def halve_batch(X):
    while X.abs().sum(dim=1) > 1:
        X = X / 2
    return X


def halve_row_by_row(X):
    rows = []
    for row in X:
        while row.abs().sum() > 1:
            row = row / 2
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (halve_in_place, "The X that was given to the function has changed"),
        (halve_all, "Some row was halved too often or not often enough"),
        (halve_batch, "A comparison of a whole batch has one answer per row"),
        (halve_row_by_row, "For 50 rows Python read"),
    ],
)
def test_item_hints_at_what_is_wrong(said, answer, hint):
    assert said("blocks.item", answer)[-1].startswith(f"hint  {hint}")
