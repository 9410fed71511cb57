"""In which language exercises, findings and tables speak, and their texts in Markdown files."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, overload

_FOLDER = Path(__file__).parent
_ENGLISH = "en"
_HEADING = re.compile(r"(#+) (.*)")
_ITEM = re.compile(r"(?:\d+\.|[-*])(?: \[([ x])\])? +(.*)")

_chosen: tuple[str, gettext.NullTranslations] = (_ENGLISH, gettext.NullTranslations())


@overload
def language() -> str: ...
@overload
def language(code: str) -> None: ...
def language(code: str | None = None) -> str | None:
    """Choose the language in which exercises, findings and tables speak from now on.

    >>> d2c.language("zh")
    >>> d2c.language()
    'zh'
    >>> d2c.language("en")

    `code` is `"en"` or `"zh"`; without it nothing is chosen. The choice holds for the whole
    process, so one line in the first cell of a notebook is enough. Errors stay in English.

    Returns the language in force if no `code` is given. Raises `ValueError` for a language that
    there are no words of.
    """
    global _chosen
    if code is None:
        return _chosen[0]
    _chosen = code, _catalogue(code)
    return None


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """Speak another language inside the block."""
    before = language()
    language(code)
    try:
        yield
    finally:
        language(before)


def _(message: str, /, **values: object) -> str:
    """Return a text in the chosen language, with `values` in the places of `{name}`.

    >>> from d2lcompute.words.language import _
    >>> _("{count} of {total} passed", count=2, total=40)
    '2 of 40 passed'

    `message` is the English text, written out where the function is called: this is how it gets
    into the `.po` files.
    """
    text = _chosen[1].gettext(message) if message else ""
    return text.format(**values) if values else text


def ngettext(one: str, many: str, n: int, /, **values: object) -> str:
    """Return a text for `n` things in the chosen language; `{n}` stands for their number.

    >>> from d2lcompute.words.language import ngettext
    >>> [ngettext("{n} finding", "{n:,} findings", n) for n in (1, 2_000)]
    ['1 finding', '2,000 findings']
    """
    return _chosen[1].ngettext(one, many, n).format(n=n, **values)


def mark(message: str) -> str:
    """Mark a text that `_` will be given later, when the reader's language is known."""
    return message


def marks(*messages: str) -> tuple[str, ...]:
    """Mark several texts, such as the headers of a table, that `_` will be given later."""
    return messages


def _catalogue(code: str) -> gettext.NullTranslations:
    known = [_ENGLISH, *sorted(path.stem for path in _FOLDER.glob("*.mo"))]
    if not isinstance(code, str) or code not in known:
        kind = ValueError if isinstance(code, str) else TypeError
        got = repr(code) if isinstance(code, str) else type(code).__name__
        raise kind(f"`code` must be one of {', '.join(known)}, got {got}; do language('en')")
    if code == _ENGLISH:
        return gettext.NullTranslations()
    with (_FOLDER / f"{code}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


class Part(NamedTuple):
    """A part of a file: `kind` is `#` or `##`, `item`, `paragraph` or `code`.

    `mark` is `x` for an item that is ticked off, and for code what stands behind its language.
    """

    kind: str
    text: str
    mark: str = ""


def parts(text: str) -> Iterator[Part]:
    r"""Yield the parts of a Markdown text in order; what is wrapped is one line again.

    >>> from d2lcompute.words.language import parts
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
