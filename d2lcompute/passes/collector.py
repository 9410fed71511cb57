"""Python's garbage collector, at rest while a report is made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes as long as a pass through small layers.

    A report is made of many small objects that stay. Each time their number has grown by a
    quarter, all objects of torch would be searched again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
