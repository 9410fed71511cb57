"""Classes that an answer may not make, watched as it runs; inside the kernel.

The code is read before (`rules`). This sees what a name stands for in the end: `type(layer)(2, 2)`,
`nn.modules.linear.Linear(2, 2)`, `map(...)`, a class of the answer's own that has the class as its
base. It does not see what a library makes on the answer's behalf, classes written in C, functions,
attributes and loops; and who sets out to switch it off can: it keeps honest answers honest.
"""

from __future__ import annotations

import functools
import pydoc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

from .rules import breach, lines_before


class NotAllowedError(RuntimeError):
    """An answer makes what its question forbids."""


def watch(answers: Sequence[tuple[str, bool, Mapping[str, str]]]) -> None:
    """Watch answers, before any of them runs.

    Each is the source of a cell, or the name of a module and True; and what is not allowed in it,
    by full name: how it is called in the question.
    """
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    files: dict[str, dict[str, tuple[str, int]]] = {}
    for text, is_module, terms in answers:
        path = str(Path.cwd() / text) if is_module else shell.compile.get_code_name(text, text, 0)
        for name, term in terms.items():
            files.setdefault(name, {})[path] = term, 0 if is_module else lines_before(text)
    for name, places in files.items():
        found: Any = pydoc.locate(name)
        if isinstance(found, type):
            _refuse(found, places)


def _refuse(kind: Any, places: Mapping[str, tuple[str, int]]) -> None:
    """Let a class refuse to be made by code in some files: its name there, and lines before."""
    make = kind.__init__
    if not isinstance(make, FunctionType):  # written in C
        return

    @functools.wraps(make)
    def checked(self: Any, *arguments: Any, **more: Any) -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_filename in places:
            term, before = places[caller.f_code.co_filename]
            raise NotAllowedError(breach(before + caller.f_lineno, term))
        make(self, *arguments, **more)

    kind.__init__ = checked
