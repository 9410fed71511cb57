import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import d2lcompute as d2c


@given(
    values=st.lists(st.floats(allow_nan=False, width=32), max_size=40),
    capacity=st.integers(1, 50),
    as_tensors=st.booleans(),
)
def test_what_was_appended_is_read_back_in_order(values, capacity, as_tensors):
    log = d2c.MetricLog(capacity)
    for value in values:
        log.append(torch.tensor(value) if as_tensors else value)
    assert len(log) == len(values)
    assert list(log) == log.values().tolist() == values


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3.0),
        (True, 1.0),
        (2**53, 2.0**53),
        (torch.tensor(2**53), 2.0**53),
        (torch.tensor([[1.5]]), 1.5),
        (torch.tensor(True), 1.0),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (torch.tensor(1 / 3, dtype=torch.float64).numpy()[()], 1 / 3),
        (math.inf, math.inf),
    ],
)
def test_every_kind_of_number_keeps_its_value(value, number):
    log = d2c.MetricLog(1)
    log.append(value)
    assert list(log) == [number]


def test_a_value_changed_later_is_not_changed_in_the_log():
    total, log = torch.zeros(()), d2c.MetricLog(2)
    for _ in range(2):
        total += 1
        log.append(total)
    assert list(log) == [1, 2]


def test_what_is_read_can_be_changed_without_changing_the_log():
    log = d2c.MetricLog(1)
    log.append(1)
    log.values().zero_()
    assert list(log) == [1]


def test_the_log_keeps_no_graph_alive():
    w = torch.ones((), requires_grad=True)
    log = d2c.MetricLog(1)
    log.append(w * 2)
    assert not log.values().requires_grad


def test_a_log_goes_on_in_and_out_of_inference_mode():
    log = d2c.MetricLog(1)
    for n in range(5):
        with torch.inference_mode(n % 2 == 0):
            log.append(torch.tensor(float(n)))
    assert list(log) == [0, 1, 2, 3, 4]


def test_an_empty_log_is_empty():
    log = d2c.MetricLog(8)
    assert repr(log) == "MetricLog(length=0, device=None)"
    assert log.values().shape == (0,)
    assert list(log) == list(d2c.MetricLog(8, device="cpu")) == []


@pytest.mark.parametrize(
    "value", [torch.ones(2), torch.ones(0), torch.ones((), dtype=torch.cfloat)]
)
def test_a_tensor_must_hold_one_real_number(value):
    log = d2c.MetricLog(1)
    with pytest.raises(
        ValueError, match=r"`value` must be one real number, got a torch\..*; do app"
    ):
        log.append(value)
    assert len(log) == 0


def test_floats_and_values_on_the_cpu_go_to_the_device_without_a_transfer(practice):
    log = d2c.MetricLog(2, device=practice[1])
    with d2c.watch_transfers() as transfers:
        log.append(0.5)
        log.append(torch.tensor(1.5))
        log.append(2)  # beyond the capacity
    assert transfers.count == 0
    assert repr(log) == "MetricLog(length=3, device='practice:1')"
    assert list(log) == [0.5, 1.5, 2]


def test_no_append_waits_for_another_accelerator(practice):
    log = d2c.MetricLog(2, device=practice[0])
    with d2c.watch_transfers() as transfers:
        log.append(torch.ones((), device=practice[1]))
    assert [event.waits for event in transfers.events] == [False]
