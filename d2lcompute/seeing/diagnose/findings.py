"""What `diagnose` returns."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from ...tables import Report, Rows, Table, listed, printable
from ...words.language import marks

_WIDTH = 84
_MOST_NAMES = 6


@dataclass(frozen=True, repr=False)
class Finding(Report):
    """One thing that is wrong with a net.

    `kind` is a short name, the same for all findings of a sort. `where` holds the dotted names of
    what it is about, "" standing for the net itself; `what` says what was seen, `why` what comes
    of it, and `mend` what to do.
    """

    kind: str
    where: tuple[str, ...]
    what: str
    why: str
    mend: str

    def _table(self, number: str = "") -> Table:
        rows = [("what", self.what), ("why", self.why), ("mend", self.mend)]
        cells = [(label, textwrap.fill(text, _WIDTH)) for label, text in rows]
        names = [name or "the net itself" for name in self.where]
        where = textwrap.fill(listed(names, _MOST_NAMES), _WIDTH)
        return Table(("where", where), cells, number + self.kind)


@dataclass(frozen=True, repr=False)
class Diagnosis(Rows[Finding]):
    """The findings about a net, a sequence; `ran` tells whether they cover a pass on inputs."""

    net: str
    findings: tuple[Finding, ...]
    ran: bool

    def __repr__(self) -> str:
        return printable("\n\n".join([self._summary(), *(one.text() for one in self._tables())]))

    def _repr_html_(self) -> str:
        tables = [Table((), (), self._summary()), *self._tables()]
        return f"<div>{''.join(table.html() for table in tables)}</div>"

    def _rows(self) -> Sequence[Finding]:
        return self.findings

    def _table(self) -> Table:
        rows = [(one.kind, one.where, one.what, one.why, one.mend) for one in self.findings]
        return Table(marks("kind", "where", "what", "why", "mend"), rows, self._summary())

    def _summary(self) -> str:
        scope = "" if self.ran else "; pass an input to examine a forward and a backward pass too"
        count = len(self.findings)
        number = f"{count or 'no'} finding{'' if count == 1 else 's'}"
        return f"{self.net}: {number}{scope}"

    def _tables(self) -> list[Table]:
        return [one._table(f"{i}. ") for i, one in enumerate(self.findings, 1)]
