"""Tests wait for what happens, not for a time; only what never happens ends their patience."""

import time

import psutil
import pytest

PATIENCE = 600.0


def wait_until(condition, what):
    """Return when `condition()` holds; what does not come to hold is a failure that says `what`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE:g} s for {what}")
        time.sleep(0.02)


def wait_for_the_end_of(processes):
    """Return when none of the processes, given by their numbers, is there any more."""
    wait_until(lambda: not any(map(psutil.pid_exists, processes)), f"the end of {processes}")
