"""What a question forbids and asks for: read from the code of an answer, and watched as it runs.

In a solution's metadata, `"forbids": ["nn.Linear", "import numpy", "loop", ".data"]` and `"asks":
["torch.einsum"]`: a name, an import, a loop of any kind, an attribute of anything. A name is known
under other names too (`from torch.nn import Linear as L`), and code that makes names as it runs
(`eval`, `getattr` with what is no plain text, a magic) breaks every rule that forbids something.

`watch`, inside the kernel, sees what a name stands for in the end: `type(layer)(2, 2)`,
`nn.modules.linear.Linear(2, 2)`, `map(...)`, a class of the answer's own that has the class as its
base. It does not see what a library makes on the answer's behalf, classes written in C, functions,
attributes and loops; and who sets out to switch it off can: it keeps honest answers honest.
"""

from __future__ import annotations

import ast
import functools
import pydoc
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any

TERM = re.compile(r"loop|import [\w.]+|\.\w+|[A-Za-z_][\w.]*")
LOOPS = (
    ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
)  # fmt: skip
DYNAMIC = (
    "eval", "exec", "compile", "__import__", "__builtins__", "globals", "locals", "vars",
    "importlib.import_module", "sys.modules", "get_ipython", ".__dict__", ".__getattribute__",
    "operator.attrgetter", ".__wrapped__",
)  # fmt: skip
LONGEST, MOST_MAGICS = 1 << 18, 20
HARMLESS = "get_ipython().run_line_magic('matplotlib', 'inline')"
ATTRIBUTES = ("getattr", "setattr", "delattr", "hasattr")

Use = tuple[str, int]


def find_breaches(
    cells: Sequence[str], forbids: Iterable[str], asks: Iterable[str], given: Sequence[str] = ()
) -> list[str]:
    """Return what an answer does that it may not, and what it lacks, each with its line.

    It may stand in several `cells`. `given` is the code around it: its imports have names.

    >>> from d2lcompute.grading.rules import find_breaches
    >>> find_breaches(["layer = nn.Linear(2, 2)"], ["nn.Linear"], [], ["from torch import nn"])
    ['line 1 uses nn.Linear, which is not allowed here']

    A cell that cannot be parsed breaks no rule: it does nothing at all.
    """
    forbidden, wanted = list(forbids), list(asks)
    if not (forbidden or wanted):
        return []
    names: dict[str, str] = {}
    for code in given:
        _learn(_parse(code), names)
    if max(map(len, cells), default=0) > LONGEST:
        return [f"a cell has more than {LONGEST:,} characters, which is not allowed here"]
    trees = [_parse(source) for source in cells]
    if not any(tree.body for tree in trees):
        return []
    terms = {term: _full(term, names) for term in [*forbidden, *wanted]}
    for tree in trees:
        _learn(tree, names)
    uses = sorted((use for tree in trees for use in _uses(tree, names)), key=lambda use: use[1])
    found = [
        breach(line, _said(term))
        for term in forbidden
        for line in sorted({line for use, line in uses if _is(use, terms[term])})[:1]
    ]
    if forbidden:
        hidden = [line for use, line in uses if use == "dynamic"]
        found += [
            f"line {line} makes names as it runs, which is not allowed here" for line in hidden[:1]
        ]
    lacks = [term for term in wanted if not any(_is(use, terms[term]) for use, _ in uses)]
    return found + [f"{_said(term)} is asked for, and is not used" for term in lacks]


def breach(line: int, term: str) -> str:
    """Return what is said of the use of a term."""
    return f"line {line} uses {term}, which is not allowed here"


def called_names(forbids: Iterable[str], given: Sequence[str]) -> dict[str, str]:
    """Return the terms that are names, by the full name that the code around gives them."""
    names: dict[str, str] = {}
    for code in given:
        _learn(_parse(code), names)
    terms = (term for term in forbids if re.fullmatch(r"(?!loop$)[A-Za-z_][\w.]*", term))
    return {_full(term, names): term for term in terms}


def lines_before(source: str) -> int:
    """Return how many empty lines a cell begins with, which the notebook leaves out."""
    return source[: len(source) - len(source.lstrip())].count("\n")


