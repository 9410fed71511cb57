"""How strong the checks of an assignment are, measured before students meet them.

Every check is asked with answers that must not pass: nothing, the stub, echoes of what a function
is given, the author's own wrong answers (cells with the tag `wrong`), solutions with one small
mistake, solutions that are right but for what they give in the end, and the reference's answer
disturbed part by part. And with answers that must pass: the reference and other right ones (the tag
`also-right`). What passes is counted over many seeds, for a mark must not depend on the draw.
"""

from __future__ import annotations

import json
import math
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from ..notebooks.cell import KernelError
from ..notebooks.clock import MOST_WAITING
from . import bench
from .answers import MIME
from .assignment import ALSO_RIGHT, SOLUTION, Assignment, AssignmentError, Cell
from .attempt import Conditions, start_prepared, to_run, watch_over
from .disturb import CHANGES, LOUD, OF_VALUES
from .judge import expect
from .mutants import Mutant, disturbances, echoes, mutants

QUICK, SEEDS, CHEATS, FEW = 20, 2000, 200, 5  # how many seeds
STATISTIC = 0.01  # from this tolerance on, an author compares statistics
BLOCK = 250  # seeds under which one kernel asks, so that its answers fit into memory
PORTION = 24  # candidates that one kernel tries
SECONDS = 4.0  # processor time that the draws of a changed solution may take: some never end
BENCH = "from d2lcompute.grading.bench import run as _; _({work!r})"
RIGHT, WRONG, CHEAT, CHANGED = KINDS = ("right", "wrong", "cheat", "changed")


@dataclass(frozen=True)
class Candidate:
    """An answer to one question in place of the reference's: of which of `KINDS`, and `what`.

    Where it is the reference's with one `aspect` disturbed, by what change.
    """

    solution: str
    kind: str
    what: str
    source: str
    difference: str = ""
    aspect: str = ""
    change: str = ""

    @property
    def need(self) -> Need:
        """Of what it takes the place: a solution, or one aspect of it."""
        return self.solution, self.aspect

    def concerns(self, check: Cell) -> bool:
        """Whether a check that looks at this aspect must refuse it; a statistic need not."""
        return self.change not in OF_VALUES or max(check.tolerances or (0,)) < STATISTIC


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
Need = tuple[str, str]
Needs = Mapping[Need, Sequence[str]]


@dataclass
class Examination:
    """What was counted: `answers` by candidate and check, `parts` by check and what was disturbed.

    `needs` are the checks that each solution is for, as without it they fail; or an aspect of it,
    as they fail where it is `LOUD`.
    """

    needs: dict[Need, Sequence[str]] = field(default_factory=dict)
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
        found += _mutated(name, cell, CHANGED, mutants(cell.source))
        found += _mutated(name, cell, CHEAT, disturbances(cell.source))
    for cell in assignment.others:
        kind = RIGHT if cell.tag == ALSO_RIGHT else WRONG
        first = cell.source.strip().partition("\n")[0].lstrip("# ")
        found.append(Candidate(cell.id, kind, f"{cell.tag}: {first}", cell.source))
    return found


def _mutated(name: str, cell: Cell, kind: str, several: Iterable[Mutant]) -> Iterator[Candidate]:
    for each in several:
        if each.id not in cell.equivalent:
            what = f"{each.what} [{each.id}]"
            yield Candidate(
                name, kind, what, each.source, each.difference, each.aspect, each.change
            )


def examine(
    assignment: Assignment,
    conditions: Conditions,
    executor: Executor,
    seeds: int = SEEDS,
    quick: bool = False,
) -> Iterator[tuple[float, Examination]]:
    """Yield how much is done, from 0 to 1, and what was counted so far.

    Right and wrong answers are asked under so many `seeds`. `quick` asks cheats alone, under a few,
    and takes it that all is well with the reference.

    Raises `AssignmentError` where a check fails with the reference itself.
    """
    drawn = [secrets.randbits(63) for _ in range(QUICK if quick else seeds)]
    if not quick:
        expect(assignment, conditions, [dict.fromkeys(assignment.checks, drawn[:FEW])])
    task = _Task(assignment, conditions)
    several = defaultdict(list)
    for candidate in candidates(assignment):
        several[candidate.change or candidate.kind].append(candidate)
    loud = [] if quick else several[LOUD]
    found = _what_is_needed(task, executor, loud, drawn[:FEW])
    portions = [([], drawn[:CHEATS]), *_share(several[CHEAT], drawn[:CHEATS])]
    if not quick:
        disturbed = [each for what in CHANGES if what != LOUD for each in several[what]]
        needed = [each for each in disturbed if found.needs[each.need]]
        portions += _share([*needed, *several[CHANGED]], drawn[:FEW])
        most = len(several[RIGHT] + several[WRONG])  # so that the reference answers them all once
        for start in range(0, len(drawn), BLOCK):
            some = drawn[start : start + BLOCK]
            portions += _share(several[RIGHT] + several[WRONG], some, most)
    futures = [executor.submit(task.try_out, some, found.needs, draws) for some, draws in portions]
    for done, future in enumerate(futures, start=1):
        found.add(future.result())
        yield done / len(futures), found


