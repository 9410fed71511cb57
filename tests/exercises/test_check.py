"""The loop: a reader tries, fails, gets hints and passes, or predicts; and what is remembered.

Progress is the person's: wherever a notebook stands, in both languages, and resettable.
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from stored_answers import defined
from torch import nn

import d2lcompute as d2c
from d2lcompute.exercises.check import _file, _note
from d2lcompute.exercises.exercise import SECTIONS, SOLUTION, exercises, hints_for, predictions
from d2lcompute.exercises.judge import judge
from d2lcompute.words.language import _

ALL = {one.name: one for one in exercises()}
every_exercise = pytest.mark.parametrize("name", ALL)


def right(name):
    return defined(ALL[name].material.answers[SOLUTION][0])


def shared_block(make, times):
    return nn.Sequential(*[make()] * times)


def too_few(make, times):
    return nn.Sequential(*(make() for _ in range(times - 1)))


def test_there_are_about_forty_exercises_and_one_at_each_symptom():
    assert 38 <= len(ALL) <= 45
    assert sum(name.startswith("symptoms.") for name in ALL) >= 7


@every_exercise
def test_an_unanswered_exercise_says_what_is_wanted(said, name):
    answer = (..., ...) if ALL[name].pair else ...
    assert said(name, answer) == [name, f"wanted  {ALL[name].material.wanted}"]


@every_exercise
def test_passing_shows_every_step_another_way_and_what_is_next(said, name):
    title, *lines, see, after = said(name, right(name))
    assert title == name
    assert lines == [f"pass  {claim}" for claim in ALL[name].steps]
    assert see == f"see  `solution('{name}')` shows another way"
    assert after.removeprefix("next  ") in set(ALL) - {name}


@every_exercise
@pytest.mark.parametrize("nonsense", [None, 3, "x", print, lambda *_: None, nn.Linear, [], ...])
def test_nonsense_gets_a_fact_and_a_hint(said, name, nonsense):
    if nonsense is ...:
        nonsense = (None, None)
    *_, fail, found, hint = (
        line for line in said(name, nonsense) if not line.startswith(("line", "wanted"))
    )
    assert fail.startswith("fail  ")
    assert found.startswith("found  ")
    assert hint.startswith("hint 1/3  ")


BY_EFFECT = {  # functions that work by what they do, and need not return anything
    "initializers.one-parameter", "initializers.visitor", "files.first-two", "files.resume",
    "devices.parameters", "symptoms.leaf-in-place",
}  # fmt: skip
CLASSES = {name for name, one in ALL.items() if one.material.wanted.startswith("a class")}
FUNCTIONS = [n for n in ALL if n not in BY_EFFECT | CLASSES | {"layers.own"} and not ALL[n].pair]
FORGOTTEN = "found  Your code gave None: is a `return` missing?"


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "lazy.mismatch"])
def test_a_function_without_a_return_hears_of_it(said, name):
    lines = said(name, lambda *_: None)
    assert FORGOTTEN in lines
    assert f"wanted  {ALL[name].material.wanted}" in lines


@pytest.mark.parametrize("name", sorted(CLASSES - {"initializers.custom"}))
def test_a_block_whose_forward_has_no_return_hears_of_it(said, name):
    code = ALL[name].material.answers[SOLUTION][0]
    assert FORGOTTEN in said(name, defined(code.replace("        return ", "        ")))


def test_the_fact_is_always_said_and_hints_grow_by_cause(said):
    seen = [said("blocks.factory", answer) for answer in (shared_block, too_few) * 2]
    one_block = hints_for("blocks.factory", "one block")
    number = hints_for("blocks.factory", "another number")
    assert [lines[-1] for lines in seen] == [
        f"hint 1/3  {one_block[0]}",
        f"hint 1/3  {number[0]}",
        f"hint 2/3  {one_block[1]}",
        f"hint 2/3  {number[1]}",
    ]
    assert [lines[-2] for lines in seen[::2]] == ["found  One block ran 5 times."] * 2


def test_the_strongest_hint_stays(said):
    hints = [said("blocks.factory", shared_block)[-1] for _ in range(5)]
    assert hints[2] == hints[4]
    assert hints[2].startswith("hint 3/3  ")


def test_an_error_in_the_answer_shows_its_own_line(said):
    def repeat(make, times):
        blocks = [make() for _ in range(times)]
        return blocks[times]

    lines = said("blocks.factory", repeat)
    assert "found  Your code raised IndexError: list index out of range" in lines
    (line,) = (line for line in lines if line.startswith("line  "))
    assert re.fullmatch(r"line  \d+: return blocks\[times\]", line)


def test_the_line_is_the_readers_and_not_one_of_torch(said):
    def repeat(make, times):
        net = nn.Sequential(nn.Linear(3, 4), make())
        net(torch.rand(2, 7))
        return net

    lines = said("blocks.factory", repeat)
    assert any(re.fullmatch(r"line  \d+: net\(torch.rand\(2, 7\)\)", line) for line in lines)
    assert lines[-1] == f"hint 1/3  {hints_for('blocks.factory', 'widths do not fit')[0]}"


def test_an_answer_that_takes_other_arguments_hears_what_is_wanted(said):
    lines = said("blocks.factory", lambda make: nn.Sequential(make()))
    assert f"wanted  {ALL['blocks.factory'].material.wanted}" in lines
    assert not any(line.startswith("line") for line in lines)


def test_an_unknown_exercise_names_near_ones():
    with pytest.raises(ValueError, match=r"must be an exercise, .* such as 'blocks.parallel'"):
        d2c.check("blocks.paralel", None)


@pytest.mark.parametrize(("nth", "failed"), [(2, ""), (1, "can learn")])
def test_a_gradient_of_zeros_counts_where_several_draws_show_it(nth, failed):
    made = itertools.count()

    class Asleep(nn.Linear):
        def __init__(self, units):
            super().__init__(1, units)
            self.asleep = next(made) % nth == 0

        def forward(self, X):
            Y = super().forward(X.unsqueeze(-1)).mean(1)
            return Y.detach() + 0 * Y if self.asleep else Y

    verdict = judge(ALL["lazy.varying"], Asleep)
    assert (verdict.failed, verdict.cause) == (failed, failed and "zero gradient")


def test_checking_leaves_the_random_states_alone(said):
    before, python, numpys = torch.get_rng_state(), random.getstate(), np.random.get_state()
    for name in ("blocks.item", "initializers.custom", "devices.two"):
        said(name, right(name))
    said("blocks.item", lambda X: np.random.rand())
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    assert np.array_equal(np.random.get_state()[1], numpys[1])
    assert np.random.get_state()[2] == numpys[2]


def test_checking_on_devices_leaves_the_devices_as_they_were(said):
    before = torch.accelerator.device_count()
    said("devices.two", right("devices.two"))
    said("devices.two", None)
    assert torch.accelerator.device_count() == before


def test_everything_is_said_in_chinese_too(said, chinese):
    lines = said("blocks.factory", shared_block)
    assert [line.split("  ")[0] for line in lines[1:]] == ["未通过", "现象", "提示 1/3"]
    assert all(re.search("[\u4e00-\u9fff]", line.split("  ", 1)[1]) for line in lines[1:])
    passing = said("blocks.factory", right("blocks.factory"))
    assert [line.split("  ")[0] for line in passing[1:]] == ["通过", "通过", "对照", "下一题"]
    assert said("blocks.factory", ...)[1] == f"要求  {_(ALL['blocks.factory'].material.wanted)}"
    assert not re.search("[a-z] [a-z]+ [a-z]", str(d2c.list_exercises().notes))


def test_the_list_of_exercises_names_all_in_order():
    table = d2c.list_exercises()
    assert [row[0] for row in table] == list(ALL)
    assert table.to_dict()["rows"][0]["wanted"] == ALL["blocks.list"].material.wanted


NAMES = [one.name for one in exercises()]
PARALLEL = defined(exercises()[1].material.answers[SOLUTION][0])


def states():
    return {row["exercise"]: row["state"] for row in d2c.progress().to_dict()["rows"]}


def test_what_passed_is_remembered_in_every_folder(said, tmp_path, monkeypatch):
    assert d2c.progress().notes == [f"0 of {len(NAMES)} exercises passed"]
    said("blocks.parallel", PARALLEL)
    said("blocks.factory", None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [name for name, state in states().items() if state == "passed"] == ["blocks.parallel"]
    assert d2c.progress().notes[0].startswith("1 of ")


def test_another_process_knows_it_too(said, tmp_path):
    said("blocks.parallel", PARALLEL)
    code = "import d2lcompute as d2c; print(d2c.progress().notes[0])"
    environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
    shown = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    assert shown == f"1 of {len(NAMES)} exercises passed\n"


def test_both_languages_share_it(said, chinese):
    said("blocks.parallel", PARALLEL)
    assert "已通过" in str(d2c.progress())
    d2c.language("en")
    assert "passed" in str(d2c.progress())


def test_it_can_be_reset(said):
    said("blocks.parallel", PARALLEL)
    assert set(dict(d2c.progress(reset=True).rows).values()) == {None}
    assert d2c.progress(reset=True).notes[0].startswith("0 of ")


def test_passing_twice_counts_once_and_next_is_what_is_left(said):
    for _time in range(2):
        assert said("blocks.parallel", PARALLEL)[-1] == "next  blocks.factory"
    assert d2c.progress().notes[0].startswith("1 of ")


def test_who_has_passed_all_is_told(said):
    for name in NAMES:
        _note(passed=name)
    assert said("blocks.parallel", PARALLEL)[-1].startswith("next  nothing: you have passed all")


@pytest.mark.parametrize("broken", [b"{", b"\xff\xfe", b"[1]\n3\nnull\n", b'{"other": 1}\n'])
def test_what_is_broken_in_the_file_is_left_out(said, tmp_path, broken):
    file = tmp_path / "d2lcompute" / "progress.jsonl"
    file.parent.mkdir()
    file.write_bytes(broken + b"\n" + json.dumps({"passed": "blocks.super"}).encode() + b"\n")
    assert sum(state == "passed" for state in states().values()) == (broken != b"\xff\xfe")
    said("blocks.parallel", PARALLEL)


def test_where_nothing_can_be_written_checking_goes_on(said, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file" / "below"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    lines = said("blocks.parallel", PARALLEL)
    assert any(line.startswith("Your progress could not be written down") for line in lines)


@pytest.mark.parametrize(
    ("platform", "folder"),
    [
        ("linux", ".local/share"),
        ("darwin", "Library/Application Support"),
        ("win32", "AppData/Local"),
    ],
)
def test_the_file_lies_where_the_system_has_a_users_data(monkeypatch, platform, folder):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert _file() == Path.home() / folder / "d2lcompute" / "progress.jsonl"


def test_before_an_exercise_is_passed_a_word_says_so(said, capsys):
    assert d2c.solution("blocks.item") is None
    assert capsys.readouterr().out.startswith("blocks.item is not passed yet: `check(")


def test_after_that_the_code_is_shown(said):
    _note(passed="blocks.item")
    shown = d2c.solution("blocks.item")
    assert repr(shown).startswith("def halve(X):")
    assert shown._repr_markdown_() == f"```python\n{shown.code}```"


def test_an_unknown_exercise_has_no_solution_and_names_near_ones():
    with pytest.raises(ValueError, match=r"must be an exercise, .* such as 'blocks.item'"):
        d2c.solution("blocks.itm")


PREDICTED = "blocks.children"


@pytest.fixture(autouse=True)
def a_new_reader(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("d2lcompute.exercises.check._guesses", {})


@pytest.fixture
def shown(capsys):
    """The lines that a call prints, without their indent."""

    def call(function, *arguments):
        function(*arguments)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return call


def test_three_dots_show_the_choices(shown):
    question, *choices = shown(d2c.predict, PREDICTED, ...)
    assert question.startswith(f"{PREDICTED}  What does `NaiveSequential")
    assert choices == ["a  3.0", "b  1.0", "c  an error"]
    assert shown(d2c.predict, PREDICTED) == [question, *choices]


@pytest.mark.parametrize(
    ("guess", "verdict"), [("b", "b: right"), ("A", "a: not this time"), ("c", "c: not this time")]
)
def test_a_guess_is_noted_in_silence_and_answered_by_the_next_cell(shown, guess, verdict):
    assert shown(d2c.predict, PREDICTED, guess) == []
    title, came, yours, right, why = shown(d2c.reveal, PREDICTED, 1)
    assert (title, came, yours, right) == (
        PREDICTED,
        "came  1",
        f"your guess  {verdict}",
        "right  b  1.0",
    )
    assert why.startswith("why  ")


def test_without_a_guess_nothing_is_said_of_one(shown):
    assert not any("guess" in line for line in shown(d2c.reveal, PREDICTED, 1))
    shown(d2c.predict, PREDICTED, "a")
    shown(d2c.predict, PREDICTED, ...)  # whoever runs the notebook anew begins anew
    assert not any("guess" in line for line in shown(d2c.reveal, PREDICTED, 1))


def test_the_first_guess_counts_and_predictions_are_counted_apart(shown):
    assert len(d2c.progress().notes) == 1
    for guess in "ab":
        d2c.predict(PREDICTED, guess)
    assert d2c.progress().notes[1] == "0 of 1 predictions right"


@pytest.mark.parametrize("guess", ["d", "", "ab", 1, None])
def test_a_choice_that_does_not_exist_names_the_others(guess):
    error = ValueError if isinstance(guess, str) else TypeError
    with pytest.raises(error, match=r"`guess` must be the letter of a choice, got .*; do choose"):
        d2c.predict(PREDICTED, guess)


@pytest.mark.parametrize("function", [d2c.predict, lambda name: d2c.reveal(name, 1)])
def test_an_unknown_prediction_names_near_ones(function):
    with pytest.raises(ValueError, match=r"must be a prediction, .* such as 'blocks.children'"):
        function("blocks.childen")


def test_the_words_are_chinese_where_the_notebook_is(shown, chinese):
    for line in [*shown(d2c.predict, PREDICTED, ...)[:1], *shown(d2c.reveal, PREDICTED, 1)[2:]]:
        assert re.search("[\u4e00-\u9fff]", line)


def test_every_prediction_is_complete():
    for section in SECTIONS:
        for name, one in predictions(section).items():
            assert name.startswith(f"{section}.")
            assert one.question.endswith("?")
            assert one.why.endswith(".")
            assert 2 <= len(one.choices) <= 5
            assert 0 <= one.right < len(one.choices)
