"""What section 7 shows as measured: see `note` in conftest.py. No time here passes or fails."""

import statistics
import time

import pytest
import torch

import d2lcompute as d2c

NORMS = 1_000


def seconds(act, device):
    """The median of a few runs, fewer where one takes long, until the device has done the work."""
    times = []
    while len(times) < 5 and sum(times) < 1:
        torch.accelerator.synchronize()
        began = time.perf_counter()
        act()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


@pytest.mark.parametrize("n", [8, 32, 128, 512, 2048, 8192])
def test_products(device, note, n):
    if device.type == "practice" and n > 128:
        pytest.skip("a practice device computes on the CPU: there is nothing to compare")
    found = []
    for place in (d2c.cpu(), device):
        A = torch.randn(n, n, device=place)
        found.append(seconds(lambda A=A: A @ A, place))
    note(f"`A @ A`, n = {n:,}", *found)


def one_by_one(A):
    return [(A @ A).norm().item() for _ in range(NORMS)]


def at_once(A):
    log = d2c.MetricLog(NORMS)
    for _ in range(NORMS):
        log.append((A @ A).norm())
    return log.values().tolist()


@pytest.mark.parametrize(
    ("way", "name"), [(one_by_one, "`norm().item()`"), (at_once, "`log.append(norm())`")]
)
def test_norms(device, note, way, name):
    found = []
    for place in (d2c.cpu(), device):
        A = torch.randn(100, 100, device=place)
        assert len(way(A)) == NORMS
        found.append(seconds(lambda A=A: way(A), place))
    note(f"{NORMS:,} x {name}", *found)
