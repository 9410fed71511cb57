"""What the answers of a class show together: how each question went, and which answers are alike.

Answers that are alike are a list to look at, never an accusation. Code is compared without its
comments, layout, docstrings, annotations and the names of its variables, by runs of `RUN` tokens.
Runs of the stub, of the course's own solutions, and of many submissions say nothing and are left
out; an answer with less than `FEWEST_RUNS` others is too short.
"""

from __future__ import annotations

import ast
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .formats import to_text
from .results import Heading, Mark, Result

COLUMNS = (
    "question", "points", "answers", "full marks", "mean", "discrimination", "seconds", "remark",
    "wrong answers",
)  # fmt: skip
MOST_CLUSTERS = 5
FEWEST = 5  # answers from which a remark is made
RUN, FEWEST_RUNS, SHARE = 6, 8, 0.8
Run = tuple[str, ...]
LONGEST = 100_000  # characters of an answer that are compared
OFTEN, PART = 5, 0.1  # of so many submissions, and of such a part of them, a run is common


@dataclass(frozen=True)
class Cluster:
    """Wrong answers that were told the same, but for numbers: an example, and whose they are."""

    said: str
    submissions: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """What a class made of a question.

    `discrimination` is the point-biserial correlation of its points with the points of the other
    questions: near 0 it tells nobody apart, below 0 those who know more get it wrong more often.
    None where all answers or all rests are worth the same.
    """

    name: str
    points: float
    hidden: bool
    written: bool
    answers: int
    full: int
    mean: float
    discrimination: float | None
    seconds: float
    wrong: tuple[Cluster, ...]

    @property
    def rate(self) -> float:
        """The part of the points that was earned."""
        return self.mean / self.points if self.points else 1.0

    @property
    def correlation(self) -> float | None:
        """The discrimination as it is shown: to two places, and never -0."""
        return None if self.discrimination is None else round(self.discrimination, 2) + 0.0

    @property
    def remark(self) -> str:
        """What its author should look at; empty if there is nothing."""
        if self.answers < FEWEST:
            return ""
        if self.full == self.answers:
            return "all pass: it tells nobody apart"
        if not self.mean:
            return "nobody passes: is the question clear, is the check right?"
        # A question without any relation to the others is rarely this far below 0.
        if self.discrimination is not None and self.discrimination < -2 / self.answers**0.5:
            return "who does well elsewhere fails here: is the check right?"
        return ""


def questions(heading: Heading, results: Iterable[Result]) -> list[Question]:
    """Return the statistics of each question, over the attempts that count and are graded."""
    found: defaultdict[str, list[tuple[Result, Mark]]] = defaultdict(list)
    for result in results:
        if result.counts and not result.trouble:
            for mark in result.marks:
                if not mark.waits:
                    found[mark.check].append((result, mark))
    return [_question(name, found[name]) for name in heading.checks if found[name]]


def _question(name: str, answers: Sequence[tuple[Result, Mark]]) -> Question:
    marks = [mark for _, mark in answers]
    earned = [mark.earned for mark in marks]
    rests = [sum(mark.earned for mark in one.marks) - mine.earned for one, mine in answers]
    return Question(
        name=name,
        points=marks[0].points,
        hidden=marks[0].hidden,
        written=marks[0].written,
        answers=len(marks),
        full=sum(mark.full for mark in marks),
        mean=statistics.mean(earned),
        discrimination=_correlation(earned, rests),
        seconds=statistics.mean(mark.seconds for mark in marks),
        wrong=tuple(_clusters(answers)),
    )


def _correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return statistics.correlation(first, second)


def _clusters(answers: Iterable[tuple[Result, Mark]]) -> list[Cluster]:
    """Return the most frequent wrong answers by what was said of them, whatever the numbers."""
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for result, mark in answers:
        if not mark.passed and not mark.written:
            said = ": ".join(filter(None, [mark.reason, mark.details]))
            key = re.sub(r"[-+]?\d[\d.,]*(?:e[-+]?\d+)?", "#", said)
            found[key].append((said, result.submission))
    by_size = sorted(found.values(), key=len, reverse=True)[:MOST_CLUSTERS]
    return [Cluster(those[0][0], tuple(name for _, name in those)) for those in by_size]


def to_csv(found: Iterable[Question]) -> str:
    """Return the statistics as a table."""
    return to_text(COLUMNS, (_row(question) for question in found))


def _row(question: Question) -> dict[str, object]:
    values = (
        question.name,
        question.points,
        question.answers,
        question.full,
        round(question.mean, 3),
        question.correlation,
        round(question.seconds, 2),
        question.remark,
        "\n".join(f"{len(one.submissions)}: {one.said}" for one in question.wrong),
    )
    return dict(zip(COLUMNS, values, strict=True))


