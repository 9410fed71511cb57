from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.seeing.fold import fold

letters = st.text("abc", max_size=40)


def runs(items):
    return [(run.count, run.unit) for run in fold(items, str)]


@given(letters)
def test_runs_together_are_the_items(items):
    assert "".join(unit * count for count, unit in runs(items)) == items
    assert "".join(run.items for run in fold(items, str)) == items
    assert all(count > 1 or len(unit) == 1 for count, unit in runs(items))


@given(st.text("ab", min_size=1, max_size=5), st.integers(2, 9))
def test_what_repeats_folds_into_one_run(unit, count):
    (found,) = runs(unit * count)
    assert found[0] * len(found[1]) == len(unit) * count
    assert found[0] >= count


def test_the_fold_that_saves_most_wins():
    assert runs("aabaabaab") == [(3, "aab")]
    assert runs("xabababy") == [(1, "x"), (3, "ab"), (1, "y")]


def test_columns_hold_what_stands_in_each_place_of_the_unit():
    (run,) = fold([("a", 1), ("b", 1), ("a", 2), ("b", 2)], lambda item: item[0])
    assert run.columns() == [[("a", 1), ("a", 2)], [("b", 1), ("b", 2)]]


def test_likeness_may_depend_on_both_items():
    counting = list(range(10))
    (run,) = fold(counting, type, lambda before, after: after == before + 1)
    assert (run.count, list(run.unit)) == (10, [0])
