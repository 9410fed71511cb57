"""What the tests on an accelerator share; pytest.ini beside this file says how to run them."""

import datetime
import gc
import pathlib
import warnings

import pytest
import torch

import d2lcompute as d2c

HERE = pathlib.Path(__file__).parent
MEASURED = HERE / "measured.md"
ROWS = pytest.StashKey[list[tuple[str, float, float]]]()
UNSEEN = pytest.StashKey[list[str]]()


def real_device():
    """The first real accelerator of this machine, None if there is none."""
    found = torch.accelerator.current_accelerator(check_available=True)
    return None if found is None or found.type == "practice" else torch.device(found.type, 0)


REAL = real_device()


def pytest_addoption(parser):
    parser.addoption("--practice", action="store_true", help="practice devices for a real one")


def pytest_configure(config):
    config.stash[ROWS], config.stash[UNSEEN] = [], []


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def real():
    """The real accelerator of this machine, where only that will do."""
    if REAL is None:
        pytest.skip("only a real accelerator will do, and there is none on this machine")
    return REAL


@pytest.fixture
def device(request):
    """The accelerator of this machine, or a practice device in its place."""
    gc.collect()  # what other tests have left counts, and may go at any time
    if REAL is not None:
        yield REAL
        return
    alone = request.config.inipath == HERE / "pytest.ini"
    if alone and not request.config.getoption("--practice"):
        pytest.skip("no accelerator on this machine; --practice puts practice devices in its place")
    yield d2c.practice_gpus(2)[0]
    d2c.practice_gpus(0)


@pytest.fixture
def waits(device):
    """What torch itself says: whether `act()` makes Python wait; None where it cannot tell."""

    def ask(act):
        if device.type != "cuda":
            return None
        act()  # whatever is loaded at the first use is there now
        torch.accelerator.synchronize()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
            try:
                act()
            except RuntimeError as error:
                if "called a synchronizing CUDA operation" not in str(error):
                    raise
                return True
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return False

    return ask


@pytest.fixture
def note(request, device):
    """Put a row into the table of what was measured: what was done, and its seconds."""

    def add(what, on_cpu, on_device):
        if REAL is not None:
            request.config.stash[ROWS].append((what, on_cpu, on_device))

    return add


@pytest.fixture
def notice(request):
    """Add an operator to those that wait and are not seen to."""
    return request.config.stash[UNSEEN].append


def table(rows, name):
    """The measured rows in Markdown, without a word that would need a translation."""
    lines = [f"|  | CPU | {name} |  |", "|---|--:|--:|--:|"]
    for what, on_cpu, on_device in rows:
        times = f"{shown(on_cpu)} | {shown(on_device)}"
        lines.append(f"| {what} | {times} | {on_cpu / on_device:.2g} x |")
    return "\n".join(lines)


def shown(seconds):
    unit, size = next((u, s) for u, s in (("s", 1), ("ms", 1e-3), ("µs", 0)) if seconds >= s)
    return f"{seconds / (size or 1e-6):.3g} {unit}"


def pytest_terminal_summary(terminalreporter, config):
    if rows := config.stash[ROWS]:
        name = torch.get_device_module(REAL).get_device_name(REAL)
        where = f"{datetime.date.today()}, {name}, torch {torch.__version__}"
        unseen = ", ".join(f"`{each}`" for each in config.stash[UNSEEN]) or "-"
        text = f"{table(rows, name)}\n\n{where}\n\n`watch_transfers`: {unseen}\n"
        MEASURED.write_text(text, encoding="utf-8")
        terminalreporter.write_sep("=", f"written to {MEASURED.name}")
        terminalreporter.write_line(text)
