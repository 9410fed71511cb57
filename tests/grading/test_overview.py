import csv
import io
from collections import Counter
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading import overview
from d2lcompute.grading.formats import shown
from d2lcompute.grading.overview import find_alike, questions, to_csv
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Mark, Result

HEADING = Heading("Homework", "digest", {"easy": 2.0, "hard": 4.0, "odd": 4.0, "why": 3.0})


def result(name, easy, hard, odd, details="", **more):
    marks = (
        Mark("easy", 2.0, easy, False, "" if easy else "no answer", seconds=0.5),
        Mark("hard", 4.0, hard, True, "" if hard else "differs", details, seconds=1.5),
        Mark("odd", 4.0, odd, False, "" if odd else "no answer"),
        Mark("why", 3.0, False, False, TO_BE_MARKED, written=True),
    )
    return Result(name, "d", marks, **more)


CLASS = [
    result("a", True, True, False),
    result("b", True, True, False),
    result("c", True, True, False),
    result("d", True, False, True, "by 0.25 at (1,)"),
    result("e", True, False, True, "by 1e-07 at (12,)"),
    result("f", True, False, True, "another shape"),
]


@pytest.fixture
def found():
    return {each.name: each for each in questions(HEADING, CLASS)}


def test_each_question_has_its_numbers(found):
    hard = found["hard"]
    assert (hard.answers, hard.full, hard.mean, hard.seconds) == (6, 3, 2.0, 1.5)
    assert (hard.rate, hard.hidden) == (0.5, True)


def test_discrimination_is_the_correlation_with_the_rest():
    class_ = [result("a", True, True, True), result("b", True, True, False)]
    class_ += [result("c", True, False, True), result("d", False, False, False)]
    (hard,) = [each for each in questions(HEADING, class_) if each.name == "hard"]
    # Its points are 4, 4, 0, 0; those of the rest 6, 2, 6, 0, with a mean of 3.5.
    assert hard.discrimination == pytest.approx(4 / (16 * 27) ** 0.5)


def test_questions_that_teach_nothing_are_told_to_their_author(found):
    assert found["easy"].discrimination is None
    assert found["easy"].remark == "all pass: it tells nobody apart"
    assert found["odd"].discrimination == pytest.approx(-1.0)
    assert found["odd"].remark == "who does well elsewhere fails here: is the check right?"
    nobody = questions(HEADING, [result(name, False, True, True) for name in "abcde"])
    assert nobody[0].remark.startswith("nobody passes")


def test_a_question_without_relation_to_the_others_is_not_called_wrong():
    class_ = [
        result(f"{number}", number % 2, number // 2 % 2, number // 4 % 2) for number in range(8)
    ]
    easy = questions(HEADING, [*class_, result("9", True, False, False)])[0]
    assert easy.correlation == -0.13
    assert easy.remark == ""
    (hard,) = [each for each in questions(HEADING, class_) if each.name == "hard"]
    assert shown(hard.correlation) == "0"


def test_few_answers_say_nothing_yet():
    assert questions(HEADING, [result("a", True, True, True)])[0].remark == ""


def test_wrong_answers_are_gathered_whatever_their_numbers(found):
    clusters = [(one.said, one.submissions) for one in found["hard"].wrong]
    assert clusters == [
        ("differs: by 0.25 at (1,)", ("d", "e")),
        ("differs: another shape", ("f",)),
    ]


def test_what_is_not_marked_or_does_not_count_is_left_out(found):
    assert "why" not in found
    more = [
        *CLASS,
        result("g", False, False, False, counts=False),
        result("h", 0, 0, 0, trouble="x"),
    ]
    assert questions(HEADING, more) == questions(HEADING, CLASS)


def test_the_table_has_a_row_for_each():
    rows = list(csv.DictReader(io.StringIO(to_csv(questions(HEADING, CLASS)))))
    assert [row["question"] for row in rows] == ["easy", "hard", "odd"]
    assert rows[1]["wrong answers"].splitlines()[0] == "2: differs: by 0.25 at (1,)"
    assert rows[0]["remark"] == "all pass: it tells nobody apart"


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
    runs = [overview._runs(overview.normalized(source)) for source in sources]
    often = Counter(run for own in runs for run in own)
    rare = [{run for run in own if often[run] <= overview.OFTEN} for own in runs]
    groups = [{number} for number in range(len(sources))]
    for first, second in combinations(range(len(sources)), 2):
        shared, either = rare[first] & rare[second], rare[first] | rare[second]
        if len(shared) >= overview.FEWEST_RUNS and len(shared) >= overview.SHARE * len(either):
            joined = [group for group in groups if group & {first, second}]
            groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    return sorted(sorted(group) for group in groups if len(group) > 1)


@given(classes())
def test_who_is_compared_with_few_is_found_as_if_with_all(sources):
    found = find_alike({f"{number}": {"q": each} for number, each in enumerate(sources)}, {})
    assert sorted(sorted(map(int, group.submissions)) for group in found) == all_with_all(sources)


def test_few_sets_are_compared_however_many_there_are(monkeypatch):
    compared = []
    monkeypatch.setattr(overview, "_share", lambda *pair: compared.append(pair))
    sources = [LONG.replace("1e-3", f"{number} + h{number}(new)") for number in range(400)]
    find_alike({f"{number}": {"q": each} for number, each in enumerate(sources)}, {"q": [LONG]})
    assert len(compared) < 400
