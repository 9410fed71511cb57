import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from d2lcompute.notebooks.compare import Widening, differences


def agree(stored, shown, **widening):
    return not differences(stored, shown, Widening(**widening))


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("loss 0.1234", "loss 0.1236"),
        ("accuracy 98.76%", "accuracy 98.77%"),
        ("1.2345e+08", "1.2346e+08"),
        ("3.1415926", "3.1415930"),
        ("9999.999", "9999.995"),
        ("0.30000000000000004", "0.3"),
        ("1e-05", "1.0000000000000001e-05"),
        ("0.1234+0.5678j", "0.1235+0.5677j"),
        ("12,345.67 EUR", "12,345.68 EUR"),
        ("took 12.34ms", "took 12.35ms"),
        ("conversion: 12.34 %", "conversion: 12.35 %"),
        ("0.1234/0.5678", "0.1235/0.5679"),
        ("准确率0.9876。", "准确率0.9877。"),
        ("<td>0.33333</td>", "<td>0.33334</td>"),
        ("0.1231", "0.123"),  # as round(x, 4) prints
    ],
)
def test_a_float_of_four_digits_may_move_by_two_of_its_last(stored, shown):
    assert agree(stored, shown)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("tensor([1.2345, 0.0012])", "tensor([1.2344, 0.0010])"),
        ("[[0.5    0.1234]\n [0.25   0.1234]]", "[[0.5001 0.1234]\n [0.25   0.1234]]"),
        ("tensor([1., 2.])", "tensor([1.0000, 2.0000])"),
        ("tensor([ 1.0000, -0.0001])", "tensor([1.0000, 0.0000])"),
        ("tensor([0.1235, 0.0000])", "tensor([1.2346e-01, 2.9802e-08])"),
        ("tensor([0.1230, 0.0000])", "tensor([1.2304e-01, 2.9802e-08])"),
        ("tensor([1.2346e-01, 2.9802e-08])", "tensor([0.1235, 0.0000])"),
    ],
)
def test_a_short_float_goes_with_the_largest_of_its_array(stored, shown):
    assert agree(stored, shown)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("tensor([ 1.0000e+00, -4.4703e-08])", "tensor([1.0000e+00, 2.9802e-08])"),
        ("[1.0, 5.551115123125783e-17]", "[1.0, 0.0]"),
        ("norm 5.1234, error 9.5367e-07", "norm 5.1234, error 4.7684e-07"),
        ("mean  -1.776357e-17\nstd    1.000000e+00", "mean   3.552714e-17\nstd    1.000000e+00"),
        (
            "<table><tr><td>-1.4685e-15</td></tr><tr><td>1.0033</td></tr>",
            "<table><tr><td>2.5e-16</td></tr><tr><td>1.0033</td></tr>",
        ),
        ("loss -0.0000", "loss 0.0000"),
    ],
)
def test_a_residue_may_be_any_other(stored, shown):
    assert agree(stored, shown)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("tensor([ 1.0000, -0.0000])", "tensor([1.0000, 0.0000])"),
        (
            "tensor([[ 1.0000, -0.0000],\n        [ 0.5000,  0.2500]])",
            "tensor([[1.0000, 0.0000],\n        [0.5000, 0.2500]])",
        ),
        ("| a      |\n|--------|\n| 9.9999 |", "| a       |\n|---------|\n| 10.0000 |"),
        ("     loss\n1  9.9999", "      loss\n1  10.0000"),
        ("loss  9.9999", "loss 10.0000"),
        ("loss 9.9999  of many", "loss 10.0000 of many"),
    ],
)
def test_padding_follows_the_length_of_numbers(stored, shown):
    assert agree(stored, shown)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("128 parameters", "129 parameters"),
        ("100000000", "100000001"),
        ("torch.Size([2, 10])", "torch.Size([2, 11])"),
        ("There are 1234.", "There are 1235."),
        ("loss 0.1234", "loss 0.1237"),
        ("999.999", "999.995"),
        ("9999.999", "9999.888"),
        ("tensor([1.])", "tensor([2.])"),
        ("tensor([1234.])", "tensor([1235.])"),
        ("0.5", "0.6"),
        ("p = 0.001", "p = 0.002"),
        ("loss 0.000", "loss 0.001"),
        ("1.2345e-06", "1.2355e-05"),
        ("total 12345.67 EUR", "total 12346.80 EUR"),
        ("1700000000.1", "1700100000.1"),
        ("h = 1.602e-19", "h = 6.626e-34"),
        ("charge -1.602e-19", "charge +1.602e-19"),
        ("eps 1e-12", "eps 1e-08"),
        ("p-value 3.2e-10", "p-value 9.1e-07"),
        ("weight decay 1e-7", "weight decay 0.0"),
        ("[0.001, 1234.5]", "[0.003, 1234.5]"),
        ("tensor([1.2345, 0.0001])", "tensor([1.2345, -0.0001])"),
        ("tensor([1.0000e+00, 2.5000e-01])", "tensor([2., 0.])"),
    ],
)
def test_a_number_that_a_reader_would_see_to_be_another_is_noticed(stored, shown):
    assert not agree(stored, shown)
    assert not agree(shown, stored)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("tensor([1, 2])", "tensor([1., 2.])"),
        ("5", "5.0"),
        ("3", "2.9999"),
        ("count 100", "count 100.005"),
        ("12.50 EUR", "12.5 EUR"),
        ("nan", "0.0"),
        ("-0. 1.", "0. 1."),
    ],
)
def test_the_kind_of_a_number_and_how_it_is_written_are_compared(stored, shown):
    assert not agree(stored, shown)
    assert not agree(shown, stored)


