"""What arguments must be: one error for each that is not, which names it and says what to do."""

from __future__ import annotations

import operator
from typing import Any


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
