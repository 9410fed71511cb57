"""`pytest --d2l`: nbval's cells, run and compared with what nbval leaves out.

Registered by `pytest_d2l`, which holds the options, where `--d2l` is given.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from jupyter_core.utils import ensure_event_loop
from nbformat import NotebookNode
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from .cell import CellError, KernelError
from .compare import Widening
from .errors import plain
from .isolation import Limits, count_cores
from .kernel import Kernel, start_kernel
from .outputs import Manner, difference
from .warm import WarmProcess, start_warm_process

LONGEST_NAME = 60
TAIL = 2000
COLD = "started cold"
NOT_RUN = "not run"
SECONDS = "seconds of the notebook"
WHEN = {COLD: "call", NOT_RUN: "setup"}  # the report that says it
STARTED = pytest.StashKey["WarmProcess | str"]()


class Notebook(IPyNbFile):
    """A notebook whose cells run in one kernel of this Python."""

    kernel: Kernel | None = None
    why_none: KernelError | None = None
    failed: NotebookCell | None = None  # behind which nothing is run
    why_cold: str | None = None
    opened: Future[None] | None = None  # where a thread runs it
    began = 0.0

    def collect(self) -> Iterator[IPyNbCell]:
        """Yield a test for each code cell, named by what it does."""
        try:
            tests = [*super().collect()]
        except Exception as error:  # nbformat raises errors of many kinds
            reason = f"{self.path.name} can not be read as a notebook: {error}"
            raise self.CollectError(reason) from error
        for place, test in enumerate(tests):
            yield NotebookCell.from_parent(
                self, name=_name(test.cell), cell_num=place, cell=test.cell, options=test.options
            )

    def setup(self) -> None:
        """Start the kernel, or wait until it was."""
        if self.opened is None:
            self.open()
        else:
            self.opened.result()

    def teardown(self) -> None:
        """End the kernel."""
        if self.opened is None:
            self.close()

    def open(self) -> None:
        """Start the kernel."""
        self.began = time.perf_counter()
        option = self.config.option
        started = self.config.stash.get(STARTED, None)
        limits = Limits(seconds=option.d2l_timeout, output_mb=option.d2l_output)
        warm_process = started if isinstance(started, WarmProcess) else None
        try:
            self.kernel = start_kernel(
                warm_process=warm_process, limits=limits, folder=self.path.parent
            )
        except KernelError as error:
            self.why_none = error
            return
        if option.d2l_warm:
            self.why_cold = started if isinstance(started, str) else self.kernel.why_cold
        self.setup_sanitize_files()

    def close(self) -> None:
        """End the kernel."""
        if self.kernel is not None:
            self.kernel.close()


class NotebookCell(IPyNbCell):
    """A code cell: runs without an exception and shows what its notebook says."""

    done: Future[None] | None = None  # where a thread runs it

    def setup(self) -> None:
        """Leave out what follows a failure: it would fail for no reason of its own."""
        failed = self.parent.failed
        if failed is not None and failed.cell_num < self.cell_num:
            self.user_properties.append((NOT_RUN, failed.name))
            pytest.skip(f"stopped at {failed.name}")
        if self.parent.why_none is not None:
            self.parent.failed = self
            reason = f"{self.parent.why_none}; the notebook was not run, which is no fault of it"
            pytest.fail(reason, pytrace=False)
        if self.parent.why_cold is not None:
            self.user_properties.append((COLD, self.parent.why_cold))
            self.parent.why_cold = None

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what heads the report of a failure."""
        return self.path, 0, f"{self.path.name}: {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> str:
        """Return what went wrong, and the code of the cell."""
        error = excinfo.value
        if not isinstance(error, NbCellError):
            return str(excinfo.getrepr(style="short"))
        source = "\n".join(f"    {line}" for line in self.cell.source.splitlines())
        told = [f"{self.name.partition(':')[0]} {error}", error.inner_traceback, source]
        return "\n\n".join(filter(None, told))

    def runtest(self) -> None:
        """Run the cell and compare, or wait until that was done."""
        if self.options["skip"]:
            pytest.skip("marked to be skipped")
        if self.done is None:
            self.examine()
        else:
            self.done.result()

    def examine(self) -> None:
        """Run the cell and compare."""
        try:
            self._run_and_compare()
        except BaseException:
            if not (self.config.option.d2l_keep_going and self.parent.kernel.is_alive()):
                self.parent.failed = self
            raise
        finally:
            self.user_properties.append((SECONDS, time.perf_counter() - self.parent.began))

    def _run_and_compare(self) -> None:
        timeout = self.config.option.nbval_cell_timeout
        try:
            result = self.parent.kernel.run(self.cell.source, timeout)
        except KernelError as error:
            self.raise_cell_error(f"was not run to its end: {error}", _tail(error.outputs))
        self.test_outputs = list(result.outputs)
        self._check_exception(result.error)
        unrun = self.cell.execution_count is None
        if unrun and self.cell.outputs:
            self.raise_cell_error("has outputs in the notebook, but no number: it was not run")
        if self.options["check"] and not unrun:
            self._compare()

    def _check_exception(self, error: CellError | None) -> None:
        """Fail unless the cell raised nothing, or by its mark what it raised in the notebook."""
        if not self.options["check_exception"]:
            if error is not None:
                trace = "\n".join(error.traceback)
                coloured = self.config.get_terminal_writer().hasmarkup
                trace = trace if coloured else plain(trace, len(trace))
                self.raise_cell_error(f"raised {error.name}: {error.text}", trace)
            return
        stored = [output.ename for output in self.cell.outputs if output.output_type == "error"]
        raised = "nothing" if error is None else error.name
        if stored and raised != stored[-1]:
            self.raise_cell_error(f"raised {raised}, in the notebook it raises {stored[-1]}")

    def _compare(self) -> None:
        option = self.config.option
        manner = Manner(
            Widening(option.d2l_rtol, option.d2l_atol),
            stderr=option.d2l_stderr == "compare",
            pictures=option.d2l_pictures == "bytes",
            clean=self.sanitize,
        )
        found = difference(self.cell.outputs, self.test_outputs, manner)
        if found is not None:
            self.raise_cell_error("shows something else than in the notebook", found)


