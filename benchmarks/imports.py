"""What importing the package costs over importing torch, each time in a new process.

The package imports torch with the first name of it that is used.
"""

from __future__ import annotations

import subprocess
import sys

from .harness import Case, Target, limit, ours, peer

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def cases(quick):
    yield Case(
        "import",
        (
            ours("import d2lcompute", lambda: seconds_of("import d2lcompute")),
            ours("and use a block", lambda: seconds_of("import d2lcompute; d2lcompute.MLP")),
            peer("d2l.torch", lambda: seconds_of("from d2lcompute import d2l"), needs="d2l"),
            limit("import torch", lambda: seconds_of("import torch")),
        ),
        (
            Target("import d2lcompute", 1.03, "import torch"),
            Target("and use a block", 1.03, "import torch"),
        ),
        returned=True,
        headline="import",
    )


def seconds_of(statement):
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
