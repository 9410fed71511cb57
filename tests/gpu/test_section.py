"""The cells and the exercises of section 7, with the real device in the place of `practice:0`."""

import ast
import json
import pathlib

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.exercises.exercise import SOLUTION, materials

CHAPTERS = pathlib.Path(__file__).parents[2] / "chapters"


@pytest.fixture
def in_place(device, monkeypatch):
    """`gpu(0)` is the device, and so is `gpu(1)` where the machine has two; else that is practice.

    Returns the devices that the section works with.
    """
    real = d2c.try_all_gpus() if device.type != "practice" else []
    practice_gpus = d2c.practice_gpus

    def devices(count=2, memory=None):
        return [*real[:count], *practice_gpus(count, memory)[len(real) :]]

    pair = devices()
    if real:
        monkeypatch.setattr(d2c, "practice_gpus", devices)
        monkeypatch.setattr(d2c, "gpu", lambda i=0: real[i] if i < len(real) else practice(i))
        monkeypatch.setattr(d2c, "try_gpu", lambda i=0: d2c.gpu(i) if i < 2 else d2c.cpu())
        monkeypatch.setattr(d2c, "try_all_gpus", lambda: pair)
        monkeypatch.setattr("d2lcompute.exercises.devices._devices", lambda: pair)
    yield pair
    practice_gpus(0)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder for what the cells and the exercises write."""
    monkeypatch.chdir(tmp_path)


def practice(i):
    return torch.device("practice", i)


def run(source, names):
    """Run a cell as a notebook does: the last expression is shown."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is not None:
        repr(eval(compile(ast.Expression(last.value), "cell", "eval"), names))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_cell_of_the_section_does_there_what_it_shows(
    in_place, language, tmp_path, monkeypatch
):
    pytest.importorskip("matplotlib.pyplot").switch_backend("agg")
    text = (CHAPTERS / language / "7_devices.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    names = {}
    for cell in cells:
        source, tags = "".join(cell["source"]), cell["metadata"].get("tags", ())
        if "setup" in tags:  # is for IPython
            continue
        if "raises-exception" in tags:
            with pytest.raises((RuntimeError, TypeError)):
                run(source, names)
        else:
            run(source, names)
    assert len(cells) > 20


def answers():
    """The stored solutions of the section's exercises: what the last statement of each defines."""
    given = {"torch": torch, "nn": nn, "F": nn.functional, "d2c": d2c}
    found = {}
    for name, material in materials("devices").items():
        (code,) = material.answers[SOLUTION]
        names = dict(given)
        exec(code, names)
        found[name] = names[ast.parse(code).body[-1].name]
    return found


@pytest.mark.parametrize("name", answers())
def test_a_right_answer_to_each_exercise_passes_there(
    in_place, name, tmp_path, monkeypatch, capsys
):
    d2c.check(name, answers()[name])
    said = capsys.readouterr().out
    assert "pass" in said
    assert "fail" not in said


def test_an_answer_that_brings_the_matrices_over_is_told_so(
    in_place, tmp_path, monkeypatch, capsys
):
    d2c.check("devices.log", lambda matrices: [matrix.cpu().norm().item() for matrix in matrices])
    assert "fail" in capsys.readouterr().out