class Ahead:
    """Threads, one a notebook, that run `jobs` notebooks at once; pytest waits for their cells."""

    def __init__(self, jobs: int, cells: Iterable[NotebookCell]) -> None:
        self._stopped = False
        self._turns = threading.Semaphore(jobs)
        self._threads: dict[Notebook, ThreadPoolExecutor] = {}
        for cell in cells:
            if cell.parent not in self._threads:
                self._threads[cell.parent] = thread = ThreadPoolExecutor(1)
                cell.parent.opened = thread.submit(self._open, cell.parent)
            cell.done = self._threads[cell.parent].submit(self._examine, cell)
        for notebook, thread in self._threads.items():
            thread.submit(self._close, notebook)

    def close(self) -> None:
        """End what still runs."""
        self._stopped = True
        for notebook, thread in self._threads.items():
            if notebook.kernel is not None:
                notebook.kernel.stop()
            thread.shutdown()

    def _open(self, notebook: Notebook) -> None:
        self._turns.acquire()
        if not self._stopped:
            notebook.open()

    def _examine(self, cell: NotebookCell) -> None:
        over = self._stopped or cell.parent.kernel is None or cell.parent.failed is not None
        if not over and not cell.options["skip"]:
            cell.examine()

    def _close(self, notebook: Notebook) -> None:
        try:
            notebook.close()
            ensure_event_loop().close()  # that of this thread
        finally:
            self._turns.release()


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


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, None, None]:
    """Put the cells of each notebook together, in its order, whatever plugins have shuffled."""
    yield
    cells: defaultdict[Notebook, list[NotebookCell]] = defaultdict(list)
    for item in items:
        if isinstance(item, NotebookCell):
            cells[item.parent].append(item)
    ordered: list[pytest.Item] = []
    for item in items:
        if not isinstance(item, NotebookCell):
            ordered.append(item)
        else:  # at the place of the first of them
            ordered += sorted(cells.pop(item.parent, ()), key=lambda cell: cell.cell_num)
    items[:] = ordered


def pytest_configure(config: pytest.Config) -> None:
    """Start the warm process, which imports while the notebooks are collected."""
    option = config.option
    was_started = STARTED in config.stash
    if was_started or not option.d2l_warm or option.collectonly or _only_distributes(config):
        return
    config.stash[STARTED] = started = start_warm_process(option.d2l_jobs, count_cores())
    if isinstance(started, WarmProcess):
        config.add_cleanup(started.close)


def _only_distributes(config: pytest.Config) -> bool:
    """Say whether other processes of pytest-xdist run the tests."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the warm process where there is one notebook alone."""
    started = session.config.stash.get(STARTED, None)
    notebooks = {item.parent for item in session.items if isinstance(item, NotebookCell)}
    if isinstance(started, WarmProcess):
        started.more = len(notebooks) > 1


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Run notebooks side by side where it is asked for."""
    config = session.config
    cells = [item for item in session.items if isinstance(item, NotebookCell)]
    alone = config.option.d2l_jobs == 1 or hasattr(config, "workerinput")
    if cells and not alone and not config.option.collectonly:
        config.add_cleanup(Ahead(config.option.d2l_jobs, cells).close)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cells failed and were not run, and which kernels were not warm."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    cells = [report for report in reports if ".ipynb::" in getattr(report, "nodeid", "")]
    failed = sum(report.failed and report.when == "call" for report in cells)
    told = Counter(
        note
        for report in cells
        for note in report.user_properties
        if report.when == WHEN.get(note[0])
    )
    not_run = sum(count for (name, _), count in told.items() if name == NOT_RUN)
    if failed or not_run:
        way_out = "" if terminalreporter.config.option.d2l_keep_going else " (--d2l-keep-going)"
        rest = f", {not_run} behind them not run{way_out}" if not_run else ""
        terminalreporter.write_line(f"cells of notebooks: {failed} failed{rest}")
    for (name, reason), count in told.items():
        if name == COLD:
            terminalreporter.write_line(f"{count} of the notebooks {COLD}: {reason}")


def _name(cell: NotebookNode) -> str:
    """Return the number that Jupyter shows beside a cell, and its first line of code."""
    lines = [line.strip() for line in cell.source.splitlines()]
    code = [line for line in lines if line and not line.startswith("#")]
    text = cell.metadata.get("name") or (code or lines or [""])[0]
    number = cell.execution_count or "[ ]"
    # Two colons separate the parts of a test's name.
    return f"Cell {number}: {text[:LONGEST_NAME]}".replace("::", ":")


def _tail(outputs: tuple[NotebookNode, ...]) -> str:
    """Return the end of what a cell printed before it was stopped."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    return printed[-TAIL:]