def test_a_whole_float_is_exact_unless_it_shows_more_digits():
    assert not agree("2020.0", "2020.2")
    assert not agree("tensor([1234., 1.])", "tensor([1235., 1.])")
    assert agree("2020.0", "2020.0000000000002")
    assert agree("tensor([1234., 1.])", "tensor([1234.0001,    1.0000])")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("fastapi 0.115.2", "fastapi 0.116.2"),
        ("numpy==12.45", "numpy==12.46"),
        ("Driver Version: 550.54", "Driver Version: 550.55"),
        ("__version__ = 22.04", "__version__ = 22.05"),
        ("RELEASE (22.04)", "RELEASE (22.05)"),
        ("2024-01-15 12:34:56.789", "2024-01-15 12:34:56.788"),
        ("127.0.0.1", "127.0.0.2"),
        ("https://releases/22.04/", "https://releases/22.05/"),
        ("<A at 0x7f12>", "<A at 0x7f13>"),
        ("commit 1234e56", "commit 1235e56"),
        ("model-0.1234.pt", "model-0.1235.pt"),
        ("conv2d", "conv3d"),
        ("12.34ms", "12.34s"),
        ("net1.weight", "net2.weight"),
        ("accuracy 0.5", "loss 0.5"),
        ("0.5 0.5", "0.5"),
        ("", "0.5"),
    ],
)
def test_names_versions_times_and_addresses_are_compared_to_the_letter(stored, shown):
    assert not agree(stored, shown)
    assert not agree(shown, stored)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("a\nb", "a b"),
        ("a b", "a  b"),
        ("if x:\n    y = 1\nz", "if x:\ny = 1\n    z"),
        ("tensor([1.0000, 2.0000])", "tensor([1.0000,  2.0000])"),
        ("tensor([ 1.0000, 2.0000])", "tensor([1.0000, 2.0001])"),  # of the same length
        ("loss 9.9999\n  a", "loss 10.0000\na"),
        ("x\n", "x"),
        ("x ----", "x -----"),
        ("[9.9999] [ 1.5]", "[10.0000] [1.5]"),
        ("a [ 9.9999]", "a  [10.0000]"),
        ("a  9.9999\nb  1.5", "a  10.0000\n\nb  1.5"),
        ("loss   9.9999 b", "loss 10.0000 b"),
        ("loss 9.9999  a  b", "loss 10.0000 a b"),
    ],
)
def test_blanks_are_compared(stored, shown):
    assert not agree(stored, shown)
    assert not agree(shown, stored)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("c = 299792458.0\nG = 6.674300e-11", "c = 299792458.0\nG = -6.674300e-11"),
        (
            "name         value\n0    c  2.997925e+08\n1    G  6.674300e-11",
            "name         value\n0    c  2.997925e+08\n1    G  6.674300e-12",
        ),
        (
            "      E/eV           E/J\n0  1.00000  1.602177e-19\n1  2.00000  3.204353e-19",
            "      E/eV           E/J\n0  1.00000  1.602177e-20\n1  2.00000  3.204353e-19",
        ),
        (
            "<table><tr><td>1.0033</td><td>1.602177e-19</td></tr>",
            "<table><tr><td>1.0033</td><td>1.602177e-20</td></tr>",
        ),
        ("tensor([12.5000, -1000.0000, 0.0025])", "tensor([12.5000, -1000.0000, -0.0025])"),
        (
            "TtestResult(statistic=-6.6712, pvalue=3.2145e-10)",
            "TtestResult(statistic=-6.6712, pvalue=9.1023e-07)",
        ),
        ("array([1.6702e-25, 4.4923e-17])", "array([1.6702e-26, 4.4923e-17])"),
        ("array([1.6702e-01, 4.4923e+07])", "array([1.6702e-02, 4.4923e+07])"),
        ("tensor([1.0000e+00, 3.7835e-44])", "tensor([1.0000e+00, 3.7835e-40])"),
        (
            "        PR(>F)\ngroup   8.512000e-01\nsite    3.214500e-10",
            "        PR(>F)\ngroup   8.512000e-01\nsite    9.102300e-10",
        ),
        ("eps=1.19209e-07, max=3.40282e+38", "eps=2.22045e-16, max=3.40282e+38"),
        ("tensor(9.5367e-07)", "tensor(4.7684e-07)"),
        ("norm 5.1234, error 9.5367e-07", "norm 5.1234, error 4.8e-07"),
    ],
)
def test_a_small_number_that_means_something_is_no_residue(stored, shown):
    assert not agree(stored, shown)
    assert not agree(shown, stored)


