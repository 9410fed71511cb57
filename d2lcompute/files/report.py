"""What is said about files: why one is refused, what one consists of, and how one fits a net."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..arguments import some
from ..parameters.names import dtype_name, shape_text
from ..tables import Named, Rows, Shown, Table
from ..words.language import _, marks, ngettext

AnyPath = str | os.PathLike[str]
Rename = Mapping[str, str] | Callable[[str], str] | None
Shape = tuple[int | None, ...]
# Shape and dtype of a tensor, or what else there is.
Kind = tuple[Shape | None, torch.dtype] | str

# What becomes of a name that only one of the two has, without and with leave.
MISSING, KEPT = marks("missing", "missing, kept as it was")
EXTRA, LEFT_OUT = marks("extra", "extra, left out")
# What may come of values that are converted.
LOSSES: dict[str, Callable[[int], str]] = {
    "infinite": lambda n: ngettext("{n} value is infinite now", "{n:,} values are infinite now", n),
    "NaN": lambda n: ngettext("{n} value is NaN now", "{n:,} values are NaN now", n),
    "zero": lambda n: ngettext("{n} value is 0 now", "{n:,} values are 0 now", n),
    "cut off": lambda n: ngettext(
        "{n} value is the largest number now", "{n:,} values are the largest number now", n
    ),
    "rounded": lambda n: ngettext("{n} value is rounded", "{n:,} values are rounded", n),
}
_FEW = 8  # entries of `rename` that are worth writing out
_MOST = 400  # names that are compared with one another
_UNUSED = "unused."  # put before the names of what fits nowhere


class FileError(ValueError):
    """A file is refused, or what would be written to one; the file and the net are as they were.

    >>> d2c.save_parameters(nn.Linear(3, 4, bias=False), "small.safetensors")
    >>> try:
    ...     d2c.load_parameters(nn.Linear(3, 5), "small.safetensors")
    ... except d2c.FileError as error:
    ...     print([match.name for match in error.report.misfits])
    ['weight', 'bias']

    `report` is the `FitReport` of a file that does not fit a net, and otherwise the `FileReport`
    of what was found in it. It is a `ValueError`; a file that is not there or cannot be opened is
    an `OSError`, as everywhere in Python.
    Source: D2L 6.6 / zh 5.5
    """

    __module__ = "d2lcompute"  # where it is public: so it reads in a traceback

    def __init__(self, message: str, report: FitReport | FileReport) -> None:
        super().__init__(message, report)
        self.report = report

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Part:
    """A piece of a file, the checksum of it that the file holds, and what is wrong with it."""

    name: str
    bytes: int
    checksum: str = ""
    fault: str = ""


@dataclass(frozen=True, repr=False)
class FileReport(Rows[Part]):
    """The parts of a file, with their checksums, if it has any; `note` sums up what was found."""

    path: str
    parts: tuple[Part, ...]
    note: str
    refused: bool = False

    @property
    def protected(self) -> bool:
        """Whether nothing is wrong and a changed value would have been found."""
        return not self.refused and all(part.checksum for part in self.parts)

    def _rows(self) -> Sequence[Part]:
        return self.parts

    def _table(self) -> Table:
        rows = [(part.name, part.bytes, part.checksum, part.fault) for part in self.parts]
        verdict = _("whole") if self.protected else _("not protected")
        verdict = _("refused") if self.refused else verdict
        title = _("{name}: {text}", name=self.path, text=verdict)
        hidden = () if any(part.fault for part in self.parts) else ("fault",)
        return Table(
            marks("part", "bytes", "checksum", "fault"), rows, title, [self.note], hidden=hidden
        )


@dataclass(frozen=True)
class Match:
    """A name, what the file and the net have under it, and what comes of that.

    `found` and `wanted` are shape and dtype in the file and in the net, None where the name is
    not there, and the name of a type where it is no tensor. A shape holds None for a size that the
    net does not know yet, and is None if it knows none. `kind` is what comes of it in one word or
    a few, with `{tie}` for another name; `losses` are how many values a conversion changed, by the
    way in which it did; `cut` tells that the tie is in the file only.
    """

    name: str
    found: Kind | None
    wanted: Kind | None
    kind: str
    fits: bool = True
    tie: str = ""
    cut: bool = False
    losses: tuple[tuple[str, int], ...] = ()

    @property
    def outcome(self) -> str:
        """What comes of it, in the language chosen."""
        parts = [_(self.kind, tie=self.tie), *(LOSSES[how](n) for how, n in self.losses)]
        if self.cut:
            parts.append(_("but is tied to {tie} in the file only", tie=self.tie))
        return _(", ").join(parts)

    @property
    def changed(self) -> int:
        """How many values are others in the net than in the file."""
        return sum(n for _how, n in self.losses)


@dataclass(frozen=True, repr=False)
class FitReport(Named[Match]):
    """How each name of a file fits a net: a mapping from names of the two to a `Match` each."""

    path: str
    matches: tuple[Match, ...]
    loaded: bool
    notes: tuple[str, ...] = ()

    @property
    def misfits(self) -> tuple[Match, ...]:
        """The rows that keep the file from being loaded."""
        return tuple(match for match in self.matches if not match.fits)

    @cached_property
    def _by_name(self) -> dict[str, Match]:
        return {match.name: match for match in self.matches}

    def _rows(self) -> dict[str, Match]:
        return self._by_name

    def _table(self) -> Table:
        rows = [(m.name, cell(m.found), cell(m.wanted), m.outcome) for m in self.matches]
        headers = marks("name", "in the file", "in the net", "outcome")
        title = _("{name}: {text}", name=self.path, text=self._verdict())
        return Table(headers, rows, title, self.notes)

    def _verdict(self) -> str:
        if self.loaded:
            return _("loaded")
        if not self.misfits:
            return _("fits")
        count = len(self.misfits)
        return ngettext("does not fit, {n} misfit", "does not fit, {n:,} misfits", count)


def refusal(
    path: AnyPath,
    reason: str,
    parts: Iterable[Part] = (),
    *,
    wanted: str = "be a whole safetensors or torch.save file",
    mend: str = "do use another copy of the file or save it again",
) -> FileError:
    """Return the error for a file that is not read."""
    report = FileReport(os.fspath(path), tuple(parts), reason, refused=True)
    return FileError(
        f"`path` must {wanted}, got '{report.path}': {reason}; nothing was loaded, {mend}",
        report,
    )


def cell(kind: Kind | None) -> Shown:
    """Return shape and dtype, or what else there is, as reports show it."""
    if kind is None or isinstance(kind, str):
        return Shown(kind, kind or "-")
    shape, dtype = kind
    sizes = "(...)" if shape is None else shape_text(shape)
    return Shown(kind, f"{sizes} {dtype_name(dtype)}")


def shape_fits(found: Kind | None, wanted: Kind | None) -> bool:
    """Tell whether a shape is one that a net can take, which may not know all of its own yet."""
    if found is None or wanted is None or isinstance(found, str) or isinstance(wanted, str):
        return False
    sizes, holes = found[0], wanted[0]
    if sizes is None or holes is None:
        return True
    return len(sizes) == len(holes) and all(
        hole is None or size == hole for size, hole in zip(sizes, holes, strict=True)
    )


def complaint(
    report: FitReport,
    old_names: Mapping[str, str],
    given: Mapping[str, Any],
    fit_again: Callable[[Rename], Sequence[Match]],
) -> str:
    """Return the message with every misfit and, if there is one, the line that loads the file.

    `old_names` are those in the file by those in the net, `given` are the options of the call, and
    `fit_again` tells what would come of another `rename`, with leave to miss and to ignore names.
    """
    misfits = [
        f"  {m.name}: {_text(m.found)} in the file, {_text(m.wanted)} in the net: "
        f"{m.kind.format(tie=m.tie)}"
        for m in report.misfits
    ]
    count = f"{len(misfits)} misfit{'s' if len(misfits) > 1 else ''}"
    head = f"`path` must fit the net, got '{report.path}' with {count}"
    index = _index_beside(report.path)
    if index:
        advice = [f"do load_parameters(net, {index!r}), of which this file is a part"]
    else:
        rename = _other_rename(report, old_names, given["rename"])
        line = _line(report.path, {**given, "rename": rename}, fit_again)
        advice = ["do load the file that belongs to this net", *line]
    return "\n".join([f"{head}; nothing was loaded:", *misfits, *advice])


def _text(kind: Kind | None) -> str:
    return "nothing" if kind is None else cell(kind).text


def _index_beside(path: str) -> str:
    """Return the index of a checkpoint in several files if `path` is one of these."""
    index, found = re.subn(r"-\d+-of-\d+(\.\w+)$", r"\1.index.json", path)
    return index if found and Path(index).is_file() else ""


def _line(
    path: str, options: dict[str, Any], fit_again: Callable[[Rename], Sequence[Match]]
) -> Iterator[str]:
    """Yield the line that loads the file, if it does, and what that means."""
    matches = fit_again(options["rename"])
    if not all(match.fits for match in matches) or all(m.kind in (KEPT, LEFT_OUT) for m in matches):
        return
    kept = [match.name for match in matches if match.kind == KEPT]
    left_out = [match.name for match in matches if match.kind == LEFT_OUT]
    options["allow_missing"], options["ignore_extra"] = bool(kept), bool(left_out)
    said = [f"{name}={value!r}" for name, value in options.items() if value not in (None, False)]
    yield f"or write load_parameters({', '.join(['net', repr(path), *said])})"
    if kept:
        yield f"  it keeps the net's own {some(kept, _FEW)}"
    left_out = [name for name in left_out if not name.startswith(_UNUSED)]
    if left_out:
        yield f"  it does not load {some(left_out, _FEW)}"


def _other_rename(report: FitReport, old_names: Mapping[str, str], rename: Rename) -> Rename:
    """Return the renaming by which most of what is extra becomes what is missing."""
    if callable(rename):
        return rename
    missing = {m.name: m for m in report.misfits if m.kind == MISSING}
    extra = {old_names[m.name]: m for m in report.misfits if m.kind == EXTRA}
    others = [m.name for m in report.misfits if m.kind not in (MISSING, EXTRA)]
    fitting = [old_names[m.name] for m in report.matches if m.fits and m.name in old_names]
    table = {old_names[name]: _UNUSED + name for name in others if name in old_names}
    while len(table) <= _FEW and (votes := _votes(missing, extra)):
        (old, new), _count = votes.most_common(1)[0]
        moved = {name: _moved(name, old, new) for name in extra if _is_under(name, old)}
        moved = {name: target for name, target in moved.items() if target in missing}
        if any(_is_under(name, old) or _is_under(old, name) for name in (*fitting, *table)):
            table.update(moved)
        else:
            table[old] = new
        for name, target in moved.items():
            del extra[name], missing[target]
    return {**(rename or {}), **table} or None if len(table) <= _FEW else rename


def _votes(missing: Mapping[str, Match], extra: Mapping[str, Match]) -> Counter[tuple[str, str]]:
    """Count the pairs of prefixes that would make a name of the file one of the net."""
    if len(missing) > _MOST or len(extra) > _MOST:
        return Counter()
    return Counter(
        _prefixes(name, target)
        for name, match in extra.items()
        for target, other in missing.items()
        if name.rpartition(".")[2] == target.rpartition(".")[2]
        and shape_fits(match.found, other.wanted)
    )


def _prefixes(old: str, new: str) -> tuple[str, str]:
    """Return what is before the end that two names share."""
    left, right = old.split("."), new.split(".")
    while left and right and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return ".".join(left), ".".join(right)


def _is_under(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _moved(name: str, old: str, new: str) -> str:
    rest = name if not old else name[len(old) + 1 :]
    return f"{new}.{rest}" if new else rest
