"""Solutions with one small mistake: what people get wrong, in Python and with torch.

Changes are made in the syntax tree. A library of such operators would bring a database and a web
server into every grading environment; the general ones here are those that all of them have.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import disturb
from .assignment import BEGIN, END

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.MatMult: ast.Mult, ast.Pow: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
# Names that are taken for each other, as attributes or functions.
NAMES = {
    "sum": "mean", "mean": "sum", "max": "min", "min": "max", "argmax": "argmin", "zeros": "ones",
    "ones": "zeros", "randn": "rand", "rand": "randn", "tanh": "sigmoid", "sigmoid": "tanh",
    "relu": "tanh", "square": "abs", "abs": "square", "softmax": "log_softmax", "exp": "expm1",
    "log": "log1p", "var": "std", "std": "var", "cat": "stack", "stack": "cat", "dot": "outer",
    "named_parameters": "named_buffers", "ModuleList": "list", "ModuleDict": "dict",
    "ParameterList": "list", "sorted": "list", "all": "any", "any": "all",
}  # fmt: skip
DUNDERS = {"__call__", "__getitem__", "__iter__", "__len__"}
DROPPED_CALLS = {"detach", "clone", "item", "contiguous", "squeeze", "unsqueeze", "abs", "float"}

Edit = Callable[[ast.AST], ast.AST | None]


@dataclass(frozen=True)
class Mutant:
    """A changed solution; `what` says what was changed, `difference` shows it.

    Where its functions are `disturbed`, by what change and in which aspect.
    """

    source: str
    what: str
    difference: str = ""
    aspect: str = ""
    change: str = ""

    @property
    def id(self) -> str:
        """A short name, by which an author can say that this one is right as well."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:8]


def mutants(source: str) -> list[Mutant]:
    r"""Return the solution `source` with one small change each, every change once.

    >>> from d2lcompute.grading.mutants import mutants
    >>> print(mutants("small = x < 1")[0].difference)
    - small = x < 1
    + small = x <= 1

    Only what stands between the marks of a solution is changed, all of it without marks.
    """
    tree = _tree(source)
    found: dict[str, Mutant] = {}
    original = ast.unparse(tree)
    first, last = _span(source)
    for place, node in enumerate(ast.walk(tree)):
        line = getattr(node, "lineno", None)
        if line is None or not first <= line <= last:
            continue
        for what, edit in _edits(node):
            changed = _changed(tree, place, edit)
            if changed is not None and changed != original:
                difference = _difference(original, changed)
                found.setdefault(changed, Mutant(changed, f"line {line}: {what}", difference))
    return list(found.values())


def echoes(source: str) -> Iterator[tuple[str, str]]:
    """Yield what is returned, and the solution whose functions do nothing but return it."""
    tree = _tree(source)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    names = [
        [argument.arg for argument in function.args.args if argument.arg != "self"]
        for function in functions
    ]
    for number in range(max(map(len, names), default=0)):
        for function, own in zip(functions, names, strict=True):
            if function.name != "__init__" and number < len(own):
                function.body = [ast.Return(ast.Name(own[number], ast.Load()))]
        yield f"returns argument {number + 1}", ast.unparse(ast.fix_missing_locations(tree))


def disturbances(source: str) -> Iterator[Mutant]:
    """Yield the solution with one aspect of all its functions disturbed, see `disturb`."""
    tree = _tree(source)
    mark = ast.Call(ast.Name("_disturbed", ast.Load()), [], [])
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for node in tree.body:
        own = node.body if isinstance(node, ast.ClassDef) else []
        methods = [each for each in own if isinstance(each, ast.FunctionDef)]
        functions += [each for each in methods if each.name in DUNDERS or each.name[:2] != "__"]
    for function in functions:
        function.decorator_list.append(mark)
    begin = next((n for n, node in enumerate(tree.body) if not _comes_first(node)), 0)
    line = f"from {disturb.__name__} import disturbed as _disturbed"
    tree.body[begin:begin] = ast.parse(line).body
    for aspect, what in disturb.DISTURBANCES if functions else ():
        mark.args = [ast.Constant(aspect), ast.Constant(what)]
        changed = ast.unparse(ast.fix_missing_locations(tree))
        yield Mutant(changed, f"{aspect} that is {what}", aspect=aspect, change=what)


def _comes_first(node: ast.stmt) -> bool:
    is_future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
    return is_future or isinstance(node, ast.Expr)


