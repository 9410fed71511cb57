import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

import d2lcompute
from d2lcompute import __main__ as command_line
from d2lcompute.notebooks import chapter, console

PACKAGE = Path(d2lcompute.__file__).parent


@pytest.fixture
def copied_house(tmp_path):
    """A copy of the package with the first section's notebooks, free to be edited."""
    shutil.copytree(PACKAGE, tmp_path / "d2lcompute", ignore=shutil.ignore_patterns("__pycache__"))
    for language in chapter.LANGUAGES:
        target = tmp_path / "chapters" / language
        target.mkdir(parents=True)
        shutil.copy(chapter.folder() / language / "1_blocks.ipynb", target)
    return tmp_path


def write_blocks(house, language, *sources, outputs=()):
    """Put other cells into the first section; `outputs` are the last one's."""
    cells = [new_code_cell(source, execution_count=1) for source in sources]
    cells[-1].outputs = list(outputs)
    notebook = new_notebook(cells=cells)
    nbformat.write(notebook, house / "chapters" / language / "1_blocks.ipynb")


def run_in(house, *arguments):
    command = [sys.executable, "-m", "d2lcompute", "run", *arguments]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, encoding="utf-8")


def test_run_validates_a_section_and_closes_with_a_table(copied_house):
    finished = run_in(copied_house, "blocks", "--lang", "en")
    assert (finished.returncode, finished.stderr) == (0, "")
    notebook = json.loads((chapter.folder() / "en" / "1_blocks.ipynb").read_text("utf-8"))
    count = sum(cell["cell_type"] == "code" for cell in notebook["cells"])
    header, row = (line for line in finished.stdout.splitlines() if line[0] in "┃│")
    assert header.split("┃")[1:-1] == [
        " section ",
        " language ",
        " cells ",
        " result ",
        " seconds ",
    ]
    assert [cell.strip() for cell in row.split("│")[1:-2]] == ["blocks", "en", str(count), "passed"]
    assert ("1 of 1 kernels started cold: " in finished.stdout) == (sys.platform != "linux")


def test_run_names_notebook_cell_and_both_outputs_where_they_differ(copied_house):
    path = copied_house / "chapters" / "zh" / "1_blocks.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    at, cell = next((i, c) for i, c in enumerate(cells) if "Size([2, 10])" in str(c["outputs"]))
    cell["outputs"][0]["data"]["text/plain"] = ["torch.Size([2, 11])"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    finished = run_in(copied_house, "blocks")
    assert finished.returncode == 1
    for part in (
        "blocks (zh)",
        f"Cell {at + 1}",
        "torch.Size([2, 11])",
        "torch.Size([2, 10])",
        "1 failed",
    ):
        assert part in finished.stdout
    assert finished.stdout.count("failed") == 1


def test_run_stops_a_notebook_at_its_first_failure_and_runs_the_next(copied_house):
    write_blocks(copied_house, "en", "x = 1", "1 / 0", "y = 2", "z = 3")
    write_blocks(copied_house, "zh", "import os; os._exit(3)", "x = 1")
    finished = run_in(copied_house, "blocks")
    assert (finished.returncode, finished.stderr) == (1, "")
    for part in (
        "blocks (en): Cell 1 raised ZeroDivisionError: division by zero",
        "1 failed, 2 not run",
        "blocks (zh): Cell 1 was not run to its end: the kernel ended",
        "1 failed, 1 not run",
    ):
        assert part in finished.stdout
    for part in ("\x1b", "exit code 0"):
        assert part not in finished.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="kernels can be forked on Linux only")
def test_run_forks_its_kernels_but_when_asked_not_to(copied_house):
    code = "import sys; print('torch' in sys.modules)"
    for language, is_warm in zip(chapter.LANGUAGES, (True, False), strict=True):
        shown = [new_output("stream", text=f"{is_warm}\n")]
        write_blocks(copied_house, language, code, outputs=shown)
    warm, cold = run_in(copied_house, "blocks"), run_in(copied_house, "blocks", "--cold")
    for finished, language in ((warm, "zh"), (cold, "en")):
        assert f"blocks ({language}): " in finished.stdout
        assert finished.stdout.count("1 failed") == 1
        assert "started cold" not in finished.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no process can be sent Ctrl-C on Windows")
def test_ctrl_c_stops_a_run_in_one_line_and_leaves_nothing_running(copied_house):
    marker = copied_house / "kernel"
    tell = f"import os, pathlib; _ = pathlib.Path({str(marker)!r}).write_text(str(os.getpid()))"
    for language in chapter.LANGUAGES:
        write_blocks(copied_house, language, tell, "import time; time.sleep(1000)")
    # What runs in the background of a script ignores Ctrl-C, and so does all that it starts.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = "import runpy; runpy.run_module('d2lcompute', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-c", f"{heed}\n{start}", "run"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=copied_house, **pipes) as running:
        while not (marker.is_file() and marker.read_text()):
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate()
    assert (running.returncode, errors) == (1, "error: stopped\n")
    assert not psutil.pid_exists(int(marker.read_text()))


