"""Nothing leans on Linux but boxes and warm kernels: other systems, simulated.

What this cannot show is shown by CI, which has macOS and Windows.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
every_system = pytest.mark.parametrize("system", ["darwin", "win32"])


def run_on(system, code, folder, encoding="utf-8"):
    program = ROOT / "tests" / "helpers" / "platforms.py"
    variables = {**os.environ, "PYTHONIOENCODING": encoding, "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, program, system, code], cwd=folder, env=variables, capture_output=True
    )


IMPORT_ALL = """
import importlib
from pathlib import Path
import d2lcompute
root = Path(d2lcompute.__file__).parent
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")
    if name not in ("d2lcompute.d2l", "d2lcompute.words.__main__") and ".sandbox" not in name:
        importlib.import_module(name)
"""

USE = """
import torch
import d2lcompute as d2c
from torch import nn
net = d2c.mlp(8, 2)
d2c.materialize(net, (2, 4))
d2c.initialize(net, seed=0)
d2c.save_parameters(net, "net.safetensors")
assert d2c.load_parameters(d2c.mlp(8, 2), "net.safetensors")
d2c.save("list", [torch.ones(2), torch.zeros(3)])
assert len(d2c.load("list")) == 2
print(d2c.trace(net, (2, 4)))
print(d2c.describe(net), d2c.diagnose(net, torch.rand(2, 4)))
d2c.draw(net, (2, 4)).save("net.svg")
X = torch.ones(2, device=d2c.practice_gpus(2)[1])
assert (X + X).cpu().tolist() == [2, 2]
"""

COMMANDS = """
import sys
import d2lcompute as d2c
from d2lcompute.__main__ import main
from d2lcompute.notebooks.isolation import LEVELS, why_not
from d2lcompute.notebooks.warm import NotWarmError, WarmProcess
for command in ("open mine --no-lab", "info", "new course", "--help"):
    sys.argv[1:] = command.split()
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
d2c.check("blocks.parallel", None)
print([why_not(level) for level in LEVELS])
try:
    WarmProcess()
except NotWarmError as reason:
    print(reason)
"""


@every_system
def test_every_module_can_be_imported(system, tmp_path):
    finished = run_on(system, IMPORT_ALL, tmp_path)
    assert finished.returncode == 0, finished.stderr.decode()


@every_system
def test_the_library_works_and_prints_what_an_old_code_page_can_hold(system, tmp_path):
    finished = run_on(system, USE, tmp_path, encoding="cp1252")
    assert finished.returncode == 0, finished.stderr.decode()
    assert b"| 0: Linear" in finished.stdout


@every_system
def test_commands_work_exercises_are_checked_and_what_needs_linux_says_so(system, tmp_path):
    finished = run_on(system, COMMANDS, tmp_path, encoding="cp1252")
    assert finished.returncode == 0, finished.stderr.decode()
    said = finished.stdout.decode("cp1252")
    assert "kernels can be forked on Linux only" in said
    assert f"needs Linux, this is {system}" in said
    assert (tmp_path / "course" / "reference.md").is_file()
    assert (tmp_path / "mine" / "zh" / "1_blocks.ipynb").is_file()


def test_no_file_of_the_repository_has_a_name_that_windows_cannot_hold():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    names = listed.stdout.decode().split("\0")
    assert len(names) > 500
    assert not [name for name in names if set(name) & set('<>:"|?*\\') or name.endswith((".", " "))]
    assert len({name.lower() for name in names}) == len(names)