def _tree(source: str) -> ast.Module:
    """Return the syntax tree, an empty one for what is no plain Python, such as magics."""
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return ast.Module([], [])


def _span(source: str) -> tuple[int, int]:
    """Return the first and the last line of what students do not see."""
    lines = [line.strip() for line in source.splitlines()]
    if BEGIN not in lines or END not in lines:
        return 1, len(lines)
    return lines.index(BEGIN) + 1, len(lines) - lines[::-1].index(END)


def _changed(tree: ast.Module, place: int, edit: Edit) -> str | None:
    twin = copy.deepcopy(tree)
    nodes = list(ast.walk(twin))
    replacement = edit(nodes[place])
    if replacement is not None:
        for node in nodes:
            _replace(node, nodes[place], replacement)
    try:
        changed = ast.unparse(ast.fix_missing_locations(twin))
        ast.parse(changed)
    except (SyntaxError, ValueError):
        return None
    return changed


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for field, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, field, new)
        elif isinstance(value, list):
            setattr(parent, field, [new if item is old else item for item in value])


def _difference(before: str, after: str) -> str:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return "\n".join(line for line in lines if line[0] in "+-")


def _edits(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    """Yield the changes of a node: each sets something in it, or returns what replaces it."""
    for kind, changes in EDITS.items():
        if isinstance(node, kind):
            yield from changes(node)


def _set(**fields: object) -> Edit:
    def edit(node: ast.AST) -> None:
        for name, value in fields.items():
            setattr(node, name, value)

    return edit


def _constant(node: ast.Constant) -> Iterator[tuple[str, Edit]]:
    value = node.value
    if isinstance(value, bool):
        yield f"{not value} for {value}", _set(value=not value)
    elif isinstance(value, int | float):
        changed = {value + 1, value - 1} | ({2 * value, 10 * value} if value % 1 else set())
        for other in sorted(changed):
            yield f"{other} for {value}", _set(value=other)
    elif isinstance(value, str) and value.isidentifier():
        yield f"another name for {value!r}", _set(value=f"{value}_")


def _operation(node: ast.BinOp | ast.AugAssign) -> Iterator[tuple[str, Edit]]:
    other = BINARY.get(type(node.op))
    if other:
        yield f"{other.__name__} for {type(node.op).__name__}", _set(op=other())


def _comparison(node: ast.Compare) -> Iterator[tuple[str, Edit]]:
    for other in COMPARISONS[type(node.ops[0])]:
        what = f"{other.__name__} for {type(node.ops[0]).__name__}"
        yield what, _set(ops=[other(), *node.ops[1:]])


def _connection(node: ast.BoolOp) -> Iterator[tuple[str, Edit]]:
    other = ast.Or if isinstance(node.op, ast.And) else ast.And
    yield f"{other.__name__} for {type(node.op).__name__}", _set(op=other())


def _sign(node: ast.UnaryOp) -> Iterator[tuple[str, Edit]]:
    yield f"without {type(node.op).__name__}", lambda twin: vars(twin)["operand"]


def _condition(node: ast.If | ast.IfExp | ast.While) -> Iterator[tuple[str, Edit]]:
    yield "the condition turned round", _set(test=ast.UnaryOp(ast.Not(), node.test))


def _loop(node: ast.For) -> Iterator[tuple[str, Edit]]:
    yield "a loop over nothing", _set(iter=ast.List([], ast.Load()))


def _jump(node: ast.Break | ast.Continue) -> Iterator[tuple[str, Edit]]:
    other = ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    yield f"{type(other).__name__.lower()} instead", lambda twin: other


def _block(node: ast.AST) -> Iterator[tuple[str, Edit]]:
    """Yield the loss of each statement of a block."""
    for field in ("body", "orelse"):
        for place, statement in enumerate(getattr(node, field, None) or []):
            kept = isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Pass)
            if isinstance(statement, ast.stmt) and not kept:
                yield f"without {ast.unparse(statement).splitlines()[0]!r}", _lose(field, place)


def _lose(field: str, place: int) -> Edit:
    return lambda twin: vars(twin)[field].__setitem__(place, ast.Pass())


def _result(node: ast.Return) -> Iterator[tuple[str, Edit]]:
    if node.value is not None:
        yield "a detached result", _set(value=_call_of(node.value, "detach"))
        yield "no result", _set(value=None)


