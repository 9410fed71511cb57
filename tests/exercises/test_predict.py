"""Predict, then run: choices, a silent guess, what came and why."""

import re

import pytest

import d2lcompute as d2c
from d2lcompute.exercises import predict as prediction
from d2lcompute.exercises.exercise import SECTIONS, predictions

NAME = "blocks.children"


@pytest.fixture(autouse=True)
def a_new_reader(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(prediction, "_guesses", {})


@pytest.fixture
def shown(capsys):
    """The lines that a call prints, without their indent."""

    def call(function, *arguments):
        function(*arguments)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return call


def test_three_dots_show_the_choices(shown):
    question, *choices = shown(d2c.predict, NAME, ...)
    assert question.startswith(f"{NAME}  What does `NaiveSequential")
    assert choices == ["a  3.0", "b  1.0", "c  an error"]
    assert shown(d2c.predict, NAME) == [question, *choices]


@pytest.mark.parametrize(
    ("guess", "verdict"), [("b", "b: right"), ("A", "a: not this time"), ("c", "c: not this time")]
)
def test_a_guess_is_noted_in_silence_and_answered_by_the_next_cell(shown, guess, verdict):
    assert shown(d2c.predict, NAME, guess) == []
    title, came, yours, right, why = shown(d2c.reveal, NAME, 1)
    assert (title, came, yours, right) == (
        NAME,
        "came  1",
        f"your guess  {verdict}",
        "right  b  1.0",
    )
    assert why.startswith("why  ")


def test_without_a_guess_nothing_is_said_of_one(shown):
    assert not any("guess" in line for line in shown(d2c.reveal, NAME, 1))
    shown(d2c.predict, NAME, "a")
    shown(d2c.predict, NAME, ...)  # whoever runs the notebook anew begins anew
    assert not any("guess" in line for line in shown(d2c.reveal, NAME, 1))


def test_the_first_guess_counts_and_predictions_are_counted_apart(shown):
    assert len(d2c.progress().notes) == 1
    for guess in "ab":
        d2c.predict(NAME, guess)
    assert d2c.progress().notes[1] == "0 of 1 predictions right"


@pytest.mark.parametrize("guess", ["d", "", "ab", 1, None])
def test_a_choice_that_does_not_exist_names_the_others(guess):
    error = ValueError if isinstance(guess, str) else TypeError
    with pytest.raises(error, match=r"`guess` must be the letter of a choice, got .*; do choose"):
        d2c.predict(NAME, guess)


@pytest.mark.parametrize("function", [d2c.predict, lambda name: d2c.reveal(name, 1)])
def test_an_unknown_prediction_names_near_ones(function):
    with pytest.raises(ValueError, match=r"must be a prediction, .* such as 'blocks.children'"):
        function("blocks.childen")


def test_the_words_are_chinese_where_the_notebook_is(shown, chinese):
    for line in [*shown(d2c.predict, NAME, ...)[:1], *shown(d2c.reveal, NAME, 1)[2:]]:
        assert re.search("[\u4e00-\u9fff]", line)


def test_every_prediction_is_complete():
    for section in SECTIONS:
        for name, one in predictions(section).items():
            assert name.startswith(f"{section}.")
            assert one.question.endswith("?")
            assert one.why.endswith(".")
            assert 2 <= len(one.choices) <= 5
            assert 0 <= one.right < len(one.choices)
