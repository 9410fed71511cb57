"""Measure the library beside its peers: `python -m benchmarks`.

python -m benchmarks                            # all of it; writes benchmarks/results.*
python -m benchmarks --only files --only ties   # these; the other results stay as they are
python -m benchmarks --compare saved.json       # and say what became slower; exit 1 if so
python -m benchmarks --quick                    # does it run? small sizes, writes nothing
python -m benchmarks --short                    # the saved results as a table for the README
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .harness import Result, as_data, from_data, measure
from .picture import draw
from .reporting import markdown, short, slower

SUBJECTS = (
    "imports", "descriptions", "ties", "initialization", "construction", "firstpass", "blocks",
    "devices", "files", "notebooks", "grading",
)  # fmt: skip
RESULTS = Path(__file__).with_name("results.json")


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if options.worker:
        work(options.only[0], options.quick, options.worker)
        return 0
    if options.short:
        print(short(read(options.save or RESULTS)))
        return 0
    if options.graders:
        os.environ["GRADERS_PYTHON"] = str(options.graders.absolute())
    saved = read(options.compare) if options.compare else []
    path = options.save or (None if options.quick else RESULTS)
    results, lines = [], []
    for subject in options.only or SUBJECTS:
        try:
            results += in_own_process(subject, options.quick)
        except subprocess.CalledProcessError:
            lines.append(f"failed: {subject}")
        if path is not None:  # now, so that a run that is stopped loses nothing
            write(merged(results, read(path) if path.exists() else []), path)
    print(markdown(results))
    lines += [f"slower: {line}" for line in slower(results, saved)]
    for line in lines:
        print(line)
    return int(bool(lines))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--only", action="append", choices=SUBJECTS, help="this subject; may repeat")
    made.add_argument("--quick", action="store_true", help="two rounds on small sizes")
    made.add_argument("--short", action="store_true", help="measure nothing, print a short table")
    made.add_argument("--compare", type=Path, metavar="SAVED.json", help="what became slower?")
    made.add_argument(
        "--save", type=Path, metavar="PATH.json", help="where results go, with .md and .png beside"
    )
    made.add_argument(
        "--graders",
        type=Path,
        metavar="PYTHON",
        help="the interpreter that nbgrader and otter are installed for",
    )
    made.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    return made


def in_own_process(subject: str, quick: bool) -> list[Result]:
    """Measure a subject where nothing else was imported or allocated before."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results.json")
        command = [sys.executable, "-m", "benchmarks", "--only", subject, "--worker", str(path)]
        subprocess.run(command + ["--quick"] * quick, check=True, cwd=RESULTS.parents[1])
        return read(path)


def work(subject: str, quick: bool, path: Path) -> None:
    results = []
    for case in importlib.import_module(f"benchmarks.{subject}").cases(quick):
        print(f"{subject}: {case.name}", file=sys.stderr, flush=True)
        results.append(measure(subject, case, quick))
        del case  # a generator makes the next one: its memory must be free by then
    path.write_text(json.dumps(as_data(results)), encoding="utf-8")


def merged(results: list[Result], old: list[Result]) -> list[Result]:
    """Return the old results with those of the subjects that were measured now replaced."""
    measured = {result.subject for result in results}
    together = [*results, *(result for result in old if result.subject not in measured)]
    return sorted(together, key=lambda result: SUBJECTS.index(result.subject))


def read(path: Path) -> list[Result]:
    return list(from_data(json.loads(path.read_text(encoding="utf-8"))))


def write(results: list[Result], path: Path) -> None:
    path.write_text(json.dumps(as_data(results), indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown(results), encoding="utf-8")
    draw(results, path.with_suffix(".png"))


if __name__ == "__main__":
    sys.exit(main())
