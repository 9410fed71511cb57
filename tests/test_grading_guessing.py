import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.guessing import bits

ENOUGH = 16


@pytest.mark.parametrize(
    "value",
    [None, True, 7, 0.5, math.nan, math.inf, [2, 3], [], {}, torch.zeros(100), torch.ones(3, 3) / 2,
     torch.tensor([True, False, True]), "y", {"a": 1, "b": True}, 2 + 1j, torch.tensor(0.0)],
    ids=repr,
)  # fmt: skip
def test_what_can_be_guessed_has_few_bits(value):
    assert bits(value) < ENOUGH


@pytest.mark.parametrize(
    "value",
    [0.1234, torch.rand(2), torch.randn(3, dtype=torch.complex64), "twelve chars", list(range(10)),
     torch.rand(40) < 0.5, {"a": torch.rand(()).item()}, 123_456, complex(0.1, 0.2)],
    ids=str,
)  # fmt: skip
def test_what_can_not_be_guessed_has_many_bits(value):
    assert bits(value) >= ENOUGH


@given(st.lists(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(), max_size=8))
def test_more_to_say_never_takes_fewer_bits(values):
    assert 0 <= bits(values) <= bits([*values, 0.1234]) + 1e-9
    assert bits(values) == pytest.approx(
        bits({str(place): one for place, one in enumerate(values)})
    )
