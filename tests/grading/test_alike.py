import pytest

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
