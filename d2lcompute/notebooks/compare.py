"""Whether two texts show the same to a reader, by the rule that `pytest --d2l --help` prints.

They are cut into words and the blanks between them, and compared pair by pair: the time is linear
in their length, whatever they hold.
"""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cached_property
from itertools import accumulate, groupby
from typing import Literal

from .floats import (
    ARITHMETIC,
    TINY,
    TINY_IN_A_COLUMN,
    Column,
    Float,
    are_residues,
    close,
    distance,
    floats_in,
    is_left_by_rounding,
)

# Blanks, then a word or number, or a run of other signs; at the end of a text nothing.
TOKEN = re.compile(r"(\s*)([A-Za-z0-9_.+\-]+|[^\sA-Za-z0-9_.+\-]+|\Z)")
Tokens = list[tuple[str, str]]
NO_NUMBER = re.compile(r"(?!\.\.\.$|[-+]?(?:nan|inf)$|[-+.0-9]|[\[\],]+$)")
# The lines of a table have gaps between columns or bars between cells, or rule it off.
GAP = re.compile(r"  |\t|[|│]")
RULE_LINE = re.compile(r"[-=+_─━═┼ ]+")
RULE = re.compile(r"([-=_─━═])\1{2,}")
RELATION = ("==", "<=", ">=", "~=", "!=")
RELEASE = re.compile(r"(?:.*[^a-z])?(?:version|release)_*", re.IGNORECASE)
NAMED_BEHIND = frozenset("=:/(_neNE")  # the ends of all these, and what may stand between
MOST = 20


@dataclass(frozen=True)
class Widening:
    """What a user forgives floats beyond the rule: `atol + rtol * |stored|`."""

    rtol: float = 0.0
    atol: float = 0.0

    def covers(self, stored: Float, shown: Float) -> bool:
        """Say whether two floats are that close."""
        allowed = Decimal(self.rtol) * abs(stored.value) + Decimal(self.atol)
        return allowed > 0 and distance(stored, shown) <= allowed


NOT_WIDER = Widening()


@dataclass(frozen=True)
class Difference:
    """Which token two texts differ in, or in the blanks before it, and what each has there."""

    place: int
    kind: Literal["number", "word", "blank"]
    stored: str
    shown: str


def differences(stored: str, shown: str, widening: Widening = NOT_WIDER) -> list[Difference]:
    """Return what a reader would see: the numbers that moved, up to the first other difference.

    >>> from d2lcompute.notebooks.compare import differences
    >>> differences("loss 0.1234, [ 1.0000, -0.5000]", "loss 0.1235, [1.0000, 0.0000]")
    [Difference(place=6, kind='number', stored='-0.5000', shown='0.0000')]
    """
    if stored == shown:
        return []
    with localcontext(ARITHMETIC):
        return _Comparison(stored, shown, widening).differences()


