"""Which packages have the tested versions, which committed outputs come from."""

import importlib.metadata
import re
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def is_pinned(*packages):
    """Whether all packages have the version that constraints.txt names."""
    pinned = dict(re.findall(r"^([\w-]+)==([\w.]+)", CONSTRAINTS.read_text(encoding="utf-8"), re.M))
    versions = {name: importlib.metadata.version(name).partition("+")[0] for name in packages}
    return all(pinned.get(name) == version for name, version in versions.items())
