"""The options of `pytest --d2l`. pytest loads this in every run: it imports nothing that costs."""

from __future__ import annotations

import argparse
import math

import pytest

RULE = (
    "A float that is not whole may move by two units of its last digit where it, or the largest "
    "number of its array, shows four digits or more, and any float by a relative 1e-5 where seven "
    "or more are shown. "
    "A residue, which rounding leaves of numbers that cancel, may be any other: a float below 1e-5 "
    "of the largest of its array, below 1e-14 of the largest of its column, or below 1e-5 of the "
    "largest of its output and a small multiple of a power of two; and where a number became "
    "longer or shorter, its field, array or table may be padded anew. "
    "All else must be as it was: integers, signs and formats of numbers, versions, dates, "
    "addresses, words, line breaks, indentation."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all without effect where `--d2l` is not given."""
    group = parser.getgroup("d2l", "notebooks, compared as a reader would (mends nbval)")
    group.addoption(
        "--d2l",
        action="store_true",
        help="Run notebooks and compare what they show; a notebook stops at its first failure. "
        f"{RULE} nbval's marks and its options for the cell timeout and for sanitizing apply.",
    )
    group.addoption(
        "--d2l-keep-going",
        action="store_true",
        help="Run the rest of a notebook after a failure.",
    )
    group.addoption(
        "--d2l-warm",
        action="store_true",
        help="Fork the kernels from a process that has imported torch (Linux).",
    )
    group.addoption(
        "--d2l-jobs",
        type=_count,
        default=1,
        metavar="N",
        help="Run N notebooks side by side; warm kernels share the cores (%(default)d).",
    )
    group.addoption(
        "--d2l-rtol",
        type=_tolerance,
        default=0.0,
        metavar="R",
        help="Let floats also move by R times the stored number (%(default)g).",
    )
    group.addoption(
        "--d2l-atol",
        type=_tolerance,
        default=0.0,
        metavar="A",
        help="Let floats also move by A (%(default)g).",
    )
    group.addoption(
        "--d2l-pictures",
        choices=("size", "bytes"),
        default="size",
        help="What of a picture must be as it was besides its alternative text (%(default)s).",
    )
    group.addoption(
        "--d2l-stderr",
        choices=("ignore", "compare"),
        default="ignore",
        help="What to do with stderr, where warnings go (%(default)s).",
    )
    group.addoption(
        "--d2l-timeout",
        type=float,
        default=600.0,
        help="Seconds for a notebook from when its kernel is there (%(default)g).",
    )
    group.addoption(
        "--d2l-output", type=float, default=8.0, help="Megabytes of output a cell (%(default)g)."
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def _tolerance(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text!r}")
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Load the rest where it is asked for."""
    if not config.option.d2l:
        return
    if not config.pluginmanager.has_plugin("nbval"):
        from d2lcompute.notebooks.published import way_to_get

        raise pytest.UsageError(f"--d2l needs nbval; do {way_to_get('notebooks')}")
    from d2lcompute.notebooks import plugin

    config.pluginmanager.register(plugin, "d2lcompute")
    if config.getoption("dist", "no") in ("load", "loadgroup", "worksteal"):
        config.option.dist = "loadfile"  # the cells of a notebook belong to one kernel
