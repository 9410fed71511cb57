import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.guessing import bits

ENOUGH = 16


FEW = {
    "none": None, "true": True, "seven": 7, "half": 0.5, "nan": math.nan, "infinity": math.inf,
    "shape": [2, 3], "empty list": [], "empty dict": {}, "zeros": torch.zeros(100),
    "equal": torch.ones(3, 3) / 2, "booleans": torch.tensor([True, False, True]), "letter": "y",
    "dict": {"a": 1, "b": True}, "complex": 2 + 1j, "zero": torch.tensor(0.0),
}  # fmt: skip
MANY = {
    "float": 0.1234, "two floats": torch.rand(2), "complex": torch.randn(3, dtype=torch.complex64),
    "text": "twelve chars", "range": list(range(10)), "booleans": torch.rand(40) < 0.5,
    "dict": {"a": torch.rand(()).item()}, "integer": 123_456, "one complex": complex(0.1, 0.2),
}  # fmt: skip


@pytest.mark.parametrize("value", FEW.values(), ids=FEW)
def test_what_can_be_guessed_has_few_bits(value):
    assert bits(value) < ENOUGH


@pytest.mark.parametrize("value", MANY.values(), ids=MANY)
def test_what_can_not_be_guessed_has_many_bits(value):
    assert bits(value) >= ENOUGH


@given(st.lists(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(), max_size=8))
def test_more_to_say_never_takes_fewer_bits(values):
    assert 0 <= bits(values) <= bits([*values, 0.1234]) + 1e-9
    assert bits(values) == pytest.approx(
        bits({str(place): one for place, one in enumerate(values)})
    )
