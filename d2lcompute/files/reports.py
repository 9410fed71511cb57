"""What the verbs of `files` report: how a file fits a net, and what a file consists of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..parameters.names import dtype_name, shape_text
from ..tables import Report, Table
from .fit import Match, Shown
from .format import Part


@dataclass(frozen=True, repr=False)
class FitReport(Report):
    """How each name of a file fits a net: `matches` has a row for every name of the two."""

    path: str
    matches: tuple[Match, ...]
    loaded: bool

    @property
    def misfits(self) -> tuple[Match, ...]:
        """The rows that keep the file from being loaded."""
        return tuple(match for match in self.matches if not match.fits)

    def _table(self) -> Table:
        rows = [(m.name, _cell(m.found), _cell(m.wanted), m.outcome) for m in self.matches]
        title = f"{self.path}: {self._verdict()}"
        return Table(("name", "in the file", "in the net", "outcome"), rows, title)

    def _verdict(self) -> str:
        if self.loaded:
            return "loaded"
        return f"does not fit, {_count(self.misfits)}" if self.misfits else "fits"

    def complaint(self) -> str:
        """Return the message of the error that says all misfits and what can be done."""
        lines = [
            f"  {m.name}: {_cell(m.found, 'nothing')} in the file, "
            f"{_cell(m.wanted, 'nothing')} in the net: {m.outcome}"
            for m in self.misfits
        ]
        head = f"`path` must fit the net, got '{self.path}' with {_count(self.misfits)}"
        return "\n".join([f"{head}; nothing was loaded:", *lines, *self._ways_out()])

    def _ways_out(self) -> list[str]:
        missing = [m.name for m in self.misfits if m.outcome == "missing"]
        extra = [m.name for m in self.misfits if m.outcome == "extra"]
        ways = []
        if missing and extra:
            ways.append(f"  {_renaming(missing, extra)}, if names differ")
        if missing:
            ways.append("  allow_missing=True, to keep the net's values for what is missing")
        if extra:
            ways.append("  ignore_extra=True, to leave out what is extra")
        return ["do load the file that belongs to this net, or give", *ways] if ways else []


@dataclass(frozen=True, repr=False)
class FileReport(Report):
    """The parts of a file in which nothing wrong was found, and their checksums, if it has any."""

    path: str
    parts: tuple[Part, ...]
    note: str

    @property
    def protected(self) -> bool:
        """Whether a changed value would have been found."""
        return all(part.checksum for part in self.parts)

    def _table(self) -> Table:
        rows = [(part.name, part.bytes, part.checksum) for part in self.parts]
        title = f"{self.path}: {'whole' if self.protected else 'not protected'}"
        return Table(("part", "bytes", "checksum"), rows, title, [self.note])


def _count(misfits: tuple[Match, ...]) -> str:
    return f"{len(misfits)} misfit{'s' if len(misfits) > 1 else ''}"


def _cell(shown: Shown | None, nothing: str = "-") -> str:
    if shown is None or isinstance(shown, str):
        return shown or nothing
    shape, dtype = shown
    sizes = "(...)" if shape is None else shape_text(shape)
    return f"{sizes} {dtype_name(dtype)}"


def _renaming(missing: Sequence[str], extra: Sequence[str]) -> str:
    """Return the argument that renames: all of it if the names only differ by a prefix."""
    for name in missing:
        long, short = sorted((name, extra[0]), key=len, reverse=True)
        prefix = long.removesuffix(short)
        if not prefix.endswith(".") or prefix == long:
            continue
        if long is name and all(prefix + other in missing for other in extra):
            return f"rename=lambda name: {prefix!r} + name"
        if short is name and all(other.removeprefix(prefix) in missing for other in extra):
            return f"rename=lambda name: name.removeprefix({prefix!r})"
    return "rename={'name in the file': 'name in the net', ...}"
