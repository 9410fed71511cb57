"""Whether two texts show the same, but for the last digits of their numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Not part of a word or of a longer number: the 2 of `conv2d` is text, so is the 0x of an address.
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?!\w)")
INTEGER = re.compile(r"[-+]?\d+")
# torch aligns what it prints: a sign or a digit more moves everything behind a bracket.
ALIGNMENT = re.compile(r"(?<=[\[(,])\s+|\s+(?=[\])])")
ROUNDED_DIGITS = 3


@dataclass(frozen=True)
class Tolerance:
    """How far a number may be from the reference: `atol + rtol * |reference|`.

    >>> from d2lcompute.notebooks.agreement import Tolerance
    >>> Tolerance().agree("tensor([ 0.1234, -2.0000])", "tensor([0.1235, -2.0000])")
    True
    >>> Tolerance().agree("128 parameters", "129 parameters")
    False

    Two integers must be equal. A number printed with three decimals or more may also differ by one
    in its last digit: the smallest difference can round it up here and down there.
    """

    rtol: float = 1e-4
    atol: float = 1e-6

    def agree(self, reference: str, shown: str) -> bool:
        """Say whether `shown` is `reference` within the tolerance."""
        if reference == shown:
            return True
        if _words(reference) != _words(shown):
            return False
        pairs = zip(NUMBER.findall(reference), NUMBER.findall(shown), strict=True)
        return all(self._close(wanted, found) for wanted, found in pairs)

    def _close(self, wanted: str, found: str) -> bool:
        if INTEGER.fullmatch(wanted) and INTEGER.fullmatch(found):
            return int(wanted) == int(found)
        difference = abs(float(wanted) - float(found))
        allowed = self.atol + self.rtol * abs(float(wanted))
        return difference <= max(allowed, 1.001 * _last_digit(wanted))


def _words(text: str) -> str:
    """Return what is left of a text without its numbers and their alignment."""
    return " ".join(ALIGNMENT.sub("", NUMBER.sub("0", text)).split())


def _last_digit(number: str) -> float:
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals) if decimals >= ROUNDED_DIGITS else 0.0
