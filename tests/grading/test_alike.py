from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading import alike
from d2lcompute.grading.alike import find_alike

LONG = """
class Settle(nn.Module):
    def __init__(self, layer, steps):
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, X):
        H = X
        for _ in range(self.steps):
            new = torch.tanh(self.layer(H))
            moved = (new - H).abs().max()
            H = new
            if moved < 1e-3:
                break
        return H
"""
RENAMED = LONG.replace("new", "after").replace("moved", "d").replace("H", "state")
COMMENTED = RENAMED.replace("H = X", "H = X  # begin").replace(
    "layer, steps):", "layer, steps: int):"
)
OTHER = """
class Settle(nn.Module):
    def __init__(self, layer, steps):
        super().__init__()
        self.layer = layer
        self.steps = steps

    def forward(self, X):
        count, done = 0, False
        while not done and count < self.steps:
            old, X = X, self.layer(X).tanh()
            done = bool((old - X).abs().lt(0.001).all())
            count += 1
        return X
"""


def groups(*sources, ours=()):
    answers = {name: {"q": source} for name, source in zip("abcdefghij", sources, strict=False)}
    return [(group.submissions, group.identical) for group in find_alike(answers, {"q": ours})]


@pytest.mark.parametrize("copy", [LONG, RENAMED, COMMENTED, LONG.replace("    ", "  ")])
def test_names_comments_and_layout_hide_nothing(copy):
    assert groups(LONG, copy, OTHER) == [(("a", "b"), True)]


def test_a_small_change_makes_it_nearly_identical():
    changed = LONG.replace("return H", "print(H)\n        return H")
    assert groups(LONG, changed) == [(("a", "b"), False)]


def test_answers_of_people_who_thought_for_themselves_are_not_alike():
    assert groups(LONG, OTHER) == []


def test_what_the_course_gave_is_not_alike():
    assert groups(LONG, RENAMED, ours=[LONG]) == []
    stub = LONG[: LONG.index("    def forward")]
    assert groups(stub, stub, ours=[stub]) == []


def test_what_most_wrote_says_nothing():
    assert groups(*[LONG] * 6) == []
    assert len(groups(*[LONG] * 5)) == 1


def test_short_answers_are_not_listed():
    assert groups("y = 2 * x", "y = 2 * x") == []


def test_code_that_can_not_be_parsed_is_compared_all_the_same():
    broken = LONG + "\n    return ("
    assert groups(broken, broken) == [(("a", "b"), True)]


@pytest.mark.parametrize(
    "source",
    ["-" * 5000 + "x", "x = " + "9" * 5000, "f(" * 3000 + ")" * 3000, "x\0y", "é = 1\n" * 99999],
)
def test_code_of_any_kind_ends_nothing(source):
    assert groups(source) == []


def test_groups_join_by_their_members():
    first = LONG.replace("return H", "print(H)\n        return H")
    second = LONG.replace("H = X", "H = X + 0")
    assert groups(first, LONG, second) == [(("a", "b", "c"), False)]


numbers = st.integers(0, 40)


@st.composite
def classes(draw):
    """Programs of a few people, and of others who changed a few of their lines."""
    everybody = draw(st.lists(st.lists(numbers, min_size=3, max_size=12), min_size=1, max_size=4))
    for _ in range(draw(st.integers(1, 6))):
        changed = list(draw(st.sampled_from(everybody)))
        for _ in range(draw(st.integers(0, 2))):
            changed[draw(st.integers(0, len(changed) - 1))] = draw(numbers)
        everybody.append(changed)
    return ["\n".join(f"x = f{each}(x, {each})" for each in own) for own in everybody]


def all_with_all(sources):
    """Groups by what alike means: each is compared with each, and pairs are joined."""
    runs = [alike._runs(alike.normalized(source)) for source in sources]
    often = Counter(run for own in runs for run in own)
    rare = [{run for run in own if often[run] <= alike.OFTEN} for own in runs]
    groups = [{number} for number in range(len(sources))]
    for first, second in combinations(range(len(sources)), 2):
        shared, either = rare[first] & rare[second], rare[first] | rare[second]
        if len(shared) >= alike.FEWEST and len(shared) >= alike.SHARE * len(either):
            joined = [group for group in groups if group & {first, second}]
            groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return sorted(sorted(group) for group in groups if len(group) > 1)


@given(classes())
def test_who_is_compared_with_few_is_found_as_if_with_all(sources):
    found = find_alike({f"{number}": {"q": each} for number, each in enumerate(sources)}, {})
    assert sorted(sorted(map(int, group.submissions)) for group in found) == all_with_all(sources)


def test_few_sets_are_compared_however_many_there_are(monkeypatch):
    compared = []
    monkeypatch.setattr(alike, "_share", lambda *pair: compared.append(pair))
    sources = [LONG.replace("1e-3", f"{number} + h{number}(new)") for number in range(400)]
    find_alike({f"{number}": {"q": each} for number, each in enumerate(sources)}, {"q": [LONG]})
    assert len(compared) < 400