def _parse(source: str) -> ast.Module:
    """Return the tree of a cell as a notebook runs it, with its magics; empty if it cannot run.

    Each magic takes as long as reading the whole cell: of one with many, it is one magic.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    class Reader(TransformerManager):
        def do_token_transforms(self, lines: list[str]) -> list[str]:
            for _ in range(MOST_MAGICS):
                changed, lines = self.do_one_token_transform(lines)
                if not changed:
                    return lines
            return ["get_ipython()"]

    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        text = Reader().transform_cell(source).replace(HARMLESS, "None")
        tree = compile(text, "<answer>", "exec", flags)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return ast.Module([], [])
    ast.increment_lineno(tree, lines_before(source))
    return tree if isinstance(tree, ast.Module) else ast.Module([], [])


def _said(term: str) -> str:
    return "a loop" if term == "loop" else term


def _full(term: str, names: Mapping[str, str]) -> str:
    """Return a term with the name that its first part stands for."""
    if term == "loop" or term.startswith((".", "import ")):
        return term
    head, dot, rest = term.partition(".")
    return names.get(head, head) + dot + rest


def _is(use: str, term: str) -> bool:
    """Whether a use is one of a term; whoever imports a part of a module imports it."""
    return use == term or (term.startswith("import ") and use.startswith(f"{term}."))


def _learn(tree: ast.AST, names: dict[str, str]) -> None:
    """Note what imports and plain assignments make names stand for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.asname:
                    names[each.asname] = each.name
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                names[each.asname or each.name] = f"{node.module}.{each.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            for target in node.targets:
                full = _dotted(node.value, names)
                if isinstance(target, ast.Name) and full and full != target.id:
                    names[target.id] = full


def _dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the full name of `a.b.c`, empty for what is none."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, names)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _uses(tree: ast.AST, names: Mapping[str, str]) -> Iterator[Use]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, LOOPS):
            yield "loop", line
        elif isinstance(node, ast.Import):
            yield from ((f"import {each.name}", line) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"import {node.module}", line
            yield from ((f"{node.module}.{each.name}", line) for each in node.names)
            yield from (("dynamic", line) for each in node.names if each.name == "*")
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from ((name, line) for name in _names(node, names))
        elif isinstance(node, ast.Call):
            yield from ((name, line) for name in _called(node, names))


def _names(node: ast.Name | ast.Attribute, names: Mapping[str, str]) -> Iterator[str]:
    full = _dotted(node, names)
    if full:
        yield full
    attribute = f".{node.attr}" if isinstance(node, ast.Attribute) else ""
    if attribute:
        yield attribute
    if full in DYNAMIC or attribute in DYNAMIC:
        yield "dynamic"


def _called(node: ast.Call, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the attribute that `getattr` and the like are for."""
    if _dotted(node.func, names) not in ATTRIBUTES or len(node.args) < 2:
        return
    owner, wanted = node.args[:2]
    if not (isinstance(wanted, ast.Constant) and isinstance(wanted.value, str)):
        yield "dynamic"
        return
    before = _dotted(owner, names)
    yield f".{wanted.value}"
    if before:
        yield f"{before}.{wanted.value}"


class NotAllowedError(RuntimeError):
    """An answer makes what its question forbids."""


def watch(answers: Sequence[tuple[str, bool, Mapping[str, str]]]) -> None:
    """Watch answers, before any of them runs.

    Each is the source of a cell, or the name of a module and True; and what is not allowed in it,
    by full name: how it is called in the question.
    """
    from IPython.core.interactiveshell import InteractiveShell

    shell: Any = InteractiveShell.instance()
    files: dict[str, dict[str, tuple[str, int]]] = {}
    for text, is_module, terms in answers:
        path = str(Path.cwd() / text) if is_module else shell.compile.get_code_name(text, text, 0)
        for name, term in terms.items():
            files.setdefault(name, {})[path] = term, 0 if is_module else lines_before(text)
    for name, places in files.items():
        found: Any = pydoc.locate(name)
        if isinstance(found, type):
            _refuse(found, places)


def _refuse(kind: Any, places: Mapping[str, tuple[str, int]]) -> None:
    """Let a class refuse to be made by code in some files: its name there, and lines before."""
    make = kind.__init__
    if not isinstance(make, FunctionType):  # written in C
        return

    @functools.wraps(make)
    def checked(self: Any, *arguments: Any, **more: Any) -> None:
        caller = sys._getframe(1)
        if caller.f_code.co_filename in places:
            term, before = places[caller.f_code.co_filename]
            raise NotAllowedError(breach(before + caller.f_lineno, term))
        make(self, *arguments, **more)

    kind.__init__ = checked
