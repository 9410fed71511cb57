"""Grade with pytest itself, for `-k`, `-x`, `-n`, JUnit and whatever a CI makes of pytest:

pytest -p d2lcompute.grading.plugin --d2l-reference reference.md submissions/
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .collecting import read_file
from .conditions import Conditions, NotIsolatedError
from .judge import Judge, expect
from .reference import AssignmentError, parse, read_notebook
from .submissions import Submission


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("d2lcompute", "grading")
    group.addoption("--d2l-reference", metavar="NOTEBOOK", help="Grade notebooks against this one.")
    group.addoption(
        "--allow-unisolated", action="store_true", help="Run student code with your rights."
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Judge the notebooks that are collected."""
    option = session.config.option
    if option.d2l_reference is None:
        return
    option.nbval = option.nbval_lax = False  # notebooks are submissions now, and nothing else
    conditions = Conditions(allow_unisolated=option.allow_unisolated)
    with _one_clear_line():
        assignment = parse(read_notebook(option.d2l_reference))
        judge = Judge(assignment, {}, conditions, _read)
    session.config.pluginmanager.register(judge, "d2l-judge")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Run the reference, now that there is something to compare with it."""
    judge: Judge | None = session.config.pluginmanager.get_plugin("d2l-judge")
    if judge and session.items and not session.config.option.collectonly:
        with _one_clear_line():
            judge.expected = expect(judge.assignment, judge.conditions, secrets.token_hex(16))


def _read(path: Path) -> Submission:
    return read_file(path.parent, Path(path.name), path.stem)


@contextmanager
def _one_clear_line() -> Iterator[None]:
    try:
        yield
    except (AssignmentError, NotIsolatedError) as error:
        raise pytest.UsageError(str(error)) from error
