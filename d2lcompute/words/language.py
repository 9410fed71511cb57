"""In which language exercises, findings and tables speak."""

from __future__ import annotations

import gettext
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import overload

_FOLDER = Path(__file__).parent
_ENGLISH = "en"

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
    if code not in known:
        kind = ValueError if isinstance(code, str) else TypeError
        got = repr(code) if isinstance(code, str) else type(code).__name__
        raise kind(f"`code` must be one of {', '.join(known)}, got {got}; do language('en')")
    if code == _ENGLISH:
        return gettext.NullTranslations()
    with (_FOLDER / f"{code}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)
