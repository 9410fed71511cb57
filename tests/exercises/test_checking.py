import importlib.util
import random
from pathlib import Path

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.exercises import checking

SOLUTIONS = Path(__file__).parents[2] / "chapters" / "solutions"


def answers(section):
    spec = importlib.util.spec_from_file_location(section, SOLUTIONS / f"{section}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ANSWERS


ANSWERS = {name: a for section in checking.SECTIONS for name, a in answers(section).items()}


def test_every_exercise_has_a_right_answer():
    assert list(ANSWERS) == [name for name, _ in d2c.list_exercises().rows]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_right_answer_passes_every_step(said, name):
    title, *lines = said(name, ANSWERS[name])
    assert title == name
    assert len(lines) == len(checking._find(name).steps)
    assert all(line.startswith("pass  ") for line in lines)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_unanswered_exercise_says_what_is_wanted(said, name):
    assert said(name, ...) == [name, f"wanted  {checking._find(name).wanted}"]


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("nonsense", [None, 3, "x", print, lambda *_: None])
def test_nonsense_fails_with_a_hint(said, name, nonsense):
    lines = said(name, nonsense)
    assert lines[-2].startswith("fail  ")
    assert lines[-1].startswith("hint  ")


def test_a_hint_grows_stronger_and_stays_at_the_strongest(said):
    hints = [said("blocks.parallel", nn.Sequential)[-1] for _ in range(3)]
    assert hints[0].startswith("hint  The second net must read the same X")
    assert hints[1].startswith("hint  In `forward`, call both nets with X")
    assert hints[2] == hints[1]


def test_an_error_in_the_answer_is_shown(said):
    def repeat(make, times):
        raise KeyError("oops")

    assert said("blocks.factory", repeat)[-1] == "hint  Your code raised KeyError: 'oops'"


def test_an_unknown_exercise_names_near_ones():
    with pytest.raises(ValueError, match=r"`name` must be an exercise, such as blocks.parallel"):
        d2c.check("blocks.paralel", None)


def test_checking_leaves_the_random_state_alone(said):
    before, python = torch.get_rng_state(), random.getstate()
    for name, answer in ANSWERS.items():
        said(name, answer)
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python


def test_progress_remembers_what_passed_in_this_folder(said, tmp_path, monkeypatch):
    assert d2c.progress().notes[0].startswith("0 of ")
    said("blocks.parallel", ANSWERS["blocks.parallel"])
    said("blocks.factory", None)
    states = dict(d2c.progress().rows)
    assert states["blocks.parallel"] == "passed"
    assert states["blocks.factory"] == ""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert d2c.progress().notes[0].startswith("0 of ")


def test_a_broken_progress_file_costs_nothing_but_itself(said, tmp_path):
    (tmp_path / "d2l-progress.json").write_text("{", encoding="utf-8")
    said("blocks.parallel", ANSWERS["blocks.parallel"])
    assert dict(d2c.progress().rows)["blocks.parallel"] == "passed"
