"""Read the texts that lie in Markdown files: headings, items of lists, paragraphs and code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_HEADING = re.compile(r"(#+) (.*)")
_ITEM = re.compile(r"(?:\d+\.|[-*])(?: \[([ x])\])? +(.*)")


class Part(NamedTuple):
    """A part of a file: `kind` is `#` or `##`, `item`, `paragraph` or `code`.

    `mark` is `x` for an item that is ticked off, and for code what stands behind its language.
    """

    kind: str
    text: str
    mark: str = ""


def parts(text: str) -> Iterator[Part]:
    r"""Yield the parts of a Markdown text in order; what is wrapped is one line again.

    >>> from d2lcompute.words.markdown import parts
    >>> lines = ["# a", "1. b", "   c", "2. d"]
    >>> [(part.kind, part.text) for part in parts("\n".join(lines))]
    [('#', 'a'), ('item', 'b c'), ('item', 'd')]
    """
    lines = iter(text.splitlines())
    waiting: Part | None = None  # an item or a paragraph that may go on in the next line
    for line in lines:
        begun = _begun(line, lines)
        if begun is None and line.strip() and waiting is not None:
            waiting = waiting._replace(text=f"{waiting.text} {line.strip()}")
            continue
        if waiting is not None:
            yield waiting
        waiting = begun if begun is not None or not line.strip() else Part("paragraph", line)
    if waiting is not None:
        yield waiting


def _begun(line: str, rest: Iterator[str]) -> Part | None:
    """Return the part that a line begins, None where it goes on or is a paragraph's first."""
    if line.startswith("```"):
        _language, _space, mark = line.removeprefix("```").partition(" ")
        code = iter(rest.__next__, "```")
        return Part("code", "".join(f"{one}\n" for one in code), mark)
    if found := _HEADING.fullmatch(line):
        return Part(found[1], found[2])
    if found := _ITEM.fullmatch(line):
        return Part("item", found[2], found[1] or "")
    return None
