"""README's two commands in fresh environments: on every Python, with three sets of versions.

python tests/everywhere.py                                all that is found, into docs/everywhere.md
python tests/everywhere.py --python 3.12 --set tested     one of them
python tests/everywhere.py --tests "tests/files"          part of the suite

A Python is `python3.12` on the PATH, or a path. The sets: `tested` is constraints.txt, `oldest`
has every lower bound of pyproject.toml, `newest` is what a user gets without constraints.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "docs" / "everywhere.md"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
SETS = ("oldest", "tested", "newest")
VERSIONS = "versions.txt"  # tests read constraints.txt to know what is tested
BOUND = re.compile(r'"([\w-]+)(?:\[[\w,]+\])?>=([\w.]+)"')


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--python", action="append", help="3.12, or a path; again for more")
    parser.add_argument("--set", action="append", choices=SETS, help="again for more")
    parser.add_argument("--tests", default="", help="what pytest is given; all without it")
    parser.add_argument("--uv", action="store_true", help="let uv install, which is faster")
    options = parser.parse_args()
    green = True
    for python in options.python or PYTHONS:
        program = shutil.which(python) or shutil.which(f"python{python}")
        if program is None:
            print(f"{python}: not found")
            continue
        for versions in options.set or SETS:
            if versions == "oldest" and options.set is None and python != PYTHONS[0]:
                continue  # the oldest versions have no builds for newer Pythons
            row, passed = try_one(program, versions, options)
            green &= passed
            enter(row)
            print("|".join(["", *row, ""]), flush=True)
    return 0 if green else 1


def try_one(program, versions, options):
    """Make an environment, run README's two commands there; return the row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        copy, environment = Path(folder, "copy"), Path(folder, "environment")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(copy)], check=True)
        subprocess.run([program, "-m", "venv", str(environment)], check=True)
        scripts = environment / ("Scripts" if os.name == "nt" else "bin")
        (copy / VERSIONS).write_text(constraints(versions), encoding="utf-8")
        path = os.pathsep.join([str(scripts), os.environ["PATH"]])
        variables = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(environment)}
        shell = {"cwd": copy, "env": variables, "shell": True, "text": True}
        results, green = [], True
        for command in commands(options):
            finished = subprocess.run(command, capture_output=True, **shell)
            log = Path(tempfile.gettempdir(), f"everywhere-{Path(program).name}-{versions}.txt")
            with log.open("a", encoding="utf-8") as file:
                file.write(f"$ {command}\n{finished.stdout}{finished.stderr}\n")
            results.append(result(finished, log))
            green &= finished.returncode == 0
        show = "import platform, torch; print(platform.python_version(), torch.__version__)"
        python = scripts / "python"
        said = subprocess.run([python, "-c", show], capture_output=True, text=True).stdout.split()
    system = f"{platform.system()} {platform.machine()}"
    found, torch = said or [program, "none"]
    tests = ", ".join(re.sub(r"tests/|test_|\.py", "", options.tests).split()) or "all"
    row = [found, torch, versions, system, *results, tests, str(date.today())]
    return row, green


def result(finished, log):
    """Return what a command counted: notebooks or tests; else where to read why it counted none."""
    notebooks = re.findall(r"^\W*\w+ +\W (?:en|zh) +\W +\d+ \W +(.+?) \W", finished.stdout, re.M)
    if notebooks:
        return f"{notebooks.count('passed')} of {len(notebooks)} notebooks"
    tests = re.findall(r"^\W*(\d+ (?:passed|failed).*?)(?: in .*)?$", finished.stdout, re.M)
    if tests:
        return tests[-1].strip(" =")
    return "passed" if finished.returncode == 0 else f"failed ({log})"


def commands(options):
    """Return README's two commands, with what was asked for."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    run, test = re.findall(r"^pip install -c constraints.txt .*", text, re.M)
    pip = "uv pip install" if options.uv else "pip install"
    return [
        command.replace("pip install -c constraints.txt", f"{pip} -c {VERSIONS}")
        for command in (run, f"{test} {options.tests}")
    ]


def constraints(versions):
    """Return the constraints that make a set of versions."""
    if versions == "newest":
        return ""
    if versions == "tested":
        return (ROOT / "constraints.txt").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project]")[2]
    bounds = dict(BOUND.findall(project.partition("[project.scripts]")[0]))
    return "".join(f"{name}=={version}\n" for name, version in bounds.items())


def enter(row):
    """Put a row into the table of the documentation, in the place of an older one like it."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    rows = {key(line): line for line in lines if re.match(r"\| 3\.", line)}
    line = f"| {' | '.join(row)} |"
    rows[key(line)] = line
    kept = [line for line in lines if not re.match(r"\| 3\.", line)]
    place = next(at for at, line in enumerate(kept) if line.startswith("|---")) + 1
    ordered = sorted(
        rows.values(), key=lambda line: (*map(int, re.findall(r"\d+", line)[:2]), line)
    )
    text = "\n".join([*kept[:place], *ordered, *kept[place:]]) + "\n"
    TABLE.write_text(text, encoding="utf-8", newline="\n")


def key(line):
    """Return what tells rows apart: Python to the second number, set and system."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return ".".join(cells[0].split(".")[:2]), cells[2], cells[3]


if __name__ == "__main__":
    sys.exit(main())
