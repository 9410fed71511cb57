"""Whether an answer is the reference's, and if not, where they part."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ..notebooks.errors import plain
from .answers import decode

# Wider than torch's own for single precision: another order of summation is not an error.
TOLERANCES = (1e-4, 1e-5)
KINDS = {
    Tensor: "a tensor", list: "a list", dict: "a dict", bool: "a boolean", int: "an integer",
    float: "a float", complex: "a complex number", str: "a string", type(None): "None",
}  # fmt: skip

Tolerances = tuple[float, float] | None
Difference = tuple[str, str]


def compare(answer: object, wanted: str, tolerances: Tolerances) -> Difference | None:
    """Return where an answer, as it was sent, differs from what is wanted, as `encode` wrote it.

    >>> from d2lcompute.grading.answers import encode
    >>> from d2lcompute.grading.comparison import compare
    >>> compare("no answer", encode(1), None)[0]
    'no answer could be read'
    """
    if answer == wanted:
        return None
    try:
        got = decode(answer)
    except ValueError as error:
        return "no answer could be read", plain(str(error))
    return difference(got, decode(wanted), tolerances)


def difference(
    got: Any, wanted: Any, tolerances: Tolerances = None, path: str = "the answer"
) -> Difference | None:
    """Return where `got` first differs from `wanted`, None where it does not.

    >>> from d2lcompute.grading.comparison import difference
    >>> difference({"x": torch.ones(2)}, {"x": torch.ones(3)})
    ("the answer['x'] must have the shape (3,)", 'got (2,)')

    Both are made of what `answers.decode` gives. Kinds, lengths, keys, shapes, data types, whole
    numbers, booleans and strings must be equal. Floating point numbers may differ by `tolerances`,
    (rtol, atol) as in `torch.testing.assert_close`, which compares them; NaN is equal to NaN only,
    an infinity to itself only.

    Returns what must be, in which nothing comes from `got`, and what was found instead.
    """
    if type(got) is not type(wanted):
        return f"{path} must be {KINDS[type(wanted)]}", f"got {KINDS[type(got)]}"
    if isinstance(wanted, dict):
        return _between_dicts(got, wanted, tolerances, path)
    if isinstance(wanted, list):
        return _between_lists(got, wanted, tolerances, path)
    if isinstance(wanted, Tensor):
        return _between_tensors(got, wanted, tolerances, path)
    if isinstance(wanted, float | complex):
        return _between_values(got, wanted, tolerances or TOLERANCES, path)
    if got == wanted:
        return None
    return f"{path} must be {wanted!r}", f"got {_show(got)}"


def _between_dicts(
    got: dict[Any, Any], wanted: dict[Any, Any], tolerances: Tolerances, path: str
) -> Difference | None:
    if got.keys() != wanted.keys():
        return f"{path} must have the keys {_show_keys(wanted)}", f"got {_show_keys(got)}"
    found = (difference(got[key], wanted[key], tolerances, f"{path}[{key!r}]") for key in wanted)
    return next(filter(None, found), None)


def _between_lists(
    got: list[Any], wanted: list[Any], tolerances: Tolerances, path: str
) -> Difference | None:
    if len(got) != len(wanted):
        return f"{path} must have {len(wanted)} items", f"got {len(got)}"
    pairs = enumerate(zip(got, wanted, strict=True))
    found = (difference(a, b, tolerances, f"{path}[{index}]") for index, (a, b) in pairs)
    return next(filter(None, found), None)


def _between_tensors(
    got: Tensor, wanted: Tensor, tolerances: Tolerances, path: str
) -> Difference | None:
    if got.shape != wanted.shape:
        shape = plain(str(tuple(got.shape)), 60)  # it may have any number of dimensions
        return f"{path} must have the shape {tuple(wanted.shape)}", f"got {shape}"
    if got.dtype != wanted.dtype:
        return f"{path} must have the data type {wanted.dtype}", f"got {got.dtype}"
    if not (wanted.is_floating_point() or wanted.is_complex()) or wanted.dtype.itemsize == 1:
        tolerances = (0.0, 0.0)
    elif tolerances is None and wanted.dtype.itemsize > 2:  # else torch's own are wide enough
        tolerances = TOLERANCES
    return _between_values(got, wanted, tolerances, path)


def _between_values(got: Any, wanted: Any, tolerances: Tolerances, path: str) -> Difference | None:
    rtol, atol = tolerances or (None, None)
    try:
        torch.testing.assert_close(got, wanted, rtol=rtol, atol=atol, equal_nan=True)
    except AssertionError as error:
        _, *lines = filter(None, str(error).splitlines())
        return f"{path} has other values", "; ".join(lines)
    return None


def _show_keys(keys: Iterable[str | int]) -> str:
    return plain(", ".join(map(repr, keys)), 200) or "none"


def _show(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 2**63:
        return "a huge number"  # which Python may refuse to write out
    return plain(repr(value), 60)
