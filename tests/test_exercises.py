import importlib.util
import random
from pathlib import Path

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.exercises import checking

SOLUTIONS = Path(__file__).parent.parent / "chapters" / "solutions"


def answers(section):
    spec = importlib.util.spec_from_file_location(section, SOLUTIONS / f"{section}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ANSWERS


ANSWERS = {name: a for section in checking.SECTIONS for name, a in answers(section).items()}


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checking._failures.clear()


@pytest.fixture
def said(capsys):
    """What `check` prints, as lines without their indent."""

    def run_check(name, answer):
        d2c.check(name, answer)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return run_check


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


# blocks: what students really answer


def test_list_names_what_else_is_broken(said):
    hint = said("blocks.list", lambda net: set() if list(net.parameters()) else {"state_dict"})
    assert hint[-1] == "hint  One thing more is broken: optimizer."


def test_list_says_that_the_forward_pass_works(said):
    everything = {"forward", "state_dict", "double", "optimizer"}
    lines = said("blocks.list", lambda net: set() if list(net.parameters()) else everything)
    assert lines[-1].startswith("hint  The forward pass works")


class Stacked(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.nets = [first, second]

    def forward(self, X):
        return torch.stack([net(X) for net in self.nets])


class Forgetful(Stacked):
    def forward(self, X):
        return torch.cat([net(X) for net in self.nets], dim=-1)


class FirstAxis(nn.Sequential):
    def forward(self, X):
        return torch.cat([self[0](X), self[1](X)], dim=1)


class Swapped(nn.Sequential):
    def forward(self, X):
        return torch.cat([self[1](X), self[0](X)], dim=-1)


def joining_function(first, second):
    return lambda X: torch.cat((first(X), second(X)), dim=-1)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (nn.Sequential, "The second net must read the same X"),
        (Stacked, "The outputs may have different widths"),
        (Swapped, "The columns of the first net come first"),
        (FirstAxis, "The outputs may have different widths: join them along the last axis"),
        (Forgetful, "The block must know the parameters of both nets"),
        (joining_function, "Parallel(first, second) must be an nn.Module"),
    ],
)
def test_parallel_hints_at_what_is_wrong(said, answer, hint):
    assert said("blocks.parallel", answer)[-1].startswith(f"hint  {hint}")


def test_factory_notices_one_block_at_many_places(said):
    hint = said("blocks.factory", lambda make, times: nn.Sequential(*[make()] * times))[-1]
    assert hint.startswith("hint  `make` was called only once")


def test_super_notices_that_a_plain_list_may_come_early(said):
    hint = said("blocks.super", lambda value: isinstance(value, float | str | list | torch.Tensor))
    assert hint[-1].startswith("hint  Your function is wrong about a Parameter.")


def halve_in_place(X):
    while (large := X.abs().sum(dim=1, keepdim=True) > 1).any():
        X /= torch.where(large, 2.0, 1.0)
    return X


def halve_all(X):
    while X.abs().sum() > 1:
        X = X / 2
    return X


def halve_batch(X):
    while X.abs().sum(dim=1) > 1:
        X = X / 2
    return X


def halve_row_by_row(X):
    rows = []
    for row in X:
        while row.abs().sum() > 1:
            row = row / 2
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (halve_in_place, "The X that was given to the function has changed"),
        (halve_all, "Some row was halved too often or not often enough"),
        (halve_batch, "A comparison of a whole batch has one answer per row"),
        (halve_row_by_row, "For 50 rows Python read"),
    ],
)
def test_item_hints_at_what_is_wrong(said, answer, hint):
    assert said("blocks.item", answer)[-1].startswith(f"hint  {hint}")
