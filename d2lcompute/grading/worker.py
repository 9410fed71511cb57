"""What a worker process does: grade one submission."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

from ..notebooks.chapter import run_session
from .assignment import Assignment
from .conditions import Conditions
from .judge import Expectation, Judge
from .results import Result
from .submissions import Submission

# What a session of one file needs, and nothing that takes time.
OPTIONS = (
    "-p", "nbval.plugin", "-p", "no:faulthandler", "-p", "no:logging",
    "-p", "no:unraisableexception", "-p", "no:threadexception",  # they collect garbage for long
    "--assert=plain", "-q", "-q",
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
        _, said = run_session(path.parent, [*OPTIONS, str(path)], judge)
    if judge.results:
        return judge.results[0]
    return Result(submission.name, submission.digest, trouble=f"pytest could not run: {said}")
