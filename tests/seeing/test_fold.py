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


def test_likeness_may_depend_on_where_a_run_begins():
    counting = list(range(10))

    def is_next(start, length, place):
        return counting[place] - counting[place - length] == 1 and place < 6

    found = list(fold(counting, type, is_next))
    assert [(run.count, list(run.unit)) for run in found] == [
        (6, [0]), *((1, [number]) for number in range(6, 10)),
    ]  # fmt: skip


def test_only_what_is_worth_it_is_folded():
    def is_worth(run):
        return run.count > 2

    assert [(r.count, r.unit) for r in fold("aababab", str, is_worth=is_worth)] == [
        (1, "a"), (3, "ab"),
    ]  # fmt: skip


@given(st.text("ab", max_size=60))
def test_a_unit_of_several_shorter_ones_is_never_better(items):
    """What is skipped for speed would not have been chosen."""
    for run in fold(items, str):
        unit = run.unit
        shorter = [n for n in range(1, len(unit)) if len(unit) % n == 0]
        assert not any(unit[:n] * (len(unit) // n) == unit for n in shorter)
