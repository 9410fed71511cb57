"""How far a printed float may move before a reader would see it: a machine computes to some digits.

`pytest_d2l.RULE` says it in three sentences.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

ENOUGH_DIGITS = 4  # from here on a float may move by `UNITS` of its last digit
UNITS = 2
MANY_DIGITS = 7  # from here on, as float32 is printed, also by `RELATIVE` of itself
RELATIVE = Decimal("1e-5")
# A residue is what rounding leaves where numbers of ordinary size cancel.
ORDINARY = Decimal("1e-3"), Decimal("1e4")
TINIEST = Decimal("1e-22")
TINY = Decimal("1e-5")
TINY_IN_A_COLUMN = Decimal("1e-14")  # of a table, which holds float64, and p-values
MULTIPLE = 64

# For numbers of any size and length.
ARITHMETIC = Context(prec=40, Emax=MAX_EMAX, Emin=MIN_EMIN)
_EXPONENT = r"[eE][-+]?[0-9]{1,5}"
_NUMBER = rf"(?:(?:[0-9]*\.[0-9]+|[0-9]+\.)(?:{_EXPONENT})?|[0-9]+{_EXPONENT})"
_SIGNED = re.compile(rf"[-+]?{_NUMBER}")
# `12.34ms`, with a full stop behind it perhaps, and `1.5-2.5j`; no version, date or hash.
_ONE = re.compile(rf"([-+]?{_NUMBER})([A-Za-z]*\.?)")
_MORE = re.compile(rf"([-+]?{_NUMBER}(?:[-+]{_NUMBER})+)([A-Za-z]*\.?)")


class Float:
    """A float as it is printed."""

    __slots__ = ("decimals", "digits", "figures", "fraction", "power", "value")

    def __init__(self, text: str) -> None:
        mantissa, power, exponent = text.lower().partition("e")
        whole, dot, self.fraction = mantissa.partition(".")
        # What has no dot may be part of a hash, such as 1234e56.
        figures = (whole + self.fraction).lstrip("+-") if dot else ""
        self.value = Decimal(text)
        self.power = bool(power)
        self.figures = len(figures)
        self.digits = len(figures.lstrip("0"))
        self.decimals = len(self.fraction) - int(exponent or 0)

    @property
    def is_whole(self) -> bool:
        """Whether it is printed as `3.` or `3.0`; it would show more digits if it had them."""
        return not self.power and self.fraction in ("", "0")

    @property
    def is_trimmed(self) -> bool:
        """Whether it ends without zeros, as Python and numpy print."""
        return self.is_whole or not self.fraction.endswith("0")


def floats_in(word: str) -> tuple[list[str], str]:
    """Return the floats that a word is made of, and its unit; no floats in other words.

    >>> from d2lcompute.notebooks.floats import floats_in
    >>> floats_in("0.5ms"), floats_in("1.5-2.5j"), floats_in("3"), floats_in("2.13.0")
    ((['0.5'], 'ms'), (['1.5', '-2.5'], 'j'), ([], '3'), ([], '2.13.0'))
    """
    if match := _ONE.fullmatch(word):
        return [match[1]], match[2]
    if match := _MORE.fullmatch(word):
        return _SIGNED.findall(match[1]), match[2]
    return [], word


@dataclass(frozen=True)
class Column:
    """How an array prints its floats: the decimals of all, and the digits of the largest.

    Where each has an exponent of its own, there are no decimals in common.
    """

    decimals: int | None
    digits: int


def close(stored: Float, shown: Float, column: Column | None = None) -> bool:
    """Say whether a machine may print `shown` for `stored`; `column` is that of their array.

    >>> from d2lcompute.notebooks.floats import Column, Float, close
    >>> close(Float("0.1234"), Float("0.1236")), close(Float("0.123"), Float("0.124"))
    (True, False)
    >>> close(Float("0.0012"), Float("0.0013"), Column(decimals=4, digits=5))
    True
    """
    if stored.value and shown.value and (stored.value < 0) != (shown.value < 0):
        return False
    if not _same_format(stored, shown, column):
        return False
    apart = distance(stored, shown)
    if apart == 0:
        return max(stored.figures, shown.figures) >= ENOUGH_DIGITS
    if max(stored.digits, shown.digits) >= MANY_DIGITS and apart <= RELATIVE * abs(stored.value):
        return True
    decimals, digits = stored.decimals, 0 if stored.is_whole else stored.digits
    if column is not None and column.decimals is not None:
        decimals, digits = column.decimals, max(digits, column.digits)
    if column is not None and stored.power != shown.power and not shown.is_whole:
        decimals = min(decimals, shown.decimals)
    return digits >= ENOUGH_DIGITS and apart <= Decimal(UNITS).scaleb(-decimals)


def distance(stored: Float, shown: Float) -> Decimal:
    """Return how far two floats are apart."""
    return abs(stored.value - shown.value)


def are_residues(stored: Float, shown: Float, largest: Decimal, tiny: Decimal = TINY) -> bool:
    """Say whether both floats are at most `tiny` parts of the largest number beside them.

    >>> from decimal import Decimal
    >>> from d2lcompute.notebooks.floats import Float, are_residues
    >>> are_residues(Float("2.9802e-08"), Float("-1.4901e-08"), largest=Decimal("1.0000"))
    True
    """
    sizes = abs(stored.value), abs(shown.value)
    return (
        ORDINARY[0] <= largest <= ORDINARY[1]
        and (stored.power or shown.power)
        and max(stored.figures, shown.figures) >= ENOUGH_DIGITS
        and all(size == 0 or TINIEST * largest <= size <= tiny * largest for size in sizes)
    )


def is_left_by_rounding(number: Float) -> bool:
    """Say whether a float is zero or a small multiple of a power of two.

    Such is the difference of two numbers that are equal but for their last bits. Of other numbers
    with five digits, one in a hundred is.
    """
    size = abs(float(number.value))
    if number.digits < ENOUGH_DIGITS or size > 1:
        return number.value == 0
    mantissa, exponent = math.frexp(size)
    nearest = math.ldexp(round(MULTIPLE * mantissa) / MULTIPLE, exponent)
    return abs(size - nearest) <= 0.501 * 10.0**-number.decimals


def _same_format(stored: Float, shown: Float, column: Column | None) -> bool:
    if stored.power == shown.power and len(stored.fraction) == len(shown.fraction):
        return True
    # torch prints `1.` where all of an array is whole, arrays change between 0.0001 and 1.0000e-04.
    if "" in (stored.fraction, shown.fraction) or (column and stored.power != shown.power):
        return True
    return stored.is_trimmed and shown.is_trimmed
