"""Every argument of section 7: a wrong type and a wrong value are one error that names it."""

import inspect
import re

import pytest
import torch
from torch import nn

import d2lcompute as d2c

X = torch.ones(2, 3)

# What each function takes gladly, and what each of its arguments refuses with which error.
RIGHT = {
    d2c.cpu: {},
    d2c.gpu: {"i": 0},
    d2c.num_gpus: {},
    d2c.try_gpu: {"i": 0},
    d2c.try_all_gpus: {},
    d2c.device_of: {"net_or_tensor": X},
    d2c.copyto: {"x": X, "device": "cpu"},
    d2c.as_in_context: {"x": X, "device": "cpu"},
    d2c.practice_gpus: {"count": 1, "memory": 1_000},
    d2c.watch_transfers: {},
    d2c.MetricLog: {"capacity": 3, "device": "cpu"},
    d2c.MetricLog(3).append: {"value": 1.0},
}
NO_INTEGERS = [0.0, "0", None, True, X]
DEVICES = {
    TypeError: [0, True, 1.5, torch.float32, ["cpu"], X],
    ValueError: ["gpu", "cuda:a", "cuda:-1", "cuda:200", "", torch.device("cuda", 1_000)],
}
WRONG = {
    ("gpu", "i"): {TypeError: NO_INTEGERS, ValueError: [-1, 128, 200, 256, 10**30]},
    ("try_gpu", "i"): {TypeError: NO_INTEGERS, ValueError: [-1, -(10**30)]},
    ("device_of", "net_or_tensor"): {
        TypeError: ["cpu", 3, None, [X], X.numpy(), nn.Linear, torch.optim.SGD([X], lr=0.1)],
        ValueError: [nn.ReLU(), nn.Sequential(), d2c.CenteredLayer()],
    },
    ("copyto", "x"): {TypeError: [nn.Linear(2, 2), nn.Linear, [X], 3, None, X.numpy()]},
    ("copyto", "device"): {**DEVICES, TypeError: [*DEVICES[TypeError], None]},
    ("as_in_context", "x"): {TypeError: [nn.Linear(2, 2), nn.Linear, [X], 3, None, X.numpy()]},
    ("as_in_context", "device"): {**DEVICES, TypeError: [*DEVICES[TypeError], None]},
    ("practice_gpus", "count"): {TypeError: NO_INTEGERS, ValueError: [-1, 129, 10**30]},
    ("practice_gpus", "memory"): {TypeError: [1e9, "1GB", True, X], ValueError: [-1]},
    ("MetricLog", "capacity"): {ValueError: [0, -1, 1.5, None, "3", True]},
    ("MetricLog", "device"): DEVICES,
    ("append", "value"): {
        TypeError: ["3", None, [1.0], 1j],
        ValueError: [X, torch.ones(0), torch.ones((), dtype=torch.cfloat)],
    },
}
ROWS = [
    pytest.param(function, name, error, value, id=f"{function.__name__}-{name}-{str(value)[:20]}")
    for function, arguments in RIGHT.items()
    for name in arguments
    for error, values in WRONG[(function.__name__, name)].items()
    for value in values
]


@pytest.mark.parametrize(("function", "name", "error", "value"), ROWS)
def test_a_wrong_argument_is_named_with_what_it_must_be_and_what_to_do(
    function, name, error, value
):
    arguments = {**RIGHT[function], name: value}
    with pytest.raises(error, match=rf"(?s)^`{name}` must .*, got .*; .*do [^ ]") as raised:
        function(**arguments)
    assert type(raised.value) is error


@pytest.mark.parametrize("function", RIGHT, ids=lambda function: function.__name__)
def test_every_argument_has_a_row_and_a_value_that_is_right(function):
    assert list(RIGHT[function]) == list(inspect.signature(function).parameters)
    function(**RIGHT[function])
    d2c.practice_gpus(0)


@pytest.mark.parametrize("move", [d2c.copyto, d2c.as_in_context])
def test_a_tensor_in_the_place_of_a_device_is_told_how_to_be_written_into(move):
    y = torch.zeros(2, 3)
    with pytest.raises(TypeError, match=re.escape("got a tensor; do y.copy_(x) to write into y")):
        move(X, y)
    assert y.sum() == 0


@pytest.mark.parametrize("act", [lambda d: d2c.copyto(X, d), lambda d: d2c.MetricLog(3, d)])
def test_a_device_that_is_not_there_is_told_so(act, practice):
    with pytest.raises(
        ValueError, match=r"must be a device of this machine, got 'practice:7' \(.*"
    ):
        act("practice:7")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"of this machine, got 'cuda:0' \(.*\); do try_gpu"):
            act("cuda:0")


@pytest.mark.parametrize("name", ["xla", "hpu", "vulkan:0"])
def test_a_kind_of_device_that_no_package_here_brings_is_told_in_one_line(name):
    with pytest.raises(ValueError, match=rf"^`device` .* got '{name}' \([^\n]*\); do [^\n]*$"):
        d2c.copyto(X, name)
