"""Small changes of a piece of code, each a mistake that people make."""

import ast
from collections.abc import Callable, Iterator

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.MatMult: ast.Mult, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
IN_PLACE = {ast.Add: "__iadd__", ast.Sub: "__isub__", ast.Mult: "__imul__", ast.Div: "__itruediv__"}
COPIED = {"net", "X", "h", "A", "B", "data", "module", "optimizer", "scheduler", "state"}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def mutants(code: str) -> Iterator[tuple[str, str]]:
    """Yield (what was changed, the changed code) for every small change of `code`."""
    seen = {ast.unparse(ast.parse(code))}
    places = sum(1 for _ in ast.walk(ast.parse(code)))
    for change in CHANGES:
        for place in range(places):
            tree = ast.parse(code)
            nodes = list(ast.walk(tree))
            said = change(tree, nodes[place])
            if said is None:
                continue
            changed = ast.unparse(ast.fix_missing_locations(tree))
            if changed not in seen:
                seen.add(changed)
                yield said, changed


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> str:
    """Put one node in the place of another, and return what that looks like."""
    before = ast.unparse(old)
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list):
                setattr(parent, field, [new if one is old else one for one in value])
    return f"{before} -> {ast.unparse(ast.fix_missing_locations(new))}"


def _constant(tree: ast.AST, node: ast.AST) -> str | None:
    if not isinstance(node, ast.Constant) or isinstance(node.value, str | bytes | None):
        return None
    value = node.value
    if value is ...:
        return None
    new = (not value) if isinstance(value, bool) else value + 1
    return _replace(tree, node, ast.Constant(new))


def _operator(tree: ast.AST, node: ast.AST) -> str | None:
    before = ast.unparse(node) if isinstance(node, ast.expr | ast.stmt) else ""
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return _replace(tree, node, node.operand)
    else:
        return None
    return f"{before} -> {ast.unparse(node)}"


def _missing_statement(tree: ast.AST, node: ast.AST) -> str | None:
    if isinstance(node, FUNCTIONS | ast.ClassDef | ast.Import | ast.ImportFrom | ast.Return):
        return None
    if not isinstance(node, ast.stmt) or node in getattr(tree, "body", []):
        return None
    text = ast.unparse(node).partition("\n")[0]
    _replace(tree, node, ast.Pass())
    return f"without: {text}"


def _missing_return(tree: ast.AST, node: ast.AST) -> str | None:
    if not isinstance(node, ast.Return) or node.value is None:
        return None
    return _replace(tree, node, ast.Expr(node.value))


def _returned(method: str) -> Callable[[ast.AST, ast.AST], str | None]:
    def change(tree: ast.AST, node: ast.AST) -> str | None:
        if not isinstance(node, ast.Return) or node.value is None:
            return None
        attribute = ast.Attribute(node.value, method, ast.Load())
        new = attribute if method == "data" else ast.Call(attribute, [], [])
        return _replace(tree, node.value, new)

    return change


def _plain(tree: ast.AST, node: ast.AST) -> str | None:
    """Take away what registers: a list in place of a ModuleList, a tensor for a Parameter."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return None
    if node.func.attr in ("ModuleList", "ParameterList"):
        return _replace(tree, node, ast.Call(ast.Name("list", ast.Load()), node.args, []))
    if node.func.attr == "Parameter":
        return _replace(tree, node, node.args[0])
    if node.func.attr == "register_buffer":
        target = ast.Attribute(ast.Name("self", ast.Load()), node.args[0].value, ast.Store())
        for parent in ast.walk(tree):
            if isinstance(parent, ast.Expr) and parent.value is node:
                return _replace(tree, parent, ast.Assign([target], node.args[1]))
    return None


def _in_place(tree: ast.AST, node: ast.AST) -> str | None:
    if not isinstance(node, ast.BinOp) or type(node.op) not in IN_PLACE:
        return None
    if not isinstance(node.left, ast.Name):
        return None
    method = ast.Attribute(node.left, IN_PLACE[type(node.op)], ast.Load())
    return _replace(tree, node, ast.Call(method, [node.right], []))


def _on_a_copy(tree: ast.AST, node: ast.AST) -> str | None:
    """Let a function work on a copy of what it is given."""
    if not isinstance(node, ast.arg) or node.arg not in COPIED:
        return None
    for function in ast.walk(tree):
        if isinstance(function, FUNCTIONS) and node in function.args.args:
            line = f"{node.arg} = __import__('copy').deepcopy({node.arg})"
            function.body[:0] = ast.parse(line).body
            return f"{function.name}: {line}"
    return None


def _without_a_copy(tree: ast.AST, node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("deepcopy"):
        return _replace(tree, node, node.args[0])
    return None


CHANGES = (
    _constant, _operator, _missing_statement, _missing_return, _returned("detach"),
    _returned("data"), _plain, _in_place, _on_a_copy, _without_a_copy,
)  # fmt: skip