class _Comparison:
    """Two texts, token by token."""

    def __init__(self, stored: str, shown: str, widening: Widening) -> None:
        self.old, self.new = TOKEN.findall(stored), TOKEN.findall(shown)
        self.text = _Text(stored, self.old)
        self.widening = widening
        self.moved: list[int] = []  # tokens behind other blanks, and rules of another length
        self.resized: set[_Region] = set()  # in which a number became longer or shorter

    def differences(self) -> list[Difference]:
        """Return what differs: the numbers, or else the first blank."""
        found = []
        for place, (old, new) in enumerate(zip(self.old, self.new, strict=False)):
            if old == new:
                continue
            if old[0] != new[0]:
                self.moved.append(place)
            if old[1] != new[1] and (kind := self._kind(place, old[1], new[1])):
                found.append(Difference(place, kind, old[1], new[1]))
                if kind == "word" or len(found) == MOST:
                    break
        return found or next(([blank] for blank in self._blanks()), [])

    def _kind(self, place: int, old: str, new: str) -> Literal["number", "word"] | None:
        """Return how two tokens differ, None where a machine may print one for the other."""
        (stored, unit), (shown, other) = floats_in(old), floats_in(new)
        if not stored and RULE.sub(r"\1\1\1", old) == RULE.sub(r"\1\1\1", new):
            self.moved.append(place)
            return None
        if not stored or unit != other or len(stored) != len(shown) or self.text.is_name(place):
            return "word"
        for one, two in zip(stored, shown, strict=True):
            if one != two and not self._agree(place, Float(one), Float(two)):
                return "number"
        if len(old) != len(new):
            self.resized.update(self.text.regions(place))
        return None

    def _agree(self, place: int, stored: Float, shown: Float) -> bool:
        if close(stored, shown) or self.widening.covers(stored, shown):
            return True
        array, table = self.text.array(place), self.text.table(place)
        if array is not None and (
            close(stored, shown, array.column) or are_residues(stored, shown, array.largest, TINY)
        ):
            return True
        if table is not None:
            largest = table.largest_in_column(place)
            if are_residues(stored, shown, largest, TINY_IN_A_COLUMN):
                return True
        of_rounding = is_left_by_rounding(stored) and is_left_by_rounding(shown)
        return of_rounding and are_residues(stored, shown, self.text.whole.largest, TINY)

    def _blanks(self) -> Iterator[Difference]:
        """Yield the blanks and rules that are not padding, which follows the length of numbers."""
        for place in self.moved:
            (before, old), (after, new) = self.old[place], self.new[place]
            if not self._is_padding(place):
                blank = before != after
                pair = (before, after) if blank else (old, new)
                yield Difference(place, "blank" if blank else "word", *pair)

    def _is_padding(self, place: int) -> bool:
        (before, old), (after, new) = self.old[place], self.new[place]
        array = self.text.array(place)
        if array is not None and array in self.resized and place > array.start:
            return True
        if before.count("\n") != after.count("\n"):
            return False
        last = max(0, place - 1)
        if {self.text.table(last), self.text.table(place)} & self.resized:
            return True
        # A number in a field of fixed width, at its right or at its left.
        shorter = len(before) - len(after)
        return shorter != 0 and shorter in (
            len(new) - len(old),
            len(self.new[last][1]) - len(self.old[last][1]),
        )


class _Text:
    """The arrays, tables and names of a text."""

    def __init__(self, text: str, tokens: Tokens) -> None:
        self.text, self.tokens = text, tokens
        self._regions: dict[tuple[int, int], _Region] = {}

    @cached_property
    def whole(self) -> _Region:
        """All of the text."""
        return self._region(0, len(self.tokens) - 1)

    def regions(self, place: int) -> Iterator[_Region]:
        """Yield the array and the table that a token is in."""
        yield from filter(None, (self.array(place), self.table(place)))

    def array(self, place: int) -> _Region | None:
        """Return the outermost brackets around a token that hold nothing but numbers."""
        starts, ends = self._arrays
        number = bisect.bisect_right(starts, place) - 1
        if number < 0 or place > ends[number]:
            return None
        return self._region(starts[number], ends[number])

    def table(self, place: int) -> _Region | None:
        """Return the lines around a token that are set in columns."""
        block = self._blocks[self._lines[place]]
        if block is None:
            return None
        start = bisect.bisect_left(self._lines, block[0])
        return self._region(start, bisect.bisect_left(self._lines, block[1]) - 1)

    def is_name(self, place: int) -> bool:
        """Say whether a number is a part of a version, of a time or of an address."""
        gap, sign = self.tokens[place - 1] if place else ("", "")
        if sign[-1:] not in NAMED_BEHIND:
            return False
        word = self.tokens[place - 2][1] if place > 1 else ""
        if self.tokens[place][0] == "":
            if sign.endswith(RELATION) or (gap == "" and sign == ":" and word[-1:].isdigit()):
                return True
            if gap == "" and sign.endswith("/") and word[-1:].isalpha():
                return True
        last = sign if sign[-1:].isalnum() or sign.endswith("_") else word
        return RELEASE.fullmatch(last) is not None

    def _region(self, start: int, end: int) -> _Region:
        if (start, end) not in self._regions:
            self._regions[start, end] = _Region(self.tokens, start, end)
        return self._regions[start, end]

    @cached_property
    def _arrays(self) -> tuple[list[int], list[int]]:
        """Return where the arrays start and where they end."""
        foreign = [*accumulate(NO_NUMBER.match(solid) is not None for _, solid in self.tokens)]
        opened: list[int] = []
        pairs = []
        for place, (_, solid) in enumerate(self.tokens):
            for sign in solid if "[" in solid or "]" in solid else "":
                if sign == "[":
                    opened.append(place)
                elif sign == "]" and opened:
                    start = opened.pop()
                    if foreign[max(start, place - 1)] == foreign[start]:
                        pairs.append((start, place))
        outermost: list[tuple[int, int]] = []
        for start, end in sorted(pairs, key=lambda pair: (pair[0], -pair[1])):
            if not outermost or start > outermost[-1][1]:
                outermost.append((start, end))
        return [start for start, _ in outermost], [end for _, end in outermost]

    @cached_property
    def _lines(self) -> list[int]:
        """Return the number of the line that each token is in."""
        return [*accumulate(blank.count("\n") for blank, _ in self.tokens)]

    @cached_property
    def _blocks(self) -> list[tuple[int, int] | None]:
        """Return for each line the first line of its table and the first behind it."""
        lines = self.text.split("\n")
        if "<table" in self.text:
            return [(0, len(lines))] * len(lines)
        blocks: list[tuple[int, int] | None] = []
        for is_table, group in groupby(lines, _is_of_a_table):
            first, count = len(blocks), len([*group])
            blocks += [(first, first + count) if is_table and count > 1 else None] * count
        return blocks


