"""Grade with pytest itself, for `-k`, `-x`, `-n`, JUnit and whatever a CI makes of pytest:

pytest -p d2lcompute.grading.judge_plugin --d2l-reference reference.md submissions/
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from .collecting import read_file
from .conditions import Conditions, NotIsolatedError
from .judge import Judge, expect
from .reference import AssignmentError, parse, read_notebook


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("d2lcompute", "grading")
    group.addoption("--d2l-reference", metavar="NOTEBOOK", help="Grade notebooks against this one.")
    group.addoption(
        "--allow-unisolated", action="store_true", help="Run student code with your rights."
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Run the reference, and judge the notebooks that are collected."""
    option = session.config.option
    if option.d2l_reference is None:
        return
    conditions = Conditions(allow_unisolated=option.allow_unisolated)
    try:
        assignment = parse(read_notebook(option.d2l_reference))
        expected = expect(assignment, conditions, secrets.token_hex(16))
    except (AssignmentError, NotIsolatedError) as error:
        raise pytest.UsageError(str(error)) from error
    session.config.pluginmanager.register(
        Judge(
            assignment,
            expected,
            conditions,
            read=lambda path: read_file(path.parent, Path(path.name), path.stem),
        )
    )
