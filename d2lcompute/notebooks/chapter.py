"""Where the chapter's notebooks lie, and whether they show what they say."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .isolation import count_cores
from .warm import WarmProcess, start_warm_process

LANGUAGES = ("en", "zh")
_EXERCISE = "d2c.check("  # what a cell of an exercise ends in


@dataclass
class Validation:
    """What was found in one notebook.

    Of its `cells`, those `not_run` stand behind one that failed. `failures` hold a text for each
    that failed. `why_cold` says why the kernel was not forked where it should have been.
    """

    section: str
    language: str
    cells: int = 0
    not_run: int = 0
    failures: list[str] = field(default_factory=list)
    why_cold: str | None = None
    seconds: float = 0.0


def folder() -> Path:
    """Return the folder that holds `en` and `zh`: in the installed package, or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "chapters"
    return installed if installed.is_dir() else package.parent / "chapters"


def find(sections: Sequence[str] = (), languages: Sequence[str] = LANGUAGES) -> list[Path]:
    """Return the notebooks of `sections`, all without any, in the chapter's order.

    >>> from d2lcompute.notebooks import chapter
    >>> [path.name for path in chapter.find(["blocks"], ["en"])]
    ['1_blocks.ipynb']

    A section is called by its name, with or without its number. Raises `ValueError` for a section
    or a language that does not exist.
    """
    for language in languages:
        if language not in LANGUAGES:
            raise ValueError(f"`lang` must be one of {', '.join(LANGUAGES)}, got {language!r}")
    names = {_name(path): path.name for path in sorted((folder() / "en").glob("*.ipynb"))}
    chosen = [section.partition("_")[2] or section for section in sections] or list(names)
    for section in chosen:
        if section not in names:
            raise ValueError(f"`section` must be one of {', '.join(names)}, got {section!r}")
    return [folder() / language / names[section] for section in chosen for language in languages]


def copy_out(
    target: Path, languages: Sequence[str] = LANGUAGES, clear: bool = False
) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks into `target`; return the copied and those that were already there.

    A file that is there is never touched: it may hold a student's work. The copies have no outputs
    below exercises, which are the reader's to do, and with `clear` none at all.
    """
    copied, kept = [], []
    for source in find(languages=languages):
        copy = target / source.parent.name / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():
            kept.append(copy)
        else:
            copy.write_text(_cleared(source, everything=clear), encoding="utf-8", newline="\n")
            copied.append(copy)
    return copied, kept


def _cleared(source: Path, everything: bool) -> str:
    """Return a notebook as text, without outputs in all cells or in those of exercises."""
    notebook = json.loads(source.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and (everything or _EXERCISE in "".join(cell["source"])):
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"


def validate(
    notebooks: Sequence[Path],
    on_cell: Callable[[Validation, int], None],
    warm: bool = True,
) -> list[Validation]:
    """Run `notebooks` as `pytest --d2l` does and compare their outputs.

    `on_cell` is called after each cell with what its notebook gave so far and the number of cells
    in all notebooks. `warm` forks the kernels where that pays. Returns a `Validation` a notebook.
    Raises `RuntimeError` where pytest could not run at all.
    """
    jobs = min(count_cores(), len(notebooks))
    # It imports torch while pytest and nbval are imported here.
    started = start_warm_process(jobs, count_cores()) if warm else None
    import pytest

    results = {path: Validation(_name(path), path.parent.name) for path in notebooks}
    options = ["-p", "nbval", "-p", "pytest_d2l", "--continue-on-collection-errors", "--d2l"]
    options += ["--d2l-warm"] if warm else []
    recorder = _Recorder(results, on_cell, started)
    with started if isinstance(started, WarmProcess) else contextlib.nullcontext():
        arguments = [*options, f"--d2l-jobs={jobs}", *map(str, notebooks)]
        status, said = run_session(folder(), arguments, recorder)
    if status == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest could not run the notebooks: {said}")
    return list(results.values())


def _name(path: Path) -> str:
    return path.stem.partition("_")[2]


class _Recorder:
    """A pytest plugin that keeps, for each notebook, what its cells gave."""

    def __init__(
        self,
        results: dict[Path, Validation],
        on_cell: Callable[[Validation, int], None],
        started: WarmProcess | str | None,
    ) -> None:
        self.folder = folder()
        self.results = results
        self.on_cell = on_cell
        self.started = started
        self.total = 0

    def pytest_cmdline_main(self, config: Any) -> None:
        if self.started is not None:
            from .plugin import STARTED

            config.stash[STARTED] = self.started

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self.total = len(items)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            path = self.folder / report.nodeid
            self.results[path].failures.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        from .plugin import COLD, SECONDS

        path = self.folder / report.nodeid.partition("::")[0]
        result = self.results[path]
        if report.failed:
            result.failures.append(str(report.longrepr))
        if report.when == "setup":
            result.not_run += report.skipped
        if report.when == "teardown":
            told = dict(report.user_properties)
            result.why_cold = result.why_cold or told.get(COLD)
            result.seconds = told.get(SECONDS, result.seconds)
            result.cells += 1
            self.on_cell(result, self.total)


UNUSED = "cacheprovider", "logging", "threadexception", "unraisableexception"  # parts of pytest
OPTIONS = (
    *(f"-pno:{name}" for name in UNUSED), "--noconftest", "--capture=no", "--color=no",
)  # fmt: skip


def run_session(root: Path, arguments: Sequence[str], plugin: object) -> tuple[int, str]:
    """Run pytest with `arguments` and `plugin`; return its exit status and what it printed.

    Neither the caller's configuration nor conftests, variables, caches and installed plugins have
    a part in it. Names of tests begin with paths under `root`.
    """
    import pytest

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
        # What jsonschema would check international addresses with, of which a notebook has none: to
        # build their grammar takes as long as to import torch.
        patch.setitem(sys.modules, "rfc3987_syntax", None)
        place = ["-c", str(configuration), "--rootdir", str(root)]
        status = pytest.main([*OPTIONS, *place, *arguments], plugins=[plugin])
    return int(status), output.getvalue().strip()
