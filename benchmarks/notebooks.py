"""What validating torch notebooks costs: one more of them, 25, and the memory of a kernel."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nbformat

from d2lcompute.notebooks.chapter import find
from d2lcompute.notebooks.isolation import clean_environment, find_isolation
from d2lcompute.notebooks.kernel import start_kernel
from d2lcompute.notebooks.warm import WarmProcess

from .harness import ROUNDS, Case, Target, ours, peer

CELLS = {
    "import torch\nfrom torch import nn": "",
    "net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))\n"
    "net(torch.ones(2, 20)).shape": "torch.Size([2, 10])",
    "net(torch.ones(2, 20)).square().mean().backward()\n"
    "net[0].weight.grad.shape": "torch.Size([256, 20])",
}
MEMORY = "print(open('/proc/self/smaps_rollup').read())"
# Where the last cell of a notebook ends, the next notebook begins.
CLOCK = """
import pathlib, time
ends = {}
def pytest_runtest_logfinish(nodeid):
    ends[nodeid.partition("::")[0]] = time.perf_counter()
def pytest_sessionfinish():
    first, *others = ends.values()
    if others:
        pathlib.Path("seconds.txt").write_text(str((others[-1] - first) / len(others)))
"""
OURS = "pytest --d2l --d2l-warm"
WAYS = {OURS: ("--d2l", "--d2l-warm"), "nbval": ("--nbval", "--nbval-current-env")}
NBMAKE = ("--nbmake",)


def cases(quick):
    few, many = (2, 3) if quick else (3, 25)
    with (
        tempfile.TemporaryDirectory() as folder,
        WarmProcess(environment=clean_environment()) as warm_process,
    ):
        write(Path(folder), many)
        seconds_in_a_box(warm_process)  # the first waits for the warm process
        yield one_more(partial(next_one, folder, few), warm_process)
        yield alone(partial(validate, folder, 1))
        yield section(Path(folder, "section"))
        yield all_of_them(partial(validate, folder, many), many)
        yield chapter(["blocks", "--lang", "en"] if quick else [])
        yield memory(warm_process)


def one_more(run, warm_process):
    return Case(
        "one more notebook of 3 cells",
        (
            ours("kernel in a box", lambda: seconds_in_a_box(warm_process)),
            ours(OURS, lambda: run(*WAYS[OURS]), rounds=ROUNDS),
            peer("nbval", lambda: run(*WAYS["nbval"]), rounds=ROUNDS),
            peer("nbmake", lambda: run(*NBMAKE), needs="nbmake", rounds=ROUNDS),
        ),
        (
            Target("kernel in a box", 0.25, why="counted on a machine where nbval takes 1.7 s"),
            Target(OURS, 0.25),
        ),
        headline="validate one more torch notebook",
        returned=True,
    )


def alone(run):
    return Case(
        "one notebook of 3 cells, alone",
        (
            ours(OURS, lambda: run(*WAYS[OURS])),
            peer("nbval", lambda: run(*WAYS["nbval"])),
            peer("nbmake", lambda: run(*NBMAKE), needs="nbmake", rounds=ROUNDS),
        ),
        (Target(OURS, 0.7, "nbval", why="most of it is to import nbval and torch, as for nbval"),),
        headline="validate one torch notebook",
    )


def section(folder):
    (notebook,) = find(["blocks"], ["en"])
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="ascii")
    shutil.copy(notebook, folder)  # away from the checkout's conftest.py, which imports torch
    return Case(
        "one section of the chapter, alone",
        (
            ours("d2lcompute run", partial(run_chapter, "blocks", "--lang", "en")),
            ours("pytest --d2l", partial(run_pytest, folder, notebook.name, "--d2l")),
            peer("nbval", partial(run_pytest, folder, notebook.name, *WAYS["nbval"])),
        ),
        (Target("d2lcompute run", 0.7, "nbval"),),
        headline="validate one section of the chapter",
    )


def chapter(sections):
    return Case(
        "the chapter",
        (ours("d2lcompute run", partial(run_chapter, *sections), rounds=ROUNDS),),
        (Target("d2lcompute run", 15),),
        headline="validate the chapter in both languages",
    )


def all_of_them(run, count):
    return Case(
        f"{count} notebooks of 3 cells",
        (
            ours(OURS, lambda: run(*WAYS[OURS]), rounds=ROUNDS),
            peer("nbval", lambda: run(*WAYS["nbval"]), rounds=2),
            peer("nbmake", lambda: run(*NBMAKE), needs="nbmake", rounds=1),
        ),
        (Target(OURS, 0.2, "nbval"),),
        headline=f"validate {count} torch notebooks",
    )


def memory(warm_process):
    return Case(
        "private memory of a kernel after 3 cells",
        (
            ours("warm, in a box", lambda: megabytes(find_isolation(warm=True), warm_process)),
            peer("ordinary kernel", megabytes),
        ),
        (Target("warm, in a box", 50),),
        headline="private memory of a torch kernel",
        unit="MB",
        returned=True,
    )


def write(folder, count):
    make = nbformat.v4
    cells = []
    for number, (source, text) in enumerate(CELLS.items(), start=1):
        output = make.new_output("execute_result", {"text/plain": text}, execution_count=number)
        outputs = [output] if text else []
        cells.append(make.new_code_cell(source, execution_count=number, outputs=outputs))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = make.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    for number in range(count):
        nbformat.write(notebook, folder / f"notebook_{number}.ipynb")
    (folder / "conftest.py").write_text(CLOCK, encoding="ascii")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="ascii")


def validate(folder, count, *options):
    run_pytest(folder, *(f"notebook_{number}.ipynb" for number in range(count)), *options)


def run_pytest(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def run_chapter(*arguments):
    command = [sys.executable, "-m", "d2lcompute", "run", *arguments]
    subprocess.run(command, check=True, capture_output=True)


def next_one(folder, count, *options):
    """Return the seconds of one notebook more, without what starting costs."""
    validate(folder, count, *options)
    return float(Path(folder, "seconds.txt").read_text(encoding="ascii"))


def run_cells(kernel, warm):
    if warm and kernel.why_cold:
        raise RuntimeError(kernel.why_cold)
    for source in CELLS:
        if kernel.run(source).error is not None:
            raise RuntimeError(f"a cell failed: {source}")


def seconds_in_a_box(warm_process):
    start = time.perf_counter()
    with start_kernel(find_isolation(warm=True), warm_process) as kernel:
        run_cells(kernel, warm=True)
    return time.perf_counter() - start


def megabytes(isolation=None, warm_process=None):
    with start_kernel(isolation, warm_process) as kernel:
        run_cells(kernel, warm=warm_process is not None)
        lines = kernel.run(MEMORY).outputs[0].text.splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000
