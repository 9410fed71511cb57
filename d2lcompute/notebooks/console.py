"""What all commands share: which extra brings what they need, and an end in one clear line."""

from __future__ import annotations

import sys
from importlib import util
from typing import NoReturn

import typer

# What each extra brings for a command, by the package that is looked for.
EXTRAS = {
    "notebooks": ("nbval", "jupytext"),
    "lab": ("jupyterlab",),
    "grading": ("jupytext", "ipykernel"),
    "cluster": ("distributed",),
}


def require(extra: str) -> None:
    """End the command where a package of `extra` is not installed."""
    for package in EXTRAS[extra]:
        if util.find_spec(package) is None:
            fail(f'{package} is not installed; do pip install "d2lcompute[{extra}]"', status=2)


def fail(*messages: str, status: int) -> NoReturn:
    """End the command with a line for each message: status 1 for a finding, 2 for wrong use."""
    for message in messages:
        print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(status)
