"""The command line: `run`, `open`, `info`, in a checkout `build`; grading adds its commands."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from .grading.commands import add_commands
from .notebooks import chapter as notebooks
from .notebooks.console import a_folder, fail, installed, require, requirements
from .notebooks.published import way_to_get

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
Sections = Annotated[
    list[str] | None, typer.Argument(help="Sections by name, such as blocks; all without any.")
]
Language = Annotated[str | None, typer.Option(help="en or zh; both without it.")]
EXTRAS = ("notebooks", "lab", "grading", "cluster")  # that a command can need
BUILD = notebooks.folder() / "build.py"  # in a checkout alone


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"d2lcompute {metadata.version('d2lcompute')}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Dive into Deep Learning's chapter on computation: run, read, rebuild, grade."""


@app.command()
def run(
    section: Sections = None,
    lang: Language = None,
    cold: Annotated[
        bool, typer.Option("--cold", help="Start every kernel instead of forking it.")
    ] = False,
) -> None:
    """Run the chapter's notebooks side by side and compare what they show, as `pytest --d2l` does.

    Example: `d2lcompute run blocks --lang en`
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    require("notebooks")
    chosen = _find(section, lang)
    console = Console(file=sys.stdout)  # pytest redirects the name, not the file
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("starting", total=None)

        def show(result: notebooks.Validation, total: int) -> None:
            name = f"{result.section} ({result.language})"
            progress.update(task, description=f"{name:20}", total=total, advance=1)

        try:
            results = notebooks.validate(chosen, show, warm=not cold)
        except KeyboardInterrupt:
            print("error: stopped", file=sys.stderr)
            raise typer.Exit(1) from None
    for result in results:
        for failure in result.failures:
            print(f"\n{result.section} ({result.language}): {failure}")
    console.print(_closing_table(results))
    for reason, count in Counter(filter(None, (each.why_cold for each in results))).items():
        print(f"{count} of {len(results)} kernels started cold: {reason}")
    raise typer.Exit(any(result.failures for result in results))


@app.command("open")
def open_(
    folder: Annotated[Path, typer.Argument(help="Where the copies go.", callback=a_folder)] = Path(
        "d2l-notebooks"
    ),
    lang: Language = None,
    clear: Annotated[
        bool, typer.Option("--clear", help="Copy without any outputs, to run it all yourself.")
    ] = False,
    lab: Annotated[bool, typer.Option(help="Start JupyterLab there.")] = True,
) -> None:
    """Copy the notebooks to a folder of yours and start JupyterLab there.

    A file that is already in the folder is kept as it is. Exercises are copied without outputs.

    Example: `d2lcompute open my-notebooks --lang en`
    """
    if lab:
        require("lab")
    _find(None, lang)
    copied, kept = notebooks.copy_out(folder, [lang] if lang else notebooks.LANGUAGES, clear)
    print(f"{folder}: {len(copied)} notebooks copied, {len(kept)} kept as they were")
    if lab:
        raise typer.Exit(subprocess.call([sys.executable, "-m", "jupyterlab", str(folder)]))


def build(section: Sections = None) -> None:
    """Rebuild the notebooks from their bilingual sources.

    Example: `d2lcompute build blocks`
    """
    require("test")
    raise typer.Exit(subprocess.call([sys.executable, str(BUILD), *(section or [])]))


if BUILD.is_file():
    app.command()(build)


@app.command()
def info() -> None:
    """Show versions, devices and what is installed.

    Example: `d2lcompute info`
    """
    import torch

    print(f"d2lcompute {metadata.version('d2lcompute')}, torch {torch.__version__}")
    print(f"Python {platform.python_version()} on {platform.platform()}")
    accelerators = torch.accelerator.device_count()
    print(f"devices: cpu, {torch.get_num_threads()} threads; accelerators: {accelerators}")
    brought_by = {each.name: extra for extra in reversed(EXTRAS) for each in requirements(extra)}
    for package, extra in sorted(brought_by.items()):
        print(f"{package}: {installed(package) or f'missing; do {way_to_get(extra)}'}")
    print(f"notebooks: {notebooks.folder()}")


add_commands(app)


def _closing_table(results: list[notebooks.Validation]) -> object:
    from rich.table import Table

    table = Table("section", "language")
    for column in ("cells", "result", "seconds"):
        table.add_column(column, justify="right")
    for result in results:
        failed = f"{len(result.failures)} failed" if result.failures else ""
        not_run = f", {result.not_run} not run" if result.not_run else ""
        verdict = f"[red]{failed}{not_run}[/red]" if failed else "[green]passed[/green]"
        seconds = f"{result.seconds:.1f}"
        table.add_row(result.section, result.language, str(result.cells), verdict, seconds)
    return table


def _find(sections: list[str] | None, language: str | None) -> list[Path]:
    try:
        return notebooks.find(sections or (), [language] if language else notebooks.LANGUAGES)
    except ValueError as error:
        fail(str(error), status=2)


def main() -> None:
    """Run the command line; say what is wrong in one line, never with a traceback."""
    try:
        status = app(standalone_mode=False)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        message = usage() if usage else _in_words(error)
        if message:  # empty where the help was shown instead
            print(f"error: {message}", file=sys.stderr)
        status = 2 if usage else 1
    sys.exit(status)


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
