import gc

import pytest

import d2lcompute as d2c
from d2lcompute.passes.run import collector_paused


@collector_paused()
def fail():
    raise KeyError(gc.isenabled())


def test_the_collector_rests_and_goes_on_even_after_an_error():
    with pytest.raises(KeyError, match="False"):
        fail()
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    try:
        with collector_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("report", [d2c.trace, d2c.infer_shapes])
def test_a_report_leaves_the_collector_on(report):
    assert str(report(d2c.mlp(3, 2), (1, 4)))
    assert gc.isenabled()
