"""What a student handed in: of a notebook, the source of the declared solution cells alone."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..notebooks.cell import plain

LARGEST = 32 << 20


@dataclass(frozen=True)
class Submission:
    """A submission: source by solution id, or the `fault` for which it has none."""

    name: str
    solutions: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    @property
    def digest(self) -> str:
        """A text that differs when what is graded does."""
        content = json.dumps([self.name, self.solutions, self.fault])
        return hashlib.sha256(content.encode("ascii")).hexdigest()


def read(name: str, data: bytes) -> Submission:
    """Return the submission in a notebook file, which anyone may have written.

    >>> from d2lcompute.grading.submissions import read
    >>> read("ada", b"my homework").fault
    'the file is not a notebook: Expecting value: line 1 column 1 (char 0)'

    A solution that a student split into several cells is put together again, in their order.
    """
    if len(data) > LARGEST:
        return Submission(name, fault=f"the file is larger than {LARGEST >> 20} MiB")
    pieces: defaultdict[str, list[str]] = defaultdict(list)
    try:
        for cell in json.loads(data)["cells"]:
            identity = _identity(cell)
            if identity:
                pieces[identity].append(_source(cell))
    except Exception as error:  # a file can be wrong in any way
        return Submission(name, fault=f"the file is not a notebook: {plain(str(error), 100)}")
    return Submission(name, {each: "\n".join(filter(None, pieces[each])) for each in pieces})


def _identity(cell: Mapping[str, Any]) -> str | None:
    declared = cell.get("metadata", {}).get("d2lcompute", {})
    identity = declared.get("id") if isinstance(declared, dict) else None
    return identity if cell["cell_type"] == "code" and isinstance(identity, str) else None


def _source(cell: Mapping[str, Any]) -> str:
    lines = cell["source"]
    source = lines if isinstance(lines, str) else "".join(lines)
    # Half a character, which JSON can express, could not be sent to a kernel.
    return source.encode("utf-8", "replace").decode("utf-8")
