"""Answers that are alike: a list to look at, never an accusation.

Code is compared without its comments, layout, docstrings, annotations and the names of its
variables, by runs of `RUN` tokens. Runs of the stub, of the course's own solutions, and of many
submissions say nothing and are left out; an answer with less than `FEWEST` others is too short.
"""

from __future__ import annotations

import ast
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

RUN, FEWEST, SHARE = 6, 8, 0.8
Run = tuple[str, ...]
LONGEST = 100_000  # characters of an answer that are compared
OFTEN, PART = 5, 0.1  # of so many submissions, and of such a part of them, a run is common


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

    >>> from d2lcompute.grading.alike import find_alike
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
        if len(rare) >= FEWEST:
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

    >>> from d2lcompute.grading.alike import normalized
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
