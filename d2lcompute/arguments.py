"""What arguments must be: one error for each that is not, which names it and says what to do."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch

LAST_DEVICE = 127  # torch keeps a device's number in a signed byte, and takes 200 for another one


def positive(name: str, value: Any) -> int:
    """Return `value` as an int, or say which argument must be a positive integer.

    >>> from d2lcompute.arguments import positive
    >>> positive("units", 0)
    Traceback (most recent call last):
    ValueError: `units` must be a positive integer, got 0; do units=256
    """
    try:
        size = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise ValueError(f"`{name}` must be a positive integer, got {value!r}; do {name}=256")
    return size


def integer(
    name: str, value: Any, least: int, most: int | None = None, *, do: str, what: str = "an integer"
) -> int:
    """Return `value` as an int, or say between which bounds an argument must be.

    >>> from d2lcompute.arguments import integer
    >>> integer("count", 3, 0, 2, do="practice_gpus(2)")
    Traceback (most recent call last):
    ValueError: `count` must be an integer from 0 to 2, got 3; do practice_gpus(2)

    Raises `TypeError` for what is no integer, and `ValueError` for one out of bounds.
    """
    bounds = f"from {least}" if most is None else f"from {least} to {most}"
    message = f"`{name}` must be {what} {bounds}, got {value!r}; do {do}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if isinstance(value, bool):
        raise TypeError(message)
    if number < least or (most is not None and number > most):
        raise ValueError(message)
    return number


def flag(name: str, value: Any) -> bool:
    """Return `value`, or say which argument must be True or False; 1 and None may be a mistake."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {value!r}; do {name}=True")
    return value


def accelerator_index(name: str, value: Any, *, do: str) -> int:
    """Return the number of an accelerator, whether there is one of that number or not."""
    return integer(name, value, 0, LAST_DEVICE, do=do)


def as_device(name: str, value: Any, *, do: str = "try_gpu()") -> torch.device:
    """Return a device or its name as a device that this machine has, or say what it must be.

    >>> from d2lcompute.arguments import as_device
    >>> as_device("device", "gpu")
    Traceback (most recent call last):
    ValueError: `device` must be a device or its name, such as 'cpu' or 'cuda:0', got 'gpu'; do
    try_gpu()

    Raises `TypeError` for what is neither, and `ValueError` for a name that torch does not know and
    for a device that is not there.
    """
    wanted = f"`{name}` must be a device or its name, such as 'cpu' or 'cuda:0', got"
    if not isinstance(value, str | torch.device):
        got = "a tensor" if isinstance(value, torch.Tensor) else repr(value)
        raise TypeError(f"{wanted} {got}; do {do}")
    try:
        device = torch.device(value)
    except RuntimeError:
        raise ValueError(f"{wanted} {value!r}; do {do}") from None
    if device.index is not None and not 0 <= device.index <= LAST_DEVICE:
        raise ValueError(f"{wanted} {value!r}, and {LAST_DEVICE} is the last number; do {do}")
    try:
        torch.empty(0, device=device)
    except (AssertionError, ImportError, RuntimeError) as error:
        problem = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(
            f"`{name}` must be a device of this machine, got {str(device)!r} ({problem}); do {do}"
        ) from None
    return device


def some(names: Sequence[str], most: int) -> str:
    """Return names for an error, which is English in every language: the first `most` of many.

    >>> from d2lcompute.arguments import some
    >>> some(["a", "b", "c"], 1)
    'a and 2 more'
    """
    hidden = len(names) - most
    return f"{', '.join(names[:most])} and {hidden:,} more" if hidden > 0 else ", ".join(names)
