"""Measure candidates in alternation, and keep what they showed.

A subject is a module of this package with `cases(quick)`, a generator of `Case`s: what one case
holds in memory is free before the next begins. Each subject runs in a process of its own.
"""

from __future__ import annotations

import datetime
import gc
import os
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib import import_module, metadata
from typing import Any

ROUNDS, MOST_ROUNDS, SECONDS = 7, 31, 3.0
ROOM = 3 * 10**9  # bytes that a heavy case can do with
RATE = "notebooks/min"  # what is kept are the seconds of one, so that less is better everywhere
ENDLESS = "no end within"
PATIENCE = 10  # seconds that the first run of a candidate may compute, on a busy machine too
PACKAGES = (
    "torch", "d2l", "torchinfo", "torchview", "torchlens", "fvcore", "lightning", "accelerate",
    "safetensors", "nbval", "nbmake", "nbgrader", "otter-grader",
)  # fmt: skip


class EndlessError(BaseException):
    """A candidate takes too long; no handler of its own for errors should take this for one."""


@dataclass(frozen=True)
class Candidate:
    """One way to do it. `run` gets what `fresh` made outside of the clock, if there is one."""

    role: str  # "ours", "peer" or "limit": what no way to do it can beat
    name: str
    run: Callable[..., Any]
    fresh: Callable[[], Any] | None = None
    needs: str = ""  # a module that has to be installed
    rounds: int = 0  # takes part in the first ones only, for one that takes long; not warmed up


ours, peer, limit = (partial(Candidate, role) for role in ("ours", "peer", "limit"))


@dataclass(frozen=True)
class Target:
    """`name` is to take at most `most` times what `against` takes, or `most` units without one."""

    name: str
    most: float
    against: str | None = None
    why: str = ""  # the reason where it is not reached


@dataclass(frozen=True)
class Case:
    """Candidates that do the same. `unit` is "s", `RATE`, or that of what `run` returns."""

    name: str
    candidates: tuple[Candidate, ...]
    targets: tuple[Target, ...] = ()
    unit: str = "s"
    returned: bool = False  # `run` returns the measure; else it is the seconds that it takes
    headline: str = ""  # what it is called in the short table; not in there without one
    heavy: bool = False  # a run takes about 1 GB of memory or disk


@dataclass(frozen=True)
class Series:
    """What one candidate showed, round by round, or why it did not."""

    role: str
    name: str
    values: tuple[float, ...] = ()
    problem: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Result:
    """What one case showed, where and when."""

    subject: str
    case: str
    unit: str
    series: tuple[Series, ...]
    targets: tuple[Target, ...]
    date: str
    machine: str
    versions: dict[str, str]
    headline: str = ""

    def named(self, name: str) -> Series:
        return next(series for series in self.series if series.name == name)

    def of(self, *roles: str) -> list[Series]:
        return [series for series in self.series if series.role in roles]


def measure(subject: str, case: Case, quick: bool = False) -> Result:
    """Warm every candidate up once, then measure them in turn, each round in another order."""
    problems = {one.name: first_problem(one) for one in case.candidates}
    able = [one for one in case.candidates if not problems[one.name]]
    values: dict[str, list[float]] = {one.name: [] for one in case.candidates}
    began = time.perf_counter()
    for done in range(MOST_ROUNDS if able else 0):
        turn = done % len(able)
        for one in (able[turn:] + able[:turn])[:: 1 - 2 * (done % 2)]:
            if not problems[one.name] and done < (one.rounds or MOST_ROUNDS):
                if case.heavy and not quick:
                    settle()
                found, problems[one.name] = attempt(one, case.returned)
                values[one.name] += found
        enough = done + 1 >= (2 if quick else ROUNDS)
        if enough and (quick or time.perf_counter() - began > SECONDS):
            break
    series = tuple(
        Series(one.role, one.name, () if problem else tuple(values[one.name]), problem)
        for one in case.candidates
        for problem in [problems[one.name]]
    )
    return Result(
        subject,
        case.name,
        case.unit,
        series,
        case.targets,
        date=datetime.date.today().isoformat(),
        machine=machine(),
        versions=versions(),
        headline=case.headline,
    )


def first_problem(one: Candidate) -> str:
    """Run a candidate for the first time; return why it cannot be measured, or nothing."""
    try:
        if one.needs:
            import_module(one.needs)
    except ImportError:
        return "not installed"
    if one.rounds:
        return ""
    with at_most(PATIENCE):
        return attempt(one, False)[1]


def attempt(one: Candidate, returned: bool) -> tuple[list[float], str]:
    """Return what one run shows, or nothing and why it fails."""
    try:
        return [once(one, returned)], ""
    except EndlessError:
        return [], f"{ENDLESS} {PATIENCE} s"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a peer that fails is a finding, not the end
        return [], f"fails with {type(error).__name__}"


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise `EndlessError` in the block after computing so long, where there are such signals."""
    if not hasattr(signal, "SIGPROF"):
        yield
        return

    def stop(*_: object) -> None:
        raise EndlessError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def once(one: Candidate, returned: bool) -> float:
    made = () if one.fresh is None else (one.fresh(),)
    gc.collect()
    start = time.perf_counter()
    answer = one.run(*made)
    seconds = time.perf_counter() - start
    return float(answer) if returned else seconds


def settle() -> None:
    """Let nobody pay for what another one left: data to write, memory given back to the host.

    A virtual machine may get its memory page by page, at several times the cost of writing to it.
    """
    if hasattr(os, "sync"):
        os.sync()
    bytearray(b"1") * ROOM


def machine() -> str:
    """Return the machine's kind and how busy it was."""
    busy = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}{busy}"


@cache
def versions() -> dict[str, str]:
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def ratios(one: Series, other: Series) -> list[float]:
    """Return what `one` took over what `other` took, in each round that both took part in."""
    return [a / b for a, b in zip(one.values, other.values, strict=False)]


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile."""
    values = list(values)
    if len(values) == 1:
        values *= 2
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def as_data(results: Iterable[Result]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def from_data(data: Iterable[dict[str, Any]]) -> Iterator[Result]:
    """Read back what `as_data` made, through JSON too."""
    for entry in data:
        series = tuple(Series(**{**s, "values": tuple(s["values"])}) for s in entry["series"])
        targets = tuple(Target(**target) for target in entry["targets"])
        yield Result(**{**entry, "series": series, "targets": targets})
