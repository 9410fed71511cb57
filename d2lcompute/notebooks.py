"""Where the chapter's notebooks lie, and whether nbval finds what they show."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")


@dataclass
class Validation:
    """What nbval found in one notebook: `failures` hold a text for each cell that failed."""

    section: str
    language: str
    cells: int = 0
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0


def folder() -> Path:
    """Return the folder that holds `en` and `zh`: in the installed package, or in a checkout."""
    package = Path(__file__).parent
    installed = package / "chapters"
    return installed if installed.is_dir() else package.parent / "chapters"


def find(sections: Sequence[str] = (), languages: Sequence[str] = LANGUAGES) -> list[Path]:
    """Return the notebooks of `sections`, all without any, in the chapter's order.

    >>> from d2lcompute import notebooks
    >>> [path.name for path in notebooks.find(["blocks"], ["en"])]
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


def copy_out(target: Path, languages: Sequence[str] = LANGUAGES) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks into `target`; return the copied and those that were already there.

    A file that is there is never touched: it may hold a student's work.
    """
    copied, kept = [], []
    for source in find(languages=languages):
        copy = target / source.parent.name / source.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.exists():
            kept.append(copy)
        else:
            shutil.copyfile(source, copy)
            copied.append(copy)
    return copied, kept


def validate(
    notebooks: Sequence[Path], on_cell: Callable[[Validation, int], None]
) -> list[Validation]:
    """Run `notebooks` with nbval and compare their outputs.

    `on_cell` is called after each cell with what its notebook gave so far and the number of cells
    in all notebooks. Returns a `Validation` a notebook. Raises `RuntimeError` where nbval could
    not run at all.
    """
    import pytest

    results = {path: Validation(_name(path), path.parent.name) for path in notebooks}
    with _bare_configuration() as options, contextlib.redirect_stdout(io.StringIO()) as output:
        status = pytest.main(
            [*options, "--nbval", "--nbval-current-env", *map(str, notebooks)],
            plugins=[_Recorder(results, on_cell)],
        )
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"nbval could not run the notebooks: {output.getvalue().strip()}")
    return list(results.values())


def _name(path: Path) -> str:
    return path.stem.partition("_")[2]


@contextlib.contextmanager
def _bare_configuration() -> Iterator[list[str]]:
    """Keep the caller's pytest configuration, plugins' caches and conftests out of the run."""
    with tempfile.TemporaryDirectory() as temporary:
        ini = Path(temporary, "pytest.ini")
        ini.write_text("[pytest]\n", encoding="utf-8")
        quiet = ["-p", "no:cacheprovider", "--noconftest", "--color=no", "--capture=no"]
        yield ["-c", str(ini), "--rootdir", str(folder()), *quiet]


class _Recorder:
    """A pytest plugin that keeps, for each notebook, what its cells gave."""

    def __init__(
        self, results: dict[Path, Validation], on_cell: Callable[[Validation, int], None]
    ) -> None:
        self.results = results
        self.on_cell = on_cell
        self.total = 0
        self.started = time.perf_counter()

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        self.total = len(items)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            path = folder() / report.nodeid
            self.results[path].failures.append(str(report.longrepr))

    def pytest_runtest_logreport(self, report: Any) -> None:
        path = folder() / report.nodeid.partition("::")[0]
        result = self.results[path]
        if report.failed:
            result.failures.append(str(report.longrepr))
        if report.when == "teardown":
            result.cells += 1
            result.seconds += time.perf_counter() - self.started
            self.started = time.perf_counter()
            self.on_cell(result, self.total)
