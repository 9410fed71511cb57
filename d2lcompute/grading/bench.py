"""What `examine` does in a kernel: it asks the reference, and what stands in for its solutions.

The cells run once. What is tried in the place of a solution runs in a fork of the kernel that
begins where the solution stands, so that it shares what comes before and can break nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch

from ..notebooks.clock import MOST_WAITING
from .answers import MIME, asked, decode, restore
from .comparison import Tolerances, compare, difference
from .disturb import calls, disturb

# Elsewhere a kernel is for one trial, which runs in the kernel itself.
FORKS = sys.platform == "linux"
ANOTHER = "the answer to other inputs"

Counts = list[tuple[str, str, int, int]]


class Part(NamedTuple):
    """A cell of the reference; `check` is its id where it is one, else empty."""

    check: str
    source: str
    tolerances: Tolerances = None


class Trial(NamedTuple):
    """What runs in the place of a cell, and the checks behind it that are asked."""

    place: int
    sources: Sequence[str]
    checks: Sequence[str]
    seconds: float


def run(text: str) -> None:
    """Try what `text` holds, from `write_down`, and send what came of it."""
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    publish = shell.display_pub.publish
    shell.display_pub.publish = shell._showtraceback = _say_nothing  # a fork has no sockets
    torch.set_num_threads(1)  # after an operation on several, a fork would hang
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        found = tally(shell, text, FORKS)
    publish({MIME: json.dumps(found)})


def tally(shell: Any, text: str, forks: bool) -> dict[str, Any]:
    """Return how many draws each trial passes of each check; without trials, what is disturbed."""
    work = json.loads(text)
    bench = _Bench(shell, [Part(*each) for each in work["parts"]], work["seeds"], forks)
    trials = [Trial(*each) for each in work["trials"]]
    if trials:
        return {"passed": bench.try_all(trials), "parts": []}
    return {"passed": [], "parts": bench.disturb()}


def write_down(parts: Sequence[Part], trials: Sequence[Trial], seeds: Sequence[int]) -> str:
    """Return what `run` is to do: trials in the order of their places, each under all seeds.

    Without trials the reference's answers to all checks are disturbed.
    """
    return json.dumps({"parts": parts, "trials": trials, "seeds": seeds})


class _Bench:
    """Asks the checks among the parts of a reference under the same seeds, again and again."""

    def __init__(
        self, shell: Any, parts: Sequence[Part], seeds: Sequence[int], forks: bool
    ) -> None:
        self._shell, self._parts, self._seeds, self._forks = shell, parts, seeds, forks

    def try_all(self, trials: Sequence[Trial]) -> list[Mapping[str, int]]:
        """Return how many draws each trial passes of each of its checks."""
        expected = self._expect({name for trial in trials for name in trial.checks})
        passed, place = [], 0
        for trial in trials:
            for part in self._parts[place : trial.place]:
                self._run(part)
            place = trial.place
            passed.append(self._try(trial, expected))
        return passed

    def disturb(self) -> Counts:
        """Count what passes of the reference's answers with one part changed, or to other seeds."""
        expected = self._expect({part.check for part in self._parts if part.check})
        passed, tried = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        tolerances = {part.check: part.tolerances for part in self._parts}
        for name, answers in expected.items():
            values = list(map(decode, answers))
            swapped = ((ANOTHER, *pair) for pair in pairwise(values))
            strict = tolerances[name] is None
            changed = (each for value in values for each in disturb(value, strict))
            for what, got, wanted in chain(swapped, changed):
                tried[name, what] += 1
                passed[name, what] += difference(got, wanted, tolerances[name]) is None
        return [(*key, passed[key], tried[key]) for key in tried]

    def _expect(self, checks: set[str]) -> dict[str, list[str]]:
        expected: dict[str, list[str]] = {name: [] for name in checks}
        for name, answer in self._apart(self._answers(self._parts, checks), math.inf):
            number = len(expected[name])
            if answer is None:
                raise ValueError(
                    f"check {name} fails with the reference: seed {self._seeds[number]}"
                )
            expected[name].append(answer)
        short = [name for name, answers in expected.items() if len(answers) < len(self._seeds)]
        if short:
            raise ValueError(f"check {short[0]} ends the kernel with the reference")
        return expected

    def _try(self, trial: Trial, expected: Mapping[str, Sequence[str]]) -> Mapping[str, int]:
        rest = self._parts[trial.place + 1 :]
        names = [part.check for part in rest if part.check in trial.checks]
        tolerances = {part.check: part.tolerances for part in rest}
        passed, come = Counter(dict.fromkeys(names, 0)), Counter[str]()
        parts = [*(Part("", source) for source in trial.sources), *rest]
        for name, answer in self._apart(self._answers(parts, {*names}), trial.seconds):
            wanted = expected[name][come[name]]
            come[name] += 1
            passed[name] += compare(answer, wanted, tolerances[name]) is None
        return passed

    def _answers(self, parts: Sequence[Part], checks: set[str]) -> Iterator[tuple[str, str | None]]:
        left = set(checks)
        for part in parts:
            if not left:
                return
            if not part.check:
                self._run(part)
            elif part.check in left:
                left.remove(part.check)
                calls.forget()
                with asked(self._shell, part.source, go_on=True) as draw:
                    for given in map(draw, self._seeds):
                        yield part.check, given[0] if len(given) == 1 else None

    def _run(self, part: Part) -> None:
        if not part.check:
            self._shell.run_cell(part.source, store_history=False, silent=True)

    def _apart(
        self, answers: Iterator[tuple[str, str | None]], seconds: float
    ) -> Iterator[tuple[str, str | None]]:
        """Yield answers that are computed in a fork, as far as they come."""
        if not self._forks:
            names = dict(self._shell.user_ns)
            try:
                yield from answers
            except SystemExit:  # what does not come is not passed
                return
            finally:
                restore(self._shell.user_ns, names)
            return
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _speak(writing, answers, seconds)
        os.close(writing)
        try:
            with os.fdopen(reading, encoding="utf-8") as lines:
                yield from (json.loads(line) for line in lines if line.endswith("\n"))
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _speak(writing: int, answers: Iterator[tuple[str, str | None]], seconds: float) -> NoReturn:
    """Write answers, until they or the seconds of processor time end; in a fork."""
    import resource

    try:
        if seconds < math.inf:
            _, most = resource.getrlimit(resource.RLIMIT_CPU)
            resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), most))
            signal.alarm(math.ceil(MOST_WAITING * seconds))  # for one that waits for ever
        with os.fdopen(writing, "w", buffering=1, encoding="utf-8") as channel:
            for answer in answers:
                channel.write(f"{json.dumps(answer)}\n")
    finally:
        os._exit(0)


def _say_nothing(*_: object, **__: object) -> None: ...
