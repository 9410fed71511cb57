import gc
import html.parser
import pathlib
import sys
from collections import Counter

import hypothesis
import pytest
import torch
from torch.utils import backend_registration

import d2lcompute as d2c
from d2lcompute import __main__ as command_line
from d2lcompute.exercises import check as checking

# A shared machine decides how long an example takes, and torch loads much on its first use.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

TESTS = pathlib.Path(__file__).parent
GOLDEN = TESTS / "golden"


def pytest_addoption(parser):
    parser.addoption(
        "--golden-rewrite", action="store_true", help="write what the tables show now as expected"
    )
    parser.addoption(
        "--seeds", type=int, default=3, help="how many seeds each answer to an exercise is tried on"
    )


@pytest.fixture
def golden(request):
    """Compare text with the file of the test's name in tests/golden/."""

    def compare(text, name=request.node.name):
        path = GOLDEN / request.path.relative_to(TESTS).with_suffix("") / f"{name}.txt"
        if request.config.getoption("--golden-rewrite"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert text + "\n" == path.read_text(encoding="utf-8")

    return compare


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command line in this process: (status, output, errors)."""

    def run_main(*arguments):
        monkeypatch.setattr(sys, "argv", ["d2lcompute", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"\d?") as exit_:
            command_line.main()
        captured = capsys.readouterr()
        return int(exit_.value.code or 0), captured.out, captured.err

    return run_main


@pytest.fixture
def closes_every_element():
    """Whether each element of an HTML text that is opened is closed in its place."""

    def check(text):
        open_elements = []

        class Parser(html.parser.HTMLParser):
            def handle_starttag(self, tag, attrs):
                open_elements.append(tag)

            def handle_endtag(self, tag):
                assert open_elements.pop() == tag

        Parser().feed(text)
        return open_elements == []

    return check


@pytest.fixture
def said(tmp_path, monkeypatch, capsys):
    """What `check` prints for a reader who has just begun, as lines without their indent."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(checking, "_failures", Counter())

    def run_check(name, answer):
        checking.check(name, answer)
        return [line.strip() for line in capsys.readouterr().out.splitlines()]

    return run_check


@pytest.fixture
def practice():
    """Two practice accelerators, for the test alone."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip(f"torch {torch.__version__} has no devices in Python")
    gc.collect()  # what other tests have left counts, and may go at any time
    gc.freeze()  # and what is in use is passed over by the next one's
    yield d2c.practice_gpus(2)
    d2c.practice_gpus(0)


@pytest.fixture
def chinese():
    """Chinese, for the test alone."""
    d2c.language("zh")
    yield
    d2c.language("en")


@pytest.fixture(autouse=True)
def seeded():
    torch.default_generator.manual_seed(0)  # for devices torch would write down the whole stack


@pytest.fixture
def local_cluster():
    """A Dask cluster of two processes on this machine."""
    import dask
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    # Dask would set variables such as OMP_NUM_THREADS here as well, and leave them.
    undisturbed = dask.config.set({"distributed.nanny.pre-spawn-environ": {}})
    with undisturbed, LocalCluster(2, **options) as cluster:
        yield cluster
