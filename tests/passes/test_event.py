import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.passes.event import statistics

numbers = st.lists(
    st.floats(allow_nan=True, allow_infinity=True, width=32), min_size=1, max_size=30
)


@given(numbers)
def test_numbers_are_those_of_the_finite_values(values):
    tensor = torch.tensor(values, dtype=torch.float64)
    finite = tensor[tensor.isfinite()]
    found = statistics(tensor)
    assert (found.count, found.not_finite) == (len(values), len(values) - len(finite))
    assert found.zeros == (finite == 0).sum().item() / len(values)
    if len(finite):
        assert (found.least, found.most) == (finite.min().item(), finite.max().item())
        assert math.isclose(found.mean, finite.mean().item(), rel_tol=1e-9, abs_tol=1e-300)
    else:
        assert math.isnan(found.mean)


PIECES = torch.ones(2, 1), torch.zeros(7, 1)
ODD = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "sparse by rows": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor(list(PIECES)),
    "jagged": lambda: torch.nested.nested_tensor(list(PIECES), layout=torch.jagged),
    "quantized": lambda: torch.quantize_per_tensor(torch.eye(3), 1.0, 0, torch.qint8),
}


@pytest.mark.filterwarnings("ignore")  # some of these kinds are new, and some on their way out
@pytest.mark.parametrize("kind", ODD)
def test_tensors_of_every_kind_have_numbers(kind):
    found = statistics(ODD[kind]())
    is_nested = kind in ("nested", "jagged")
    assert (found.count, found.least, found.most, found.not_finite) == (9, 0, 1, 0)
    assert found.mean == pytest.approx(2 / 9 if is_nested else 1 / 3)
    assert (found.spread is None) == is_nested


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_doubles_of_any_size_have_a_deviation(scale):
    found = statistics(torch.tensor([1.0, 3.0], dtype=torch.float64) * scale)
    assert (found.mean / scale, found.deviation / scale) == pytest.approx((2.0, 1.0))


def test_spread_is_what_differs_between_examples():
    alike = torch.rand(1, 5).expand(4, 5)
    assert statistics(alike).spread == 0.0
    assert statistics(alike).deviation > 0
    X = torch.rand(4, 5, dtype=torch.float64)
    wanted = X.var(0, correction=0).mean().sqrt()
    assert statistics(X).spread == pytest.approx(wanted.item())
    assert statistics(X[:1]).spread is None


def test_every_kind_of_tensor_has_statistics():
    assert statistics(torch.tensor([True, False])).mean == 0.5
    assert statistics(torch.tensor([3 + 4j])).size == pytest.approx(math.sqrt(12.5))
    assert statistics(torch.eye(3).to_sparse()).zeros == pytest.approx(2 / 3)
    assert statistics(torch.ones(2, dtype=torch.bfloat16)).norm == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize("nothing", [torch.empty(0), torch.empty(3, device="meta")])
def test_what_has_no_values_has_none(nothing):
    assert statistics(nothing) is None
