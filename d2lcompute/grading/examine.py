"""How strong the checks of an assignment are, measured before students meet them.

Every check is asked with answers that must not pass: nothing, the stub, echoes of what a function
is given, the author's own wrong answers (cells with the tag `wrong`), solutions with one small
mistake, and the reference's answer disturbed part by part. And with answers that must pass: the
reference and other right ones (the tag `also-right`). What passes is counted over many seeds, for a
mark must not depend on the draw.
"""

from __future__ import annotations

import math
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import torch

from .answers import decode
from .assignment import ALSO_RIGHT, Assignment, Cell
from .attempt import Attempt, Conditions, NoAnswerError
from .comparison import difference
from .judge import Expected, ask_all, compare, expect
from .mutants import echoes, mutants

QUICK, SEEDS, CHEATS, FEW = 20, 2000, 200, 5  # how many seeds
BLOCK = 500  # seeds that one task asks for, so that its answers fit into memory
SECONDS = 4.0  # what the draws of a changed solution may take: some never end
RIGHT, WRONG, CHEAT, CHANGED = KINDS = ("right", "wrong", "cheat", "changed")
INSTEAD: tuple[Any, ...] = (None, 0, 0.0, False, "", [], {})


@dataclass(frozen=True)
class Candidate:
    """An answer to one question in place of the reference's: of which of `KINDS`, and `what`."""

    solution: str
    kind: str
    what: str
    source: str
    difference: str = ""


@dataclass
class Tally:
    """How many draws were `passed` of those that were `asked`."""

    passed: int = 0
    asked: int = 0

    def add(self, passed: int, asked: int) -> None:
        """Count some draws in."""
        self.passed, self.asked = self.passed + passed, self.asked + asked

    @property
    def most(self) -> float:
        """The highest share that this count still speaks for (Wilson's bound, 97.5 %)."""
        z, n = 1.96, max(1, self.asked)
        share = self.passed / n
        spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return min(1.0, (share + z * z / (2 * n) + spread) / (1 + z * z / n))


Key = tuple[Any, str]


@dataclass
class Examination:
    """What was counted: `answers` by candidate and check, `parts` by check and what was disturbed.

    `needs` are the checks that each solution is for: without it they fail.
    """

    needs: dict[str, Sequence[str]] = field(default_factory=dict)
    answers: defaultdict[Key, Tally] = field(default_factory=lambda: defaultdict(Tally))
    parts: defaultdict[Key, Tally] = field(default_factory=lambda: defaultdict(Tally))

    def add(self, other: Examination) -> None:
        """Count another one in."""
        for mine, theirs in ((self.answers, other.answers), (self.parts, other.parts)):
            for key, tally in theirs.items():
                mine[key].add(tally.passed, tally.asked)


def candidates(assignment: Assignment) -> list[Candidate]:
    """Return the answers that the checks of an assignment are asked with."""
    found = []
    for name, cell in assignment.solutions.items():
        found.append(Candidate(name, RIGHT, "the reference", cell.source))
        found.append(Candidate(name, CHEAT, "the stub", cell.stub))
        found += [Candidate(name, CHEAT, what, source) for what, source in echoes(cell.source)]
        found += [
            Candidate(name, CHANGED, f"{each.what} [{each.id}]", each.source, each.difference)
            for each in mutants(cell.source)
            if each.id not in cell.equivalent
        ]
    for cell in assignment.others:
        kind = RIGHT if cell.tag == ALSO_RIGHT else WRONG
        first = cell.source.strip().partition("\n")[0].lstrip("# ")
        found.append(Candidate(cell.id, kind, f"{cell.tag}: {first}", cell.source))
    return found


def examine(
    assignment: Assignment,
    conditions: Conditions,
    executor: Executor,
    seeds: int = SEEDS,
    quick: bool = False,
) -> Iterator[tuple[float, Examination]]:
    """Yield how much is done, from 0 to 1, and what was counted so far.

    Right and wrong answers are asked under so many `seeds`. `quick` asks cheats alone, under a few.

    Raises `AssignmentError` where a check fails with the reference itself.
    """
    drawn = [secrets.randbits(63) for _ in range(QUICK if quick else max(seeds, CHEATS))]
    task, found = _Task(assignment, conditions), Examination()
    first, shared = (
        executor.submit(task.ask, list(assignment.checks), some).result()
        for some in (drawn[:FEW], drawn[:CHEATS])
    )
    without = {each: executor.submit(task.leave_out, each, first) for each in assignment.solutions}
    for name, future in without.items():
        found.add(future.result())
        found.needs[name] = [check for _, check in future.result().answers]
    futures = [executor.submit(task.disturb, shared)]
    futures += task.portions(executor, found.needs, drawn, {CHEAT: shared, CHANGED: first}, quick)
    for done, future in enumerate(futures, start=1):
        found.add(future.result())
        yield done / len(futures), found