def _what_is_needed(
    task: _Task, executor: Executor, loud: Sequence[Candidate], seeds: Sequence[int]
) -> Examination:
    """Leave out each solution; what it is for are the checks that fail then. So for each aspect."""
    several = [Candidate(name, CHEAT, "nothing", "pass") for name in task.assignment.solutions]
    several += loud
    every = {each.need: tuple(task.assignment.checks) for each in several}
    portions = _share(several, seeds)
    futures = [executor.submit(task.try_out, some, every, draws) for some, draws in portions]
    found = Examination()
    for future in futures:
        for key, tally in future.result().answers.items():
            if tally.passed < tally.asked:
                found.answers[key] = tally
    for need in every:
        found.needs[need] = [check for each, check in found.answers if each.need == need]
    return found


def _share(
    several: Sequence[Candidate], seeds: Sequence[int], most: int = PORTION
) -> list[tuple[Sequence[Candidate], Sequence[int]]]:
    """Share candidates out in portions for one kernel each, alike in size and place."""
    count = math.ceil(len(several) / (most if bench.FORKS else 1))
    return [(several[number::count], seeds) for number in range(count)]


@dataclass(frozen=True)
class _Task:
    """What a worker is asked to do."""

    assignment: Assignment
    conditions: Conditions

    def try_out(
        self,
        several: Sequence[Candidate],
        needs: Needs,
        seeds: Sequence[int],
    ) -> Examination:
        """Ask the checks that each candidate is for; of none, disturb the answers to all checks.

        Where a candidate ends the kernel, all are tried again, each with a kernel of its own.
        """
        pairs = ((self._trial(each, needs, len(seeds)), each) for each in several)
        trials = sorted(pairs, key=lambda pair: pair[0])  # two candidates may have one source
        found = Examination()
        try:
            counted = self._run([trial for trial, _ in trials], seeds)
        except KernelError as error:
            if not several:
                raise AssignmentError([f"the reference fails: {error}"]) from error
            if len(several) > 1:
                for each in several:
                    found.add(self.try_out([each], needs, seeds))
                return found
            counted = {"passed": [{}], "parts": []}
        for (trial, candidate), passed in zip(trials, counted["passed"], strict=True):
            for check in trial.checks:
                found.answers[candidate, check].add(passed.get(check, 0), len(seeds))
        for check, what, *counts in counted["parts"]:
            found.parts[check, what].add(*counts)
        return found

    def _trial(self, candidate: Candidate, needs: Needs, draws: int) -> bench.Trial:
        cells, solution = self.assignment.cells, candidate.solution
        place = next(
            i for i, cell in enumerate(cells) if (cell.tag, cell.id) == (SOLUTION, solution)
        )
        behind = [cell.id for cell in cells[place:] if cell.is_check]
        needed = [name for name in behind if name in needs[candidate.need]]
        checks = [name for name in needed if candidate.concerns(self.assignment.checks[name])]
        answers = {name: [cell.source] for name, cell in self.assignment.solutions.items()}
        answers[solution] = [candidate.source]
        source = "" if self.assignment.find_breaches(solution, answers) else candidate.source
        watched = watch_over(self.assignment, {solution: source})
        sources = [*watched, *to_run(cells[place], source)]
        seconds = SECONDS
        if candidate.kind != CHANGED:
            seconds = self.conditions.seconds * len(checks) * draws
        return bench.Trial(place, sources, checks, seconds)

    def _run(self, trials: Sequence[bench.Trial], seeds: Sequence[int]) -> dict[str, Any]:
        parts = [
            bench.Part(cell.id if cell.is_check else "", code, cell.tolerances)
            for cell in self.assignment.cells
            for code in to_run(cell, cell.source)
        ]
        code = BENCH.format(work=bench.write_down(parts, trials, seeds))
        start, seconds = self.conditions.start, self.conditions.seconds
        most = sum(trial.seconds for trial in trials) + seconds * math.ceil(len(seeds) / FEW)
        if bench.FORKS:  # while a fork waits for a free core, the kernel's clock goes on
            most *= MOST_WAITING
        with start_prepared(start, self.assignment, seconds, {}) as kernel:
            result = kernel.run(code, most)
        if result.error is not None:
            raise AssignmentError([result.error.text])
        sent = (output.data for output in result.outputs if output.output_type == "display_data")
        found: dict[str, Any] = json.loads(next(data[MIME] for data in sent if MIME in data))
        return found


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


def constants(assignment: Assignment, found: Examination) -> dict[str, str]:
    """Return the checks whose answer is the same under all seeds, with a line for each.

    Where a course means it, `release` only warns.
    """
    lines = {}
    for name, check in assignment.checks.items():
        tally = found.parts[name, bench.ANOTHER]
        if tally.passed == tally.asked and check.points:
            way = "hard-coded" if check.hidden else "copied from what the notebook shows"
            lines[name] = f"check {name} answers the same under all seeds: it can be {way}"
    return lines


def findings(assignment: Assignment, found: Examination) -> list[str]:
    """Return what passes and is wrong, and what fails and is right; without `constants`."""
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
        if tally.passed == tally.asked and name in worth and what != bench.ANOTHER:
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
