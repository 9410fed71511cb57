"""What `diagnose` returns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...tables import Report, Rows, Shown, Table, display_width, listed, printable
from ...words.language import _, marks, ngettext

_WIDTH = 84
_MOST_NAMES = 6
# Where a line may end: behind a word, and behind any Chinese character.
_PIECE = re.compile(r"[!-~]+\s*|\s+|[^!-~\s][，。；：、）]*\s*")


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
        where = listed([name or _("the net itself") for name in self.where], _MOST_NAMES)
        said = [(_("where"), where), *self._said()]
        return Table((number, self.kind), [(label, _filled(text)) for label, text in said])

    def _said(self) -> list[tuple[str, str]]:
        return [(_("what"), self.what), (_("why"), self.why), (_("fix"), self.mend)]

    def _part(self, number: int) -> tuple[str, str, Table]:
        """Return the title, the place and what is said, for a notebook."""
        place = listed([name for name in self.where if name], _MOST_NAMES)
        return f"{number}. {_(self.kind)}", place, Table(("", ""), self._said())


@dataclass(frozen=True, repr=False)
class Diagnosis(Rows[Finding]):
    """The findings about a net, a sequence; `ran` tells whether they cover a pass on inputs."""

    net: str
    findings: tuple[Finding, ...]
    ran: bool

    def __repr__(self) -> str:
        tables = [one._table(f"{i}.") for i, one in enumerate(self.findings, 1)]
        return printable("\n\n".join([self._summary(), *(table.text() for table in tables)]))

    def _repr_html_(self) -> str:
        from ...tables.html import folded

        return folded(self._summary(), [one._part(i) for i, one in enumerate(self.findings, 1)])

    def _rows(self) -> Sequence[Finding]:
        return self.findings

    def _table(self) -> Table:
        rows = [
            (Shown(one.kind, _(one.kind)), one.where, one.what, one.why, one.mend)
            for one in self.findings
        ]
        return Table(marks("kind", "where", "what", "why", "mend"), rows, self._summary())

    def _summary(self) -> str:
        count = len(self.findings)
        number = ngettext("{n} finding", "{n:,} findings", count) if count else _("no findings")
        said = [number]
        if not self.ran:
            said.append(_("pass an input to examine a forward and a backward pass too"))
        return _("{name}: {text}", name=self.net, text=_("; ").join(said))


def _filled(text: str) -> str:
    lines = [""]
    for piece in _PIECE.findall(text):
        if lines[-1] and display_width(lines[-1] + piece.rstrip()) > _WIDTH:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
