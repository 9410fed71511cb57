"""Kernels in each kind of box that this machine has, for the tests of grading."""

import atexit
import functools

import pytest

from d2lcompute.notebooks.isolation import Isolation, Limits, clean_environment, why_not
from d2lcompute.notebooks.launch import start_kernel
from d2lcompute.notebooks.warm import NotWarmError, Zygote

# Importing torch built for CUDA maps 0.8 GB.
SMALL = Limits(memory_mb=1200, processes=64, file_mb=8, scratch_mb=16, output_mb=1)


@functools.cache
def shared_zygote():
    """The warm process of the tests, started once; it ends with them."""
    try:
        zygote = Zygote(environment=clean_environment())
    except NotWarmError as reason:
        pytest.skip(f"kernels cannot be forked here: {reason}")
    atexit.register(zygote.close)
    return zygote


def isolation_on(rung):
    reason = why_not(rung)
    if reason is not None:
        pytest.skip(f"{rung} cannot be had here: {reason}")
    return Isolation(rung, {})


def boxed_kernel(rung, limits=SMALL):
    """A kernel on `rung`, forked where that can be."""
    zygote = shared_zygote() if rung == "namespaces" else None
    return start_kernel(isolation_on(rung), zygote, limits)


def warm_kernel(limits=None):
    return start_kernel(zygote=shared_zygote(), limits=limits)


def printed(result):
    """All that a cell printed or gave as its value."""
    assert result.error is None, result.error
    texts = [output.get("text") or output.data["text/plain"] for output in result.outputs]
    return "".join(texts)
