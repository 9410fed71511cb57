"""Text that a student's code wrote, made harmless to show."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands, such as links and titles
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for devices
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor movements
    r"|\x1b."
)


def plain(text: str, longest: int = 500) -> str:
    r"""Return `text` without terminal escapes and invisible characters, and no longer than that.

    >>> from d2lcompute.notebooks.plaintext import plain
    >>> plain("\x1b[31mred\x1b[0m\a and \u202edlo\u202c")
    'red and dlo'

    Lines and tabs stay; what is left still has to be escaped for HTML. `longest` is in characters.
    """
    # Only so much is looked at: the patterns take time for what is to be dropped anyway.
    shown = _ESCAPES.sub("", text[: 20 * longest])
    kept = "".join(char for char in shown if char in "\n\t" or _is_visible(char)).strip()
    return kept if len(kept) <= longest else f"{kept[:longest]} ..."


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] != "C"  # control, format, surrogate, private, unassigned
