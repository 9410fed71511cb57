"""A pytest session in this process, which nothing around it reaches."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

OPTIONS = ("-p", "no:cacheprovider", "--noconftest", "--capture=no", "--color=no")


def run_session(root: Path, arguments: Sequence[str], plugin: object) -> tuple[int, str]:
    """Run pytest with `arguments` and `plugin`; return its exit status and what it printed.

    Neither the caller's configuration nor conftests, variables, caches and installed plugins have
    a part in it. Names of tests begin with paths under `root`.
    """
    output = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
    ):
        configuration = Path(folder, "pytest.ini")
        configuration.write_text("[pytest]\n", encoding="ascii")
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST"):
            patch.delenv(variable, raising=False)  # of a session around this one
        place = ["-c", str(configuration), "--rootdir", str(root)]
        status = pytest.main([*OPTIONS, *place, *arguments], plugins=[plugin])
    return int(status), output.getvalue().strip()
