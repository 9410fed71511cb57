"""What all commands share: which extra brings what they need, and an end in one clear line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import typer
from packaging.requirements import Requirement

from .published import way_to_get


def require(extra: str) -> None:
    """End the command where what `extra` brings is not installed, or is too old."""
    for requirement in requirements(extra):
        found = installed(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            old = f"must be {requirement.specifier}, got {found}"
            wrong = "is not installed" if found is None else old
            fail(f"{requirement.name} {wrong}; do {way_to_get(extra)}", status=2)


def requirements(extra: str) -> Iterator[Requirement]:
    """Yield what an extra of this package brings, and what the extras do that it includes."""
    for text in metadata.requires("d2lcompute") or ():
        requirement = Requirement(text)
        if requirement.marker is None or not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name != "d2lcompute":
            yield requirement
        for included in requirement.extras if requirement.name == "d2lcompute" else ():
            yield from requirements(included)


def installed(package: str) -> str | None:
    """Return the version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def a_file(parameter: typer.CallbackParam, path: Path | None) -> Path | None:
    """Return a path of the command line, or end the command if there is no file to read."""
    if path is not None and not path.is_file():
        is_folder = path.is_dir()
        wrong = "a folder" if is_folder else "not there"
        advice = "name a file in it" if is_folder else f"write its path from {Path.cwd()}"
        fail(
            f"`{parameter.name}` must be a file, got {path}, which is {wrong}; do {advice}",
            status=2,
        )
    return path


def a_folder(parameter: typer.CallbackParam, path: Path) -> Path:
    """Return a path of the command line, or end the command if no folder can be written there."""
    place = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    is_folder = place.is_dir()
    if not is_folder or not os.access(place, os.W_OK):
        why = "cannot be written to" if is_folder else "is a file"
        name = parameter.name
        fail(f"`{name}` must be a folder, got {path}, and {place} {why}; do name another", status=2)
    return path


def fail(*messages: str, status: int) -> NoReturn:
    """End the command with a line for each message: status 1 for a finding, 2 for wrong use."""
    for message in messages:
        print(f"error: {message}", file=sys.stderr)
    raise typer.Exit(status)
