"""Whether an answer could be guessed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any

import torch


def bits(value: Any) -> float:
    """Return about how many bits it takes to say `value`: what a guess would have to hit.

    >>> from d2lcompute.grading.guessing import bits
    >>> [bits(value) for value in (True, [2, 3], torch.zeros(100), torch.rand(4))]
    [1.0, 7.6, 1.0, 104.0]

    The sum over its different numbers and texts of the bits of each, and what it takes to say
    which one stands where. `value` is what `payload.decode` gives.
    """
    counts = Counter(_leaves(value))
    total = sum(counts.values())
    places = sum(count * math.log2(total / count) for count in counts.values())
    return sum(map(_bits_of_leaf, counts)) + places


def _leaves(value: Any) -> Iterator[Hashable]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, torch.Tensor):
        yield from value.flatten().tolist()
    elif isinstance(value, complex):
        yield from (value.real, value.imag)
    else:
        yield value


def _bits_of_leaf(leaf: Any) -> float:
    if leaf is None:
        return 0.0
    if isinstance(leaf, str):
        return 8.0 * len(leaf)
    if isinstance(leaf, complex):
        return _bits_of_leaf(leaf.real) + _bits_of_leaf(leaf.imag)
    if isinstance(leaf, bool) or not math.isfinite(leaf):
        return 1.0
    above, below = leaf.as_integer_ratio()
    return min(24.0, 1 + math.log2(1 + abs(above)) + math.log2(below))
