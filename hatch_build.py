"""What the build makes from the address of the repository: the links of the package's page."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Published(MetadataHookInterface):
    """Fill in `urls` and `readme` from `d2lcompute/notebooks/published.py`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Give the project its links, and the README none that would be dead elsewhere."""
        root = Path(self.root)
        published = runpy.run_path(str(root / "d2lcompute" / "notebooks" / "published.py"))
        text = (root / "README.md").read_text(encoding="utf-8")
        metadata["urls"] = published["urls"]()
        metadata["readme"] = {"content-type": "text/markdown", "text": published["absolute"](text)}
