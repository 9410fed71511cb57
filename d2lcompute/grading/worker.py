"""What a worker process does: grade one submission."""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from .assignment import Assignment
from .conditions import Conditions
from .judge import Expectation, Judge
from .results import Result
from .submissions import Submission

# What a session of one file needs: neither configuration nor other plugins nor colours.
OPTIONS = (
    "-p", "nbval.plugin", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-p", "no:logging",
    "-p", "no:unraisableexception", "-p", "no:threadexception",  # they collect garbage for long
    "--noconftest", "--capture=no", "--assert=plain", "--color=no", "-q", "-q",
)  # fmt: skip

_one_at_a_time = threading.Lock()


def grade_submission(
    assignment: Assignment,
    expected: Mapping[str, Expectation],
    conditions: Conditions,
    submission: Submission,
) -> Result:
    """Return the result of one submission, judged by pytest in this process."""
    judge = Judge(assignment, expected, conditions, read=lambda path: submission)
    with _one_at_a_time, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "submission.ipynb")
        path.touch()
        Path(folder, "pytest.ini").write_text("[pytest]\n", encoding="ascii")
        said = _run_pytest(path, judge)
    if judge.results:
        return judge.results[0]
    return Result(submission.name, submission.digest, trouble=f"pytest could not run: {said}")


def _run_pytest(path: Path, judge: Judge) -> str:
    place = ["-c", str(path.parent / "pytest.ini"), "--rootdir", str(path.parent), str(path)]
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(output):
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_CURRENT_TEST"):
            patch.delenv(variable, raising=False)  # of a session around this one
        pytest.main([*OPTIONS, *place], plugins=[judge])
    return output.getvalue().strip()
