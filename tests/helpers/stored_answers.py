"""The stored answers to the exercises, and what their code defines."""

import ast
import linecache

import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c
from d2lcompute import initializers as init
from d2lcompute.exercises.exercise import exercises

GIVEN = {"torch": torch, "nn": nn, "F": F, "d2c": d2c, "init": init}  # as in the notebooks


def stored():
    """Every stored answer: (exercise, cause or "solution" or "right", code)."""
    for exercise in exercises():
        for cause, codes in exercise.material.answers.items():
            for code in codes:
                yield exercise, cause, code


FILE = "<answer>"


def defined(code):
    """What the last statement of `code` defines, and an error shows the line of."""
    linecache.cache[FILE] = (len(code), None, code.splitlines(keepends=True), FILE)
    namespace = {**GIVEN, "__name__": "answer"}
    exec(compile(code, FILE, "exec"), namespace)
    last = ast.parse(code).body[-1]
    if isinstance(last, ast.Assign):
        return namespace[last.targets[0].id]
    return namespace[last.name]