def _is_of_a_table(line: str) -> bool:
    return GAP.search(line) is not None or RULE_LINE.fullmatch(line) is not None


class _Region:
    """Tokens that belong together: from `start` to `end`, included."""

    def __init__(self, tokens: Tokens, start: int, end: int) -> None:
        self.start = start
        self.tokens = tokens[start : end + 1]

    @cached_property
    def floats(self) -> list[list[Float]]:
        """The floats in each token."""
        return [[*map(Float, floats_in(solid)[0])] for _, solid in self.tokens]

    @cached_property
    def largest(self) -> Decimal:
        """The size of the largest float."""
        return max(abs(number.value) for numbers in self.floats for number in numbers)

    @cached_property
    def column(self) -> Column | None:
        """How the floats are printed, where alike as in arrays of torch and numpy."""
        floats = [number for numbers in self.floats for number in numbers]
        if all(number.power for number in floats):
            return Column(None, 0)
        decimals = max(len(number.fraction) for number in floats)
        if any(number.power for number in floats) or len({*self._widths(decimals)}) > 1:
            return None
        whole = [number for number in floats if len(number.fraction) == decimals]
        largest = max(whole, key=lambda number: abs(number.value))
        return Column(decimals, 0 if largest.is_whole else largest.digits)

    def largest_in_column(self, place: int) -> Decimal:
        """Return the size of the largest float in the column of a token."""
        columns, largest = self._columns
        return largest[columns[place - self.start]]

    @cached_property
    def _columns(self) -> tuple[list[int], dict[int, Decimal]]:
        """The column of each token, in HTML its cell, else where it ends; and their largest."""
        columns: list[int] = []
        largest: defaultdict[int, Decimal] = defaultdict(Decimal)
        is_html = any(solid == "td" for _, solid in self.tokens)
        here, cell, before = 0, 0, ""
        for (blank, solid), numbers in zip(self.tokens, self.floats, strict=True):
            here = len(blank) + len(solid) + (-1 - blank.rfind("\n") if "\n" in blank else here)
            if before.endswith("<") and solid in ("tr", "td", "th"):
                cell = 0 if solid == "tr" else cell + 1
            columns.append(cell if is_html else here)
            largest[columns[-1]] = max(
                largest[columns[-1]], *(abs(number.value) for number in numbers), Decimal(0)
            )
            before = solid
        return columns, largest

    def _widths(self, decimals: int) -> Iterator[int]:
        """Yield the widths of cells, each with its last zeros, which numpy leaves blank."""
        here = 0
        edge: int | None = None  # where the next cell of this row starts
        for (blank, solid), numbers in zip(self.tokens, self.floats, strict=True):
            if "\n" in blank:
                here, edge = -1 - blank.rfind("\n"), None
            here += len(blank) + len(solid)
            if len(numbers) == 1:
                end = here + decimals - len(numbers[0].fraction)
                if edge is not None:
                    yield end - edge
                edge = end + 1
            elif "[" in solid:
                edge = here
            else:
                edge = edge + 1 if edge is not None and solid == "," else None
