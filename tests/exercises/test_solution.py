"""Another way, once an exercise is passed."""

import pytest

import d2lcompute as d2c
from d2lcompute.exercises import progress as records


def test_before_an_exercise_is_passed_a_word_says_so(said, capsys):
    assert d2c.solution("blocks.item") is None
    assert capsys.readouterr().out.startswith("blocks.item is not passed yet: `check(")


def test_after_that_the_code_is_shown(said):
    records.note(passed="blocks.item")
    shown = d2c.solution("blocks.item")
    assert repr(shown).startswith("def halve(X):")
    assert shown._repr_markdown_() == f"```python\n{shown.code}```"


def test_an_unknown_exercise_names_near_ones():
    with pytest.raises(ValueError, match=r"must be an exercise, .* such as 'blocks.item'"):
        d2c.solution("blocks.itm")
