"""What students really answer to the exercises of section 2, and the hint that they get."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F


def all_biases(net):
    return [name for name, _ in net.named_parameters() if name.endswith("bias")]


def direct_biases(net):
    return [f"{n}.bias" for n, m in net.named_children() if isinstance(m, nn.Linear)]


def absent_biases(net):
    return [f"{n}.bias" for n, m in net.named_modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (direct_biases, "NestMLP has the biases net.0.bias"),
        (all_biases, r"belongs to no linear layer"),
        (absent_biases, r"belongs to no linear layer"),
    ],
)
def test_nested_hints_at_what_is_wrong(said, answer, hint):
    assert hint in said("parameters.nested", answer)[-1]


def training(*, lr=0.1, clear=True, step=True, norm=True, cleared_before_reading=False):
    """A training function with one of the usual mistakes."""

    def watch(net, X, y, steps):
        optimizer = torch.optim.SGD(net.parameters(), lr=lr)
        records = []
        for _ in range(steps):
            if clear:
                optimizer.zero_grad()
            F.mse_loss(net(X), y).backward()
            if step:
                optimizer.step()
            if cleared_before_reading:
                optimizer.zero_grad(set_to_none=False)
            read = (lambda p: p.grad.norm().item()) if norm else (lambda p: p.grad.norm())
            records.append({name: read(p) for name, p in net.named_parameters()})
        return records

    return watch


def summed(net, X, y, steps):
    ((net(X) - y) ** 2).sum().backward()
    return [{name: p.grad.norm().item() for name, p in net.named_parameters()}] * steps


def last_only(net, X, y, steps):
    return training()(net, X, y, steps)[-1]


def weights_only(net, X, y, steps):
    records = training()(net, X, y, steps)
    return [{n: v for n, v in record.items() if "weight" in n} for record in records]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (last_only, "For steps="),
        (weights_only, "Each record needs the name of every parameter"),
        (training(norm=False), "Record each gradient's norm as a number"),
        (training(cleared_before_reading=True), "Record each gradient's norm as a number"),
        (summed, "With the mean squared error the gradient norm of"),
        (training(step=False), "After 100 steps the loss should have fallen"),
    ],
)
def test_tied_training_hints_at_what_is_wrong(said, answer, hint):
    assert said("parameters.tied-training", answer)[-1].startswith(f"hint  {hint}")


def dense_nets(places):
    return nn.Linear(places, places), nn.Linear(places, places)


class Columns(nn.Module):
    def __init__(self, nets):
        super().__init__()
        self.nets = nn.ModuleList(nets)

    def forward(self, X):
        return torch.cat([net(X[:, [i]]) for i, net in enumerate(self.nets)], dim=1)


def linear_columns(places):
    single = [nn.Linear(1, 1) for _ in range(places)]
    return Columns([nn.Linear(1, 1)] * places), Columns(single)


def wide_columns(places):
    sharing, separate = linear_columns(places)
    return nn.Sequential(sharing, nn.Flatten(0)), separate


def swapped(places):
    return linear_columns(places)[::-1]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (dense_nets, "For "),
        (swapped, "For "),
        (wide_columns, "Both nets must map"),
    ],
)
def test_why_tie_hints_at_what_is_wrong(said, answer, hint):
    assert said("parameters.why-tie", answer)[-1].startswith(f"hint  {hint}")


def run_it(net):
    net(torch.rand(2, 4))
    return {name: tuple(p.shape) for name, p in net.named_parameters()}


def zeros(net):
    return {
        f"{path}.{name}": (module.out_features, module.in_features or None)
        for path, module in net.named_modules()
        for name, _ in module.named_parameters(recurse=False)
    }


@pytest.mark.parametrize(
    ("answer", "hint"),
    [(run_it, "The net has lost its laziness"), (zeros, "0.bias should be")],
)
def test_before_forward_hints_at_what_is_wrong(said, answer, hint):
    assert said("parameters.before-forward", answer)[-1].startswith(f"hint  {hint}")
