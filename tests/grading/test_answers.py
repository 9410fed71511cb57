import random

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

import d2lcompute as d2c
from d2lcompute.grading import answers, payload


@pytest.fixture
def published(monkeypatch):
    """The displays of a graded check."""
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # a shell warns of another one than its own
    shell = InteractiveShell.instance()
    displays = []
    monkeypatch.setattr(shell.display_pub, "publish", displays.append)
    monkeypatch.setattr(answers, "_graded", False)  # restored afterwards
    yield displays
    InteractiveShell.clear_instance()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (torch.tensor([1.0, 2.0], requires_grad=True), "tensor([1., 2.])"),
        ((1, torch.Size([2, 3])), "[1, [2, 3]]"),
        ({"loss": 1 / 3, 2: None}, "{'loss': 0.3333, 2: None}"),
        ("text", "'text'"),
        (float("nan"), "nan"),
        (np.arange(2), "array([0, 1])"),
    ],
    ids=repr,
)
def test_without_a_grader_an_answer_is_shown(capsys, value, shown):
    d2c.grading.answer(value)
    assert capsys.readouterr().out == f"{shown}\n"


def test_without_a_grader_what_cannot_be_sent_is_refused_all_the_same():
    with pytest.raises(TypeError, match="`value` must be made of tensors"):
        d2c.grading.answer({1, 2})


def test_under_a_grader_an_answer_is_sent_and_not_shown(published, capsys):
    answers.begin(5)
    d2c.grading.answer([torch.ones(2)])
    (display,) = published
    assert list(display) == [payload.MIME]
    torch.testing.assert_close(payload.decode(display[payload.MIME]), [torch.ones(2)])
    assert capsys.readouterr().out == ""


def test_begin_seeds_every_source_of_random_numbers(published):
    def draw(seed):
        answers.begin(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first, second, other = draw(2**62 + 1), draw(2**62 + 1), draw(2**62 + 2)
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_the_package_gives_grading_only_when_asked(monkeypatch):
    monkeypatch.delitem(vars(d2c), "grading")
    assert d2c.grading.answer is answers.answer
    with pytest.raises(AttributeError, match="No d2lcompute attribute gradin"):
        _ = d2c.gradin
