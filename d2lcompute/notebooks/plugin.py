"""`pytest --d2l`: nbval's cells, run and compared with what nbval leaves out.

Registered by `pytest_d2l`, which holds the options, where `--d2l` is given.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, IPyNbFile, coalesce_streams, nocolors

from .agreement import Tolerance
from .cell import KernelError, plain
from .isolation import Limits
from .kernel import Kernel, start_kernel
from .warm import NotWarmError, WarmProcess

LONGEST_NAME = 60
TAIL = 2000
COLD = "started cold"
STARTED = pytest.StashKey["WarmProcess | str"]()


class Notebook(IPyNbFile):
    """A notebook whose cells run in one kernel of this Python until the first that fails."""

    kernel: Kernel | None = None
    failed: str | None = None
    why_cold: str | None = None

    def collect(self) -> Iterator[IPyNbCell]:
        """Yield a test for each code cell, named by what it does."""
        try:
            tests = [*super().collect()]
        except Exception as error:  # nbformat raises errors of many kinds
            reason = f"{self.path.name} can not be read as a notebook: {error}"
            raise self.CollectError(reason) from error
        for test in tests:
            yield NotebookCell.from_parent(
                self,
                name=_name(test.cell_num, test.cell),
                cell_num=test.cell_num,
                cell=test.cell,
                options=test.options,
            )

    def setup(self) -> None:
        """Start the kernel."""
        option = self.config.option
        started = self.config.stash.get(STARTED, None)
        limits = Limits(seconds=option.d2l_timeout, output_mb=option.d2l_output)
        warm_process = started if isinstance(started, WarmProcess) else None
        self.kernel = start_kernel(
            warm_process=warm_process, limits=limits, folder=self.path.parent
        )
        if option.warm:
            self.why_cold = started if isinstance(started, str) else self.kernel.why_cold
        self.setup_sanitize_files()

    def teardown(self) -> None:
        """End the kernel."""
        if self.kernel is not None:
            self.kernel.close()


class NotebookCell(IPyNbCell):
    """A code cell: runs without an exception and shows what its notebook says."""

    def setup(self) -> None:
        """Leave out what follows a failure: it would fail for no reason of its own."""
        if not self._in_colour():
            self.colors = nocolors
        if self.parent.failed is not None:
            pytest.skip(f"stopped at {self.parent.failed}")
        if self.parent.why_cold is not None:
            self.user_properties.append((COLD, self.parent.why_cold))
            self.parent.why_cold = None

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what heads the report of a failure."""
        return self.path, 0, f"{self.path.name}: {self.name}"

    def runtest(self) -> None:
        """Run the cell and compare."""
        if self.options["skip"]:
            pytest.skip("marked to be skipped")
        try:
            self._run_and_compare()
        except BaseException:
            self.parent.failed = self.name
            raise

    def _in_colour(self) -> bool:
        coloured: bool = self.config.get_terminal_writer().hasmarkup
        return coloured

    def _run_and_compare(self) -> None:
        timeout = self.config.option.nbval_cell_timeout
        try:
            result = self.parent.kernel.run(self.cell.source, timeout)
        except KernelError as error:
            self.raise_cell_error(str(error), _tail(error.outputs))
        self.test_outputs = list(result.outputs)
        if result.error is not None and not self.options["check_exception"]:
            trace = "\n".join(result.error.traceback)
            trace = trace if self._in_colour() else plain(trace, len(trace))
            what = f"{result.error.name}: {result.error.text}"
            self.raise_cell_error(f"Cell execution caused an exception, {what}", trace)
        unrun = self.cell.execution_count is None
        if unrun and self.cell.outputs:
            self.raise_cell_error("Unrun reference cell has outputs")
        if self.options["check"] and not unrun:
            self._compare(coalesce_streams(self.test_outputs))

    def _compare(self, shown: list[NotebookNode]) -> None:
        reference = coalesce_streams(self.cell.outputs)
        if self.config.option.d2l_stderr == "ignore":
            shown, reference = _without_stderr(shown), _without_stderr(reference)
        self._accept_close_texts(shown, reference)
        if not self.compare_outputs(shown, reference):
            self.raise_cell_error("Cell outputs differ", "\n".join(self.comparison_traceback))

    def _accept_close_texts(self, shown: list[NotebookNode], reference: list[NotebookNode]) -> None:
        """Replace what agrees with the reference by it; nbval then compares to the letter."""
        option = self.config.option
        tolerance = Tolerance(option.d2l_rtol, option.d2l_atol)
        wanted: defaultdict[str, deque[str]] = defaultdict(deque)
        for kind, place, key in _texts(reference):
            wanted[kind].append(place[key])
        for kind, place, key in _texts(shown):
            text = wanted[kind].popleft() if wanted[kind] else ""
            if tolerance.agree(self.sanitize(text), self.sanitize(place[key])):
                place[key] = text


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Collect a notebook, in nbval's place where both are asked to."""
    collectors = yield
    if file_path.suffix != ".ipynb":
        return collectors
    others = [collector for collector in collectors if type(collector) is not IPyNbFile]
    return [*others, Notebook.from_parent(parent, path=file_path)]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the warm process where it pays."""
    config = session.config
    notebooks = {item.parent for item in session.items if isinstance(item, NotebookCell)}
    if not config.option.warm or config.option.collectonly:
        return
    try:
        if len(notebooks) < 2:
            raise NotWarmError("one notebook alone is faster so")
        config.stash[STARTED] = warm_process = WarmProcess()
        config.add_cleanup(warm_process.close)
    except NotWarmError as reason:
        config.stash[STARTED] = str(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which kernels were not warm, and why."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    found = Counter(
        reason
        for report in reports
        for name, reason in getattr(report, "user_properties", ())
        if name == COLD and report.when == "call"
    )
    for reason, count in found.items():
        terminalreporter.write_line(f"{count} of the notebooks {COLD}: {reason}")


def _name(number: int, cell: NotebookNode) -> str:
    lines = [line.strip() for line in cell.source.splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    text = cell.metadata.get("name") or (code or lines or [""])[0]
    # Two colons separate the parts of a test's name.
    return f"Cell {number}: {text[:LONGEST_NAME]}".replace("::", ":")


def _texts(outputs: list[NotebookNode]) -> Iterator[tuple[str, NotebookNode, str]]:
    """Yield each text that may be compared with a tolerance: its kind, and where it stands."""
    for output in outputs:
        if output.output_type == "stream":
            yield output.name, output, "text"
        for mime in output.get("data", ()):
            if mime.startswith("text/"):
                yield mime, output.data, mime


def _without_stderr(outputs: list[NotebookNode]) -> list[NotebookNode]:
    return [output for output in outputs if output.get("name") != "stderr"]


def _tail(outputs: tuple[NotebookNode, ...]) -> str:
    """Return the end of what a cell printed before it was stopped."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return printed[-TAIL:]
