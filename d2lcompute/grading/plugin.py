"""A pytest item for each check of each submission: `d2lcompute pytest REFERENCE SUBMISSIONS`.

For `-k`, `-x`, `-n`, JUnit and whatever a CI makes of pytest. pytest runs what lies around its
arguments: conftests, tests, plugins that an ini file names. So the folder of submissions is none of
them: pytest is given the reference alone, and the submissions are read as notebooks.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .assignment import Assignment, AssignmentError, Cell, load
from .attempt import Attempt, Conditions, NotIsolatedError
from .judge import Expected, draw_seeds, expect, in_order, mark
from .submissions import Submission, find


def run(reference: Path, submissions: Path, options: Sequence[str] = ()) -> int:
    """Run pytest with `options` over all checks of all submissions; return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "pytest.ini")
        configuration.write_text("[pytest]\n", encoding="ascii")
        pinned = ["-c", str(configuration), "--rootdir", str(reference.absolute().parent)]
        # Not handed over as an object: the processes of pytest-xdist load it by its name.
        ours = ["-p", __name__, "-W", "ignore::pytest.PytestAssertRewriteWarning", "--noconftest"]
        source = f"--d2l-submissions={submissions.absolute()}"
        return int(pytest.main([*pinned, *ours, source, *options, str(reference)]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("d2lcompute", "grading")
    group.addoption("--d2l-submissions", metavar="FOLDER", type=Path, help="Grade these.")
    group.addoption(
        "--allow-unisolated", action="store_true", help="Run student code with your rights."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Stop before any conftest is read where pytest was started in another way than by `run`."""
    known = early_config.known_args_namespace
    is_ours = known.d2l_submissions and known.noconftest and known.inifilename
    if not is_ours or len(known.file_or_dir) != 1:
        raise pytest.UsageError(
            "pytest would run code that lies among the submissions; "
            "do d2lcompute pytest REFERENCE SUBMISSIONS [PYTEST OPTIONS]"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Keep other plugins from the reference, and one submission's checks in one process."""
    config.option.nbval = config.option.nbval_lax = config.option.d2l = False
    if config.getoption("dist", "no") == "load":
        config.option.dist = "loadscope"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Read the reference and find out how student code can be held back."""
    config = session.config
    conditions = Conditions(allow_unisolated=config.option.allow_unisolated)
    with _one_clear_line():
        judge = Judge(load(Path(config.args[-1])), conditions)
        config.pluginmanager.register(judge, "d2l-judge")


class Judge:
    """Collects the submissions under the reference; `expected` is what their answers must be."""

    def __init__(self, assignment: Assignment, conditions: Conditions) -> None:
        self.assignment = assignment
        self.conditions = conditions
        self.isolation = "; ".join([conditions.level, *conditions.gaps])
        self.expected: dict[str, Expected] = {}

    def pytest_report_header(self) -> str:
        """Say how well the student's code is held back."""
        return f"isolation: {self.isolation}"

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> Reference:
        """Collect the reference, the only file that pytest is given."""
        return self._adopt(Reference.from_parent(parent, path=file_path))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Run the reference, now that there is something to compare with it."""
        nodes = {item.parent for item in session.items if isinstance(item, CheckItem)}
        if session.config.option.collectonly:
            return
        key = secrets.token_hex(16)
        seeds = [draw_seeds(self.assignment, key, node.submission) for node in nodes]
        with _one_clear_line():
            answers = expect(self.assignment, self.conditions, seeds)
        self.expected = {node.name: own for node, own in zip(nodes, answers, strict=True)}

    def _adopt(self, file: Reference) -> Reference:
        file.judge = self
        return file


class Reference(pytest.File):
    """The reference, which holds all submissions."""

    judge: Judge

    def collect(self) -> Iterator[SubmissionNode]:
        """Give a node for each submission."""
        with _one_clear_line():
            found = find(self.config.option.d2l_submissions, self.judge.assignment)
        for submission in found.submissions:
            yield SubmissionNode.from_parent(self, name=submission.name, submission=submission)


class SubmissionNode(pytest.Collector):
    """A submission, and the attempt in which its checks are marked."""

    parent: Reference

    def __init__(self, submission: Submission, **more: Any) -> None:
        super().__init__(**more)
        self.submission = submission

    def collect(self) -> Iterator[CheckItem]:
        """Give an item for each check."""
        for check in in_order(self.parent.judge.assignment):
            yield CheckItem.from_parent(self, name=check.id, check=check)

    def setup(self) -> None:
        """Begin; kernels start when they are needed."""
        judge = self.parent.judge
        conditions, solutions = judge.conditions, self.submission.solutions
        self.attempt = Attempt(judge.assignment, solutions, conditions.start, conditions.seconds)

    def teardown(self) -> None:
        """End what runs."""
        self.attempt.close()


class CheckItem(pytest.Item):
    """A check of a submission: passes where the answer is the reference's."""

    parent: SubmissionNode

    def __init__(self, check: Cell, **more: Any) -> None:
        super().__init__(**more)
        self.check = check

    def runtest(self) -> None:
        """Mark the check."""
        node = self.parent
        draws = node.parent.judge.expected[node.name][self.check.id]
        found = mark(node.attempt, self.check, draws, node.submission.fault)
        self.user_properties += [("points", found.points), ("earned", found.earned)]
        if not found.passed:
            raise NotPassedError(found.feedback)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Return what went wrong; of a check, what the student may read."""
        return str(excinfo.value) or excinfo.typename

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the item's place and name."""
        return self.path, None, f"{self.parent.name}::{self.name}"


class NotPassedError(Exception):
    """A check was not passed; the message is what the student may read."""


@contextmanager
def _one_clear_line() -> Iterator[None]:
    try:
        yield
    except (AssignmentError, NotIsolatedError, ValueError) as error:
        raise pytest.UsageError(str(error)) from error
