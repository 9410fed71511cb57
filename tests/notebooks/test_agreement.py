import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.notebooks.agreement import Tolerance


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("loss 0.1234", "loss 0.1235"),
        ("tensor([ 1.0000, -0.5000])", "tensor([1.0000, -0.5000])"),
        ("tensor([1., 2.])", "tensor([1.0000, 2.0000])"),
        ("9.3132e-10", "-1.8626e-09"),
        ("nan inf", "nan inf"),
        ("<td>0.33333</td>", "<td>0.33334</td>"),
        ("1.2345e+08", "1.2346e+08"),
        ("[[0.10001,\n  0.2]]", "[[0.10002,\n 0.2]]"),
    ],
)
def test_the_last_digits_of_numbers_may_differ(reference, shown):
    assert Tolerance().agree(reference, shown)
    assert Tolerance().agree(shown, reference)


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("128 parameters", "129 parameters"),
        ("100000000", "100000001"),
        ("torch.Size([2, 10])", "torch.Size([2, 11])"),
        ("loss 0.1234", "loss 0.1236"),
        ("tensor([1.])", "tensor([2.])"),
        ("0.5", "0.6"),
        ("conv2d", "conv3d"),
        ("net1.weight", "net2.weight"),
        ("accuracy 0.5", "loss 0.5"),
        ("0.5 0.5", "0.5"),
        ("1.2345e-06", "1.2355e-05"),
        ("nan", "0.0"),
        ("", "0.5"),
    ],
)
def test_anything_else_may_not(reference, shown):
    assert not Tolerance(atol=1e-9).agree(reference, shown)
    assert not Tolerance(atol=1e-9).agree(shown, reference)


@given(st.text())
def test_a_text_agrees_with_itself(text):
    assert Tolerance(0, 0).agree(text, text)


@given(st.floats(-1e6, 1e6), st.floats(-1e-5, 1e-5))
def test_a_number_agrees_with_one_within_the_relative_tolerance(number, relative):
    assert Tolerance().agree(f"x = {number!r},", f"x = {number * (1 + relative)!r},")


@given(st.integers(), st.integers())
def test_integers_agree_only_if_they_are_equal(one, other):
    assert Tolerance().agree(f"({one}, )", f"({other}, )") == (one == other)
