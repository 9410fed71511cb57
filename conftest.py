import doctest
import gc
import os
from collections import Counter

import pytest
import torch
from torch import nn

import d2lcompute as d2c

collect_ignore = [
    "d2lcompute/d2l.py",  # importing it gives the book's module in its place
    "tests/attacks",  # graded by test_attacks.py
    "tests/submissions",  # graded by test_assignment.py
    "chapters/assignment",  # with stubs in place of solutions, the checks must fail
]
# Few tests that take a minute or more: begun last, they would leave one worker alone with them.
LONG = {
    "test_attacks.py", "test_assignment.py", "test_plugin.py", "test_strength.py",
    "test_platforms.py", "test_commands.py", "test_docs.py", "test_term.py", "test_random_nets.py",
}  # fmt: skip


def pytest_configure(config):
    """Share the cores among the workers of pytest-xdist: threads without a core wait for others."""
    config.option.loadscopereorder = False  # it sorts by the number of tests alone
    if workers := getattr(config, "workerinput", {}).get("workercount"):
        threads = max(1, torch.get_num_threads() // workers)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # kernels and commands that tests start


def pytest_collection_modifyitems(items):
    """Begin with what takes long, then with files of many tests."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in LONG, -tests[item.path]))


def pytest_collection_finish():
    """Let the garbage collector, which tests call, pass over what has been imported by now."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def doctest_imports(doctest_namespace):
    """Give every docstring example the names that a reader of this package has at hand."""
    doctest_namespace.update(d2c=d2c, nn=nn, torch=torch)


@pytest.fixture(autouse=True)
def doctest_begins_alike(request, tmp_path_factory, monkeypatch):
    """Give every docstring example a folder and random numbers that no other test has touched."""
    test = getattr(request.node, "dtest", None)
    if isinstance(test, doctest.DocTest):
        folder = tmp_path_factory.mktemp("doctest")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_DATA_HOME", str(folder))
        torch.manual_seed(0)
        if "practice" in test.docstring:
            gc.collect()  # what other tests have left counts there
            gc.freeze()
