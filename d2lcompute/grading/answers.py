"""What a check says to the grader, from inside the kernel."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .payload import MIME, encode

_graded = False


def answer(value: Any) -> None:
    """Give the value that a check is about; the last line of every check.

    >>> d2c.grading.answer({"loss": 0.123456, "shapes": [torch.Size([2, 3])]})
    {'loss': 0.1235, 'shapes': [[2, 3]]}

    `value` holds tensors or arrays of any shape, numbers, strings, booleans or None, in lists,
    tuples and dicts of any nesting, at most 1 MiB of it. A grader receives it as it is and
    compares it with the reference's; without a grader it is printed with few digits.

    Raises `TypeError` for a value that cannot be sent, `ValueError` for one that is too large.
    """
    text = encode(value)
    if not _graded:
        print(_show(value))
        return
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.instance().display_pub.publish({MIME: text})


def seed(number: int) -> None:
    """Seed the random numbers of torch, numpy and Python.

    >>> d2c.grading.seed(0)
    >>> torch.rand(2)
    tensor([0.4963, 0.7682])

    A released check begins with it, so that it shows what the reference shows. The grader puts
    another number in its place each time.
    """
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def begin(number: int) -> None:
    """Begin a check under a grader: seed, and send answers from now on."""
    global _graded
    _graded = True
    seed(number)


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, torch.Tensor):
        return repr(value.detach().cpu())
    if isinstance(value, list | tuple):
        return _show_items("[", [("", item) for item in value], "]")
    if isinstance(value, Mapping):
        return _show_items("{", [(f"{key!r}: ", item) for key, item in value.items()], "}")
    return repr(value)


def _show_items(begin: str, items: list[tuple[str, Any]], end: str) -> str:
    """Write short items on one line, and else each on lines of its own, indented."""
    texts = [name + _show(item).replace("\n", "\n" + " " * (len(name) + 1)) for name, item in items]
    joint = ",\n " if any("\n" in text for text in texts) else ", "
    return begin + joint.join(texts) + end
