"""The options of `pytest --d2l`. pytest loads this in every run: it imports nothing that costs."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all without effect where `--d2l` is not given."""
    group = parser.getgroup("d2l", "notebooks, compared with a tolerance (mends nbval)")
    group.addoption(
        "--d2l",
        action="store_true",
        help="Run notebooks and compare what they show; a notebook stops at its first failure. "
        "nbval's marks and its options for the cell timeout and for sanitizing apply.",
    )
    group.addoption(
        "--warm",
        action="store_true",
        help="Fork the kernels from a process that has imported torch (Linux, two notebooks or "
        "more).",
    )
    group.addoption(
        "--d2l-rtol", type=float, default=1e-4, help="Relative tolerance of numbers (%(default)s)."
    )
    group.addoption(
        "--d2l-atol", type=float, default=1e-6, help="Absolute tolerance of numbers (%(default)s)."
    )
    group.addoption(
        "--d2l-stderr",
        choices=("ignore", "compare"),
        default="ignore",
        help="What to do with stderr, where warnings go (%(default)s).",
    )
    group.addoption(
        "--d2l-timeout", type=float, default=600.0, help="Seconds for a notebook (%(default)g)."
    )
    group.addoption(
        "--d2l-output", type=float, default=8.0, help="Megabytes of output a cell (%(default)g)."
    )


def pytest_configure(config: pytest.Config) -> None:
    """Load the rest where it is asked for."""
    if not config.option.d2l:
        return
    if not config.pluginmanager.has_plugin("nbval"):
        raise pytest.UsageError('--d2l needs nbval; do pip install "d2lcompute[notebooks]"')
    from d2lcompute.notebooks import plugin

    config.pluginmanager.register(plugin, "d2lcompute")
    if config.getoption("dist", "no") == "load":
        config.option.dist = "loadfile"  # the cells of a notebook belong to one kernel