def test_run_reports_a_file_that_is_no_notebook_and_runs_the_others(copied_house):
    (copied_house / "chapters" / "en" / "1_blocks.ipynb").write_text("{", encoding="utf-8")
    write_blocks(copied_house, "zh", "x = 1")
    finished = run_in(copied_house, "blocks")
    assert (finished.returncode, finished.stderr) == (1, "")
    assert "blocks (en): 1_blocks.ipynb can not be read as a notebook: " in finished.stdout
    assert "passed" in finished.stdout
    assert "Traceback" not in finished.stdout


@pytest.mark.parametrize("command", ["run", "open", "build", "info"])
def test_every_command_has_help_with_an_example(call, command):
    status, output, _ = call(command, "--help")
    assert status == 0
    assert f"Example: d2lcompute {command}" in output


def test_no_command_shows_the_help():
    finished = subprocess.run([sys.executable, "-m", "d2lcompute"], capture_output=True, text=True)
    assert finished.returncode == 2
    assert "info" in finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr


READING = [
    ["release"], ["examine"], ["grade"], ["gradescope"], ["self-check"],
    ["self-check", "file", "--released"],
]  # fmt: skip
WRITING = [
    ["open", "--no-lab"], ["new"], ["release", "file", "--to"], ["grade", "file", "folder", "--to"],
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nothing"], "`section` must be one of "),
        (["run", "--lang", "de"], "`lang` must be one of en, zh, got 'de'"),
        (["open", "--no-lab", "--lang", "de"], "`lang` must be one of en, zh, got 'de'"),
        (["run", "--fast"], "No such option: --fast"),
        (["fly"], "No such command 'fly'."),
        *[([*command, "none.md"], "none.md, which is not there") for command in READING],
        *[([*command, "folder"], "must be a file, got folder, which is a") for command in READING],
        *[([*command, "file"], "must be a folder, got file, and ") for command in WRITING],
        *[([*command, "file/in"], "must be a folder, got file/in, and ") for command in WRITING],
    ],
)
def test_wrong_use_exits_2_with_one_line(call, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    status, output, errors = call(*arguments)
    assert (status, output) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_open_copies_the_notebooks_and_says_how_many(call, tmp_path):
    status, output, _ = call("open", tmp_path / "mine", "--lang", "en", "--no-lab")
    count = len(chapter.find(languages=["en"]))
    assert status == 0
    assert output.endswith(f"{count} notebooks copied, 0 kept as they were\n")
    assert (tmp_path / "mine" / "en" / "1_blocks.ipynb").is_file()


def test_open_can_copy_without_outputs(call, tmp_path):
    assert call("open", tmp_path, "--lang", "en", "--no-lab", "--clear")[0] == 0
    text = (tmp_path / "en" / "1_blocks.ipynb").read_text(encoding="utf-8")
    assert not any(cell.get("outputs") for cell in json.loads(text)["cells"])


def test_open_starts_jupyterlab_in_the_folder(call, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(command_line, "require", lambda _: None)
    monkeypatch.setattr(command_line.subprocess, "call", lambda line: started.append(line) or 0)
    assert call("open", tmp_path)[0] == 0
    assert started == [[sys.executable, "-m", "jupyterlab", str(tmp_path)]]


@pytest.mark.parametrize(
    ("command", "extra"), [("run", "notebooks"), ("open", "lab"), ("build", "test")]
)
@pytest.mark.parametrize(
    ("version", "wrong"), [(None, "is not installed"), ("0.0.1", "must be >=")]
)
def test_what_is_missing_or_old_is_named_with_its_extra(
    call, tmp_path, monkeypatch, command, extra, version, wrong
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "installed", lambda _: version)
    status, _, errors = call(command)
    assert status == 2
    assert wrong in errors
    assert errors.endswith(f'; do pip install ".[{extra}]" in a copy of the repository\n')


def test_build_hands_the_sections_to_the_build_script(call, monkeypatch):
    started = []
    monkeypatch.setattr(command_line.subprocess, "call", lambda line: started.append(line) or 0)
    assert call("build", "1_blocks")[0] == 0
    assert started[0][1:] == [str(chapter.folder() / "build.py"), "1_blocks"]


def test_info_names_versions_and_devices(call):
    status, output, _ = call("info")
    assert status == 0
    assert output.startswith("d2lcompute 0.1.0, torch ")
    assert "devices: cpu" in output
    assert "nbval: " in output


def test_an_unforeseen_error_is_one_line_and_no_traceback(call, monkeypatch):
    def broken(*_):
        raise OSError("disk on fire")

    monkeypatch.setattr(chapter, "copy_out", broken)
    assert call("open", "--no-lab") == (1, "", "error: OSError: disk on fire\n")


def test_a_file_that_cannot_be_written_is_named(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d2l-notebooks").mkdir()
    Path("d2l-notebooks", "en").touch()
    status, output, errors = call("open", "--no-lab")
    assert (status, output) == (1, "")
    assert errors.startswith("error: d2l-notebooks/en: ")