def test_the_users_tolerance_widens_that_of_floats_only():
    assert agree("0.5", "0.6", rtol=0.2)
    assert agree("0.5", "0.6", atol=0.11)
    assert not agree("0.5", "0.6", rtol=0.1)
    assert agree("-1e-9", "1e-9", atol=1e-8)
    assert not agree("5", "6", rtol=10)
    assert not agree("torch 2.13.0", "torch 2.14.0", rtol=10)


def test_all_numbers_that_moved_are_told_up_to_the_first_other_difference():
    found = differences("0.5 0.25 a 0.5 b", "0.6 0.35 a 0.5 c")
    assert [each.kind for each in found] == ["number", "number", "word"]
    assert len(differences("0.5 " * 50, "0.6 " * 50)) == 20
    assert len(differences("a 0.5 0.5", "b 0.6 0.6")) == 1


@given(st.text())
def test_a_text_agrees_with_itself_only(text):
    assert agree(text, text)
    assert not agree(text, text + "x")


@given(st.floats(1, 1e6), st.integers(-2, 2), st.integers(3, 6))
def test_a_number_agrees_with_one_two_units_away(number, units, decimals):
    moved = f"{number + units * 10.0**-decimals:.{decimals}f}"
    assert agree(f"x = {number:.{decimals}f},", f"x = {moved},")


@given(st.integers(), st.integers())
def test_integers_agree_only_if_they_are_equal(one, other):
    assert agree(f"({one}, )", f"({other}, )") == (one == other)


pieces = st.text("019.-+eE[]()|,:/= \n\tnaifj─", max_size=6)


@given(st.lists(pieces, max_size=6), st.lists(pieces, max_size=6))
@example(["["], ["]"])
@example(["1.234e5-1"], ["1.235e5-1"])
@example(["1e99999", "1.5"], ["1.2345e-99999", " 1.5"])
@settings(max_examples=300)
def test_any_two_texts_can_be_compared(one, other):
    agree(" 1.2345\n".join(one), " 1.2346\n".join(other))


@given(pieces.filter(bool), pieces.filter(bool))
@example(" ", "1")
@example("1", "1")
@example("[", "[1.2345, ")
@example("1.2345e-9 ", "1.2346e-9 ")
@example("a  1.2345e-17  1.5000\n", "a  2.2345e-17  1.5000\n")
@settings(max_examples=30)
def test_long_texts_take_linear_time(one, other):
    """A quadratic step would take minutes here."""
    long, longer = one * (100_000 // len(one)), other * (100_000 // len(other))
    agree(long + "x", long + "y")
    agree(long + "1.2345]", longer + "1.2346]")
    agree(f"[{long}", f"[{longer} ")
    agree(f"{long}\n  1.2345", f"{longer}\n  1.2346")


@pytest.mark.parametrize("digit", ["1", "0"])
def test_numbers_of_any_size_are_compared(digit):
    many = digit * 300_000
    assert agree(f"0.{many}1", f"0.{many}2") == (digit == "1")
    assert not agree(many + "1", many + "2")
    assert agree("1e400 0.1235", "1e400 0.1236")
    assert not agree("1.5e99999", "1.5e-99999")
