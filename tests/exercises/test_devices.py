"""What students really answer to the exercises of section 7, and the hint that they get."""

import pytest
import torch
from torch import nn

import d2lcompute as d2c


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda n: 2 * n**3 / (3 * n**2), "You count numbers, and each has four bytes"),
        (lambda n: 2 * n**3 / (8 * n**2), "The product has to come back as well"),
        (lambda n: n**2 / (12 * n**2), "For n="),
        (lambda n: f"{n / 6}", "Return one number, got str"),
    ],
)
def test_matmul_hints_at_what_is_wrong(said, answer, hint):
    assert said("devices.matmul", answer)[-1].startswith(f"hint  {hint}")


def fill(net, value):
    for parameter in net.parameters():
        parameter.data.fill_(value)


def forgotten(net, value):
    d2c.set_data(net[0][0].weight[0, 0], value)


def brought_home(net, value):
    net.cpu()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.view(-1)[0] = value


def round_trip(net, value):
    for parameter in net.parameters():
        values = parameter.detach().cpu()
        values.view(-1)[0] = value
        d2c.set_data(parameter, values)


def replaced(net, value):
    for module in net.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            copy = parameter.detach().clone()
            copy.view(-1)[0] = value
            setattr(module, name, nn.Parameter(copy))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (fill, "Other elements of 0.0.weight were written too"),
        (forgotten, "The first element of 0.0.bias is"),
        (brought_home, "0.0.weight, 0.0.bias"),
        (round_trip, "Whole parameters crossed over"),
        (replaced, "Some parameters are new objects"),
    ],
)
def test_parameters_hints_at_what_is_wrong(said, answer, hint):
    assert said("devices.parameters", answer)[-1].startswith(f"hint  {hint}")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda matrices: [m.norm().item() for m in matrices], "For 100 matrices there were 100"),
        (lambda matrices: [m.norm() for m in matrices], "Return a list of Python numbers"),
        (lambda matrices: torch.stack(matrices).norm().reshape(1).tolist(), "These are not the"),
        (
            lambda matrices: [m.norm().item() for m in torch.stack(matrices).cpu()],
            "10,000 bytes crossed over",
        ),
    ],
)
def test_log_hints_at_what_is_wrong(said, answer, hint):
    assert said("devices.log", answer)[-1].startswith(f"hint  {hint}")


def one_device(A, B):
    A, B = A.to(d2c.gpu(0)), B.to(d2c.gpu(0))
    return A @ A, B @ B


def elementwise(A, B):
    A, B = A.to(d2c.gpu(0)), B.to(d2c.gpu(1))
    return A**2, B**2


def moved_twice(A, B):
    return A.to(d2c.gpu(0)) @ A.to(d2c.gpu(0)), B.to(d2c.gpu(1)) @ B.to(d2c.gpu(1))


def results_moved(A, B):
    return (A @ A).to(d2c.gpu(1)), (B @ B).to(d2c.gpu(0))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (one_device, "The results should lie on"),
        (results_moved, "The results should lie on"),
        (elementwise, "Each result should be the square"),
        (moved_twice, "Two matrices have to cross over"),
        (lambda A, B: A, "Return two tensors"),
    ],
)
def test_two_hints_at_what_is_wrong(said, answer, hint):
    assert said("devices.two", answer)[-1].startswith(f"hint  {hint}")