@dataclass(frozen=True)
class _Task:
    """What a worker is asked to do."""

    assignment: Assignment
    conditions: Conditions

    def portions(
        self,
        executor: Executor,
        needs: Mapping[str, Sequence[str]],
        seeds: Sequence[int],
        known: Mapping[str, Expected],
        quick: bool,
    ) -> Iterator[Future[Examination]]:
        """Ask with all candidates, those of `known` kinds under the seeds that are known."""
        several = defaultdict(list)
        for candidate in candidates(self.assignment):
            checks = needs[candidate.solution]
            if candidate.kind in known and (candidate.kind == CHEAT or not quick):
                expected = {check: known[candidate.kind][check] for check in checks}
                yield executor.submit(self.try_answer, candidate, expected)
            elif candidate.kind not in known:
                several[candidate.solution].append(candidate)
        for solution, those in several.items():
            for start in range(0, 0 if quick else len(seeds), BLOCK):
                some = seeds[start : start + BLOCK]
                yield executor.submit(self.ask_and_try, those, needs[solution], some)

    def ask(self, checks: Sequence[str], seeds: Sequence[int]) -> Expected:
        """Return what the reference answers to some checks, all under the same seeds."""
        (expected,) = expect(self.assignment, self.conditions, [dict.fromkeys(checks, seeds)])
        return expected

    def leave_out(self, solution: str, expected: Expected) -> Examination:
        """Ask all checks where a solution is missing; what it is for are those that fail."""
        counted = self.try_answer(Candidate(solution, CHEAT, "nothing", "pass"), expected)
        failed = {key: each for key, each in counted.answers.items() if each.passed < each.asked}
        counted.answers.clear()
        counted.answers.update(failed)
        return counted

    def ask_and_try(
        self, several: Sequence[Candidate], checks: Sequence[str], seeds: Sequence[int]
    ) -> Examination:
        """Ask the reference, and then the same checks with several candidates."""
        expected, found = self.ask(checks, seeds), Examination()
        for candidate in several:
            found.add(self.try_answer(candidate, expected))
        return found

    def try_answer(self, candidate: Candidate, expected: Expected) -> Examination:
        """Ask the checks that something is expected of, with a candidate among right solutions."""
        sources = {name: cell.source for name, cell in self.assignment.solutions.items()}
        sources[candidate.solution] = candidate.source
        seconds = SECONDS if candidate.kind == CHANGED else self.conditions.seconds
        found = Examination()
        with Attempt(self.assignment, sources, self.conditions.start, seconds, math.inf) as attempt:
            attempt.has_seen_hidden = True  # no student reads what is said here: one kernel will do
            for name, check in self.assignment.checks.items():
                draws = expected.get(name, ())
                given = _all_that_comes(attempt, check, [draw.seed for draw in draws])
                pairs = zip(given, draws, strict=False)
                passed = sum(compare(answer, draw, check) is None for answer, draw in pairs)
                if draws:
                    found.answers[candidate, name].add(passed, len(draws))
        return found

    def disturb(self, expected: Expected) -> Examination:
        """Count what passes of the reference's answers with one part changed."""
        found = Examination()
        for name, draws in expected.items():
            tolerances = self.assignment.checks[name].tolerances
            for value in (decode(draw.answer) for draw in draws):
                for what, got, wanted in _disturbed(value, tolerances is None):
                    found.parts[name, what].add(difference(got, wanted, tolerances) is None, 1)
        return found


def _all_that_comes(attempt: Attempt, check: Cell, seeds: Sequence[int]) -> Iterator[object]:
    try:
        yield from ask_all(attempt, check, seeds, go_on=True)
    except (NoAnswerError, RuntimeError):  # what does not come is not passed
        return


