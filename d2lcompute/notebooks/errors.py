"""Errors in notebooks as they are shown: the lines of the reader, and words that are text.

`%load_ext d2lcompute` in a notebook turns the first on.
"""

from __future__ import annotations

import re
import sys
import sysconfig
import unicodedata
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_ESCAPES = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # operating system commands, such as links and titles
    r"|\x1b[PX^_][^\x1b]*(?:\x1b\\)?"  # strings for devices
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # colours, cursor movements
    r"|\x1b."
)


def load_ipython_extension(shell: Any) -> None:
    """Let errors show the lines of the reader alone; what IPython calls for `%load_ext`."""
    shell.set_custom_exc((Exception,), _show)


def unload_ipython_extension(shell: Any) -> None:
    """Let errors show everything again; what IPython calls for `%unload_ext`."""
    shell.set_custom_exc((), None)


def own_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of libraries, None if nothing is left.

    >>> from d2lcompute.notebooks.errors import own_frames
    >>> try:
    ...     nn.Linear(2, 3)(torch.rand(4))
    ... except RuntimeError as error:
    ...     shown = own_frames(error.__traceback__)
    >>> shown.tb_next is None
    True
    """
    kept = []
    while traceback is not None:
        if not _is_of_a_library(traceback.tb_frame.f_code.co_filename):
            kept.append(traceback)
        traceback = traceback.tb_next
    shown = None
    for one in reversed(kept):
        shown = TracebackType(shown, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return shown


def plain(text: str, longest: int = 500) -> str:
    r"""Return `text` without terminal escapes and invisible characters, and no longer than that.

    >>> from d2lcompute.notebooks.errors import plain
    >>> plain("\x1b[31mred\x1b[0m\a and \u202edlo\u202c")
    'red and dlo'

    Lines and tabs stay; what is left still has to be escaped for HTML. `longest` is in characters.
    """
    # Only so much is looked at: the patterns take time for what is to be dropped anyway.
    shown = _ESCAPES.sub("", text[: 20 * longest])
    kept = "".join(char for char in shown if char in "\n\t" or _is_visible(char)).strip()
    return kept if len(kept) <= longest else f"{kept[:longest]} ..."


def _show(shell: Any, kind: type, error: Any, traceback: TracebackType, **_: Any) -> None:
    error.__suppress_context__ = True
    error.__cause__ = None
    if not hasattr(kind, "_render_traceback_"):
        # For its history IPython asks again, and would format all frames, with torch's long files.
        lines = cache(partial(_lines_of_last, shell))
        error._render_traceback_ = lambda: lines(shell.InteractiveTB.mode, shell.colors)
    shell.showtraceback((kind, error, own_frames(traceback) or traceback))


def _lines_of_last(shell: Any, *_: str) -> list[str]:
    """Return how the error looks that IPython is about to show, of which it has told `sys`."""
    error = sys.last_type, sys.last_value, sys.last_traceback
    lines: list[str] = shell.InteractiveTB.structured_traceback(*error, tb_offset=0)
    return lines


@cache
def _is_of_a_library(filename: str) -> bool:
    libraries = (sysconfig.get_path(name) or "" for name in ("stdlib", "purelib", "platlib"))
    places = (Path(place) for place in (*libraries, sys.prefix, str(_PACKAGE)) if place)
    return any(place in Path(filename).parents for place in places)


def _is_visible(char: str) -> bool:
    return unicodedata.category(char)[0] != "C"  # control, format, surrogate, private, unassigned
