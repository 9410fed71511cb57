"""The log of section 7: it does not wait while it is written, and waits once to be read."""

import pytest
import torch
from torch.testing import assert_close

import d2lcompute as d2c


def test_a_thousand_norms_cost_one_transfer_and_a_thousand_reads_a_thousand(device):
    X = torch.rand(10, 10, device=device)
    log = d2c.MetricLog(1_000)
    with d2c.watch_transfers() as logging:
        for _ in range(1_000):
            log.append((X @ X).norm())
    with d2c.watch_transfers() as reading:
        values = log.values()
    with d2c.watch_transfers() as naive:
        one_by_one = [(X @ X).norm().item() for _ in range(1_000)]
    assert (logging.count, reading.count, naive.count) == (0, 1, 1_000)
    assert_close(values, torch.tensor(one_by_one, dtype=torch.float64))


def test_nothing_waits_before_the_log_is_read(device, waits):
    X = torch.rand(10, 10, device=device)
    log = d2c.MetricLog(2, device=device)

    def write():
        for _ in range(20):  # beyond the capacity, more than once
            log.append((X @ X).norm())
        log.append(0.5)
        log.append(torch.tensor(1.5))
        len(log), repr(log)

    assert waits(write) in (False, None)
    assert waits(log.values) in (True, None)
    assert waits(lambda: list(log)) in (True, None)


def test_numbers_of_every_origin_are_read_back(device):
    log = d2c.MetricLog(1, device=device)
    total = torch.zeros((), device=device)
    for value in (0.5, torch.tensor(2.0), torch.ones(1, 1, device=device), total, 3):
        log.append(value)
    total += 1  # what is changed later is not changed in the log
    assert list(log) == [0.5, 2.0, 1.0, 0.0, 3.0]
    assert f"device='{device}'" in repr(log)


def test_a_log_on_the_cpu_refuses_to_wait_for_the_device(device):
    log = d2c.MetricLog(2, device="cpu")
    with pytest.raises(ValueError, match=rf"on the CPU.*on {device}.*MetricLog\(2, device="):
        log.append(torch.ones((), device=device))
    assert len(log) == 0