def _disturbed(value: Any, strict: bool, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each change of an answer: what it is, and the part that it concerns, new and old.

    Zeros are `strict`: where an author gave tolerances, a part may well be zero within them.
    """
    if not place:
        yield from ((f"{other!r} for the answer", other, value) for other in INSTEAD)
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _disturbed(part, strict, f"{place}[{key!r}]")
        return
    where = f"at {place}" if place else "for the answer"
    if isinstance(value, bool | str) or value is None:
        return
    tensor = torch.as_tensor(value)
    changes = {}
    if tensor.dtype.is_floating_point and tensor.isnan().all():
        changes["NaN"] = tensor  # which is what it must be
    elif tensor.any():
        changes["what is far larger"] = 3 * tensor + 1
        changes |= {"zeros": torch.zeros_like(tensor)} if strict else {}
    for what, new in changes.items():
        yield f"{what} {where}", new if isinstance(value, torch.Tensor) else new.item(), value


def table(assignment: Assignment, found: Examination) -> list[str]:
    """Return a line for each check: how often right answers fail it, and what it lets through."""
    heads = ("check", "draws", "right answers fail", "wrong pass", "cheats pass", "mistakes seen")
    rows: list[tuple[str, ...]] = [heads]
    for name, check in assignment.checks.items():
        of: dict[str, list[Tally]] = {kind: [] for kind in KINDS}
        for (candidate, asked), tally in found.answers.items():
            if asked == name:
                of[candidate.kind].append(tally)
        seen = sum(tally.passed < tally.asked for tally in of[CHANGED])
        failed = [Tally(tally.asked - tally.passed, tally.asked) for tally in of[RIGHT]]
        cells = [_worst(failed), _worst(of[WRONG]), _worst(of[CHEAT])]
        rows.append((name, str(check.draws), *cells, f"{seen} of {len(of[CHANGED])}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _worst(tallies: Sequence[Tally]) -> str:
    worst = max(tallies, key=lambda tally: (tally.passed / tally.asked, tally.asked), default=None)
    return _how_often(worst) if worst else "-"


def findings(assignment: Assignment, found: Examination) -> list[str]:
    """Return what must not be: what passes and is wrong, what fails and is right."""
    worth = {name for name, check in assignment.checks.items() if check.points}
    needed = {check for checks in found.needs.values() for check in checks}
    lines = [f"check {name} needs no solution: nothing passes it" for name in worth - needed]
    forgeable = [name for name, check in assignment.checks.items() if check.forgeable]
    lines += [
        f"check {name} can be forged: its asserts run beside the student's code; end it in answer"
        for name in forgeable
    ]
    for (candidate, name), tally in found.answers.items():
        if name in worth:
            lines += _about(candidate, name, tally)
    lines += _survivors(found)
    for (name, what), tally in found.parts.items():
        if tally.passed == tally.asked and name in worth:
            lines.append(f"check {name} passes {what}, under all of {tally.asked} seeds")
    return sorted(lines)


def _about(candidate: Candidate, name: str, tally: Tally) -> Iterator[str]:
    what = f"{candidate.what!r} for {candidate.solution}"
    if candidate.kind == RIGHT and tally.passed < tally.asked:
        failed = Tally(tally.asked - tally.passed, tally.asked)
        yield f"check {name} fails a right answer, {what}: {_how_often(failed)}"
    if candidate.kind == CHEAT and tally.passed:
        yield f"check {name} passes a cheat, {what}: {_how_often(tally)}"
    if candidate.kind == WRONG and 0 < tally.passed < tally.asked:
        yield f"check {name} passes a wrong answer by luck, {what}: {_how_often(tally)}"


def _survivors(found: Examination) -> Iterator[str]:
    """Yield the wrong and changed solutions that no check of theirs ever refuses."""
    of: defaultdict[Candidate, list[Tally]] = defaultdict(list)
    for (candidate, _), tally in found.answers.items():
        of[candidate].append(tally)
    for candidate, tallies in of.items():
        seen = any(tally.passed < tally.asked for tally in tallies)
        if candidate.kind in (WRONG, CHANGED) and not seen:
            told = f"no check of {candidate.solution} sees a mistake, {candidate.what}"
            yield "\n".join(filter(None, [told, candidate.difference]))


def _how_often(tally: Tally) -> str:
    return f"{tally.passed:,} of {tally.asked:,} draws (at most {100 * tally.most:.3g} %)"