def _context(node: ast.With) -> Iterator[tuple[str, Edit]]:
    true = ast.Constant(True)
    yield "without the with", lambda twin: ast.If(true, vars(twin)["body"], [])


def _function(node: ast.FunctionDef) -> Iterator[tuple[str, Edit]]:
    if node.decorator_list:
        yield "without decorators", _set(decorator_list=[])


def _attribute(node: ast.Attribute) -> Iterator[tuple[str, Edit]]:
    if isinstance(node.ctx, ast.Load):
        if node.attr in NAMES:
            yield f"{NAMES[node.attr]} for {node.attr}", _set(attr=NAMES[node.attr])
        if node.attr in ("T", "mT"):
            yield f"without .{node.attr}", lambda twin: vars(twin)["value"]
        if node.attr.endswith("_") and not node.attr.startswith("_"):
            yield f"{node.attr[:-1]} for {node.attr}", _set(attr=node.attr[:-1])
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            own = copy.deepcopy(node)
            yield f"self.{node.attr}.data", lambda twin: ast.Attribute(own, "data", ast.Load())
            yield f"self.{node.attr}.detach()", lambda twin: _call_of(own, "detach")


def _call_of(value: ast.expr, method: str) -> ast.Call:
    return ast.Call(ast.Attribute(value, method, ast.Load()), [], [])


def _name(node: ast.Name) -> Iterator[tuple[str, Edit]]:
    if isinstance(node.ctx, ast.Load) and node.id in NAMES:
        yield f"{NAMES[node.id]} for {node.id}", _set(id=NAMES[node.id])


def _call(node: ast.Call) -> Iterator[tuple[str, Edit]]:
    arguments, name = node.args, getattr(node.func, "attr", getattr(node.func, "id", ""))
    if len(arguments) > 1 and not any(isinstance(one, ast.Starred) for one in arguments):
        yield "arguments swapped", _set(args=[arguments[1], arguments[0], *arguments[2:]])
    for place, keyword in enumerate(node.keywords):
        rest = [each for number, each in enumerate(node.keywords) if number != place]
        yield f"without {keyword.arg}=", _set(keywords=rest)
    if name == "range" and arguments:
        for operator in (ast.Add, ast.Sub):
            off = ast.BinOp(arguments[-1], operator(), ast.Constant(1))
            yield f"range off by one ({operator.__name__})", _set(args=[*arguments[:-1], off])
    if name == "Parameter" and len(arguments) == 1:
        yield "a plain tensor for the parameter", lambda twin: vars(twin)["args"][0]
        frozen = ast.keyword("requires_grad", ast.Constant(False))
        yield "a parameter without gradient", _set(keywords=[*node.keywords, frozen])
    if name == "register_buffer" and len(arguments) == 2:
        passing = ast.keyword("persistent", ast.Constant(False))
        yield "a buffer that is not saved", _set(keywords=[*node.keywords, passing])
        plain = [ast.Name("self", ast.Load()), *arguments]
        setting = ast.Name("setattr", ast.Load())
        yield "an attribute for the buffer", _set(func=setting, args=plain)
    if isinstance(node.func, ast.Attribute) and name in DROPPED_CALLS:
        yield f"without .{name}()", lambda twin: vars(vars(twin)["func"])["value"]


def _slice(node: ast.Subscript) -> Iterator[tuple[str, Edit]]:
    if isinstance(node.ctx, ast.Load) and isinstance(node.slice, ast.Slice):
        yield "without the slice", lambda twin: vars(twin)["value"]


EDITS: dict[tuple[type[ast.AST], ...], Callable[..., Iterator[tuple[str, Edit]]]] = {
    (ast.Constant,): _constant,
    (ast.BinOp, ast.AugAssign): _operation,
    (ast.Compare,): _comparison,
    (ast.BoolOp,): _connection,
    (ast.UnaryOp,): _sign,
    (ast.If, ast.IfExp, ast.While): _condition,
    (ast.For,): _loop,
    (ast.Break, ast.Continue): _jump,
    (ast.stmt, ast.ExceptHandler): _block,
    (ast.Return,): _result,
    (ast.With,): _context,
    (ast.FunctionDef,): _function,
    (ast.Attribute,): _attribute,
    (ast.Name,): _name,
    (ast.Call,): _call,
    (ast.Subscript,): _slice,
}
