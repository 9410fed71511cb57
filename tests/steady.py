"""Run tests on a machine that is made busy: `python tests/steady.py [TESTS ...]`.

python tests/steady.py                      # the tests that know a clock or a process
python tests/steady.py tests                # all of them
python tests/steady.py --times 3 tests/notebooks

First beside four busy processes a core, then beside one that takes what memory can bring. A test
that fails here and passes alone takes a slow machine for a fault, or believes in an order that
nobody promised. Exit 1 if any did.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLOCKS = [
    "tests/notebooks/test_kernel.py",
    "tests/notebooks/test_plugin.py",
    "tests/notebooks/test_warm.py",
    "tests/notebooks/test_isolation.py",
    "tests/notebooks/test_provisioner.py",
    "tests/grading/test_attempt.py",
    "tests/grading/test_grade.py",
    "tests/grading/test_commands.py",
    "tests/test_main.py",
]
# They end with the process that started them, however that ends.
BUSY = "import os\nwhile os.getppid() == {parent}: sum(range(1_000_000))"
MEMORY = (
    "import os, numpy\none, two = numpy.ones((2, 1 << 25))\n"
    "while os.getppid() == {parent}: numpy.copyto(one, two)"
)


def main() -> int:
    options = parser().parse_args()
    crowds = {f"{4 * cores()} busy processes": [BUSY] * 4 * cores(), "busy memory": [MEMORY]}
    failed = []
    for name, codes in crowds.items():
        for time in range(1, options.times + 1):
            print(f"beside {name}, {time} of {options.times}", flush=True)
            with crowd(codes):
                command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
                if subprocess.run([*command, *options.tests], cwd=ROOT, check=False).returncode:
                    failed.append(f"failed beside {name}, {time} of {options.times}")
    print("\n".join(failed or ["all passed"]))
    return int(bool(failed))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("tests", nargs="*", default=CLOCKS, help="what pytest is given")
    made.add_argument("--times", type=int, default=1, help="how often, beside each (1)")
    return made


@contextmanager
def crowd(codes: list[str]) -> Iterator[None]:
    with ExitStack() as running:
        for code in codes:
            command = [sys.executable, "-c", code.format(parent=os.getpid())]
            process = running.enter_context(subprocess.Popen(command))
            running.callback(process.kill)
        yield


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


if __name__ == "__main__":
    sys.exit(main())