@dataclass(frozen=True)
class Alike:
    """Submissions whose answers to one solution are the same, or nearly."""

    solution: str
    submissions: tuple[str, ...]
    identical: bool


def find_alike(
    answers: Mapping[str, Mapping[str, str]], ours: Mapping[str, Sequence[str]]
) -> list[Alike]:
    r"""Return groups of submissions with answers that are alike, large ones first.

    `answers` are the sources of each submission by solution; `ours` those of the course.

    >>> from d2lcompute.grading.overview import find_alike
    >>> loop = "def mean(X):\n  s = 0\n  for x in X:\n    s = s + x\n  return s / len(X)"
    >>> copy = loop.replace("s = ", "t = ").replace("= s", "= t").replace("n s", "n t")
    >>> find_alike({"ada": {"q": loop}, "bob": {"q": copy}}, {})
    [Alike(solution='q', submissions=('ada', 'bob'), identical=True)]
    """
    solutions = dict.fromkeys(name for own in answers.values() for name in own)
    groups = [
        group
        for solution in solutions
        for group in _groups(
            solution,
            {who: own[solution] for who, own in answers.items() if solution in own},
            ours.get(solution, ()),
        )
    ]
    return sorted(groups, key=lambda group: (-len(group.submissions), group.solution))


def _groups(solution: str, sources: Mapping[str, str], ours: Iterable[str]) -> Iterable[Alike]:
    tokens = {who: normalized(source) for who, source in sources.items()}
    runs = {who: _runs(own) for who, own in tokens.items()}
    often = Counter(run for own in runs.values() for run in own)
    most = max(OFTEN, PART * len(runs))
    known = {run for source in ours for run in _runs(normalized(source))}
    same: defaultdict[frozenset[Run], list[str]] = defaultdict(list)
    for who, own in runs.items():
        rare = frozenset(run for run in own if often[run] <= most) - known
        if len(rare) >= FEWEST_RUNS:
            same[rare].append(who)
    for sets in _joined(list(same)):
        group = [who for rare in sets for who in same[rare]]
        if len(group) > 1:
            yield Alike(solution, tuple(sorted(group)), len({tokens[who] for who in group}) == 1)


def _runs(tokens: Sequence[str]) -> set[Run]:
    return {tuple(tokens[start : start + RUN]) for start in range(len(tokens) - RUN + 1)}


def _joined(sets: Sequence[frozenset[Run]]) -> list[list[frozenset[Run]]]:
    """Return the sets in groups: two that share `SHARE` of what both have are in the same one.

    Two such sets share one at least of the first runs of each, in whatever order all runs are, up
    to where what is left of a set is less than its share. With rare runs first few are compared.
    """
    often = Counter(run for own in sets for run in own)
    groups = {own: [own] for own in sets}
    having: defaultdict[Run, list[frozenset[Run]]] = defaultdict(list)
    for own in sets:
        first = sorted(own, key=lambda run: (often[run], run))
        first = first[: len(own) - math.ceil(SHARE * len(own)) + 1]
        for other in {other for run in first for other in having[run]}:
            small, large = sorted((groups[own], groups[other]), key=len)
            if small is not large and _share(own, other):
                large += small
                groups |= dict.fromkeys(small, large)
        for run in first:
            having[run].append(own)
    return list({id(group): group for group in groups.values()}.values())


def _share(first: frozenset[Run], second: frozenset[Run]) -> bool:
    return len(first & second) >= SHARE * len(first | second)


def normalized(source: str) -> tuple[str, ...]:
    r"""Return the tokens of code, without what can be changed and does not matter.

    >>> from d2lcompute.grading.overview import normalized
    >>> normalized("def f(x: int):\n    'Adds.'\n    y = x + 1  # one\n    return y")[:8]
    ('def', 'f', '(', '_', ')', ':', '_', '=')
    """
    try:
        text = _without_names(ast.parse(source[:LONGEST]))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        text = source[:LONGEST]
    return tuple(re.findall(r"\w+|[^\w\s]", text))


def _without_names(tree: ast.Module) -> str:
    written = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    written |= {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    for node in ast.walk(tree):
        _plain(node, written)
    return ast.unparse(tree)


def _plain(node: ast.AST, written: set[str]) -> None:
    if isinstance(node, ast.Name) and node.id in written:
        node.id = "_"
    elif isinstance(node, ast.arg):
        node.arg, node.annotation = "_", None
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node.returns = None
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
        first = node.body[0] if node.body else None
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        if is_text and len(node.body) > 1:
            del node.body[0]
