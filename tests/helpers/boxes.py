"""Kernels in each kind of box that this machine has, for the tests of grading."""

import atexit
import functools

import pytest

from d2lcompute.notebooks.isolation import Isolation, Limits, clean_environment, why_not
from d2lcompute.notebooks.kernel import start_kernel
from d2lcompute.notebooks.warm import NotWarmError, WarmProcess

# Importing torch built for CUDA maps 0.8 GB.
SMALL = Limits(memory_mb=1200, processes=64, file_mb=8, scratch_mb=16, output_mb=1)


@functools.cache
def shared_warm_process():
    """The warm process of the tests, started once; it ends with them."""
    try:
        warm_process = WarmProcess(environment=clean_environment())
    except NotWarmError as reason:
        pytest.skip(f"kernels cannot be forked here: {reason}")
    atexit.register(warm_process.close)
    return warm_process


def isolation_on(level):
    reason = why_not(level)
    if reason is not None:
        pytest.skip(f"{level} cannot be had here: {reason}")
    return Isolation(level, {})


def boxed_kernel(level, limits=SMALL):
    """A kernel on `level`, forked where that can be."""
    warm_process = shared_warm_process() if level == "namespaces" else None
    return start_kernel(isolation_on(level), warm_process, limits)


def warm_kernel(limits=None):
    return start_kernel(warm_process=shared_warm_process(), limits=limits)


def printed(result):
    """All that a cell printed or gave as its value."""
    assert result.error is None, result.error
    texts = [output.get("text") or output.data["text/plain"] for output in result.outputs]
    return "".join(texts)
