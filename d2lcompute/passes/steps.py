"""What a functional step is called: as it reads in code."""

from __future__ import annotations

from typing import Any

OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "remainder": "%", "pow": "**",
    "matmul": "@", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^", "invert": "~", "neg": "-",
}  # fmt: skip
READS = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}


def writes_or_reads_values(func: Any) -> bool:
    """Whether a function that returns no tensor is a step all the same, as `item` is."""
    return func.__name__ in READS or func.__name__ == "__setitem__"


def step_name(func: Any, args: tuple[Any, ...]) -> str:
    """Return a step as it reads in code: `relu`, `@`, `/ 2`, `[:, -1]`, `.T`, `item()`."""
    name: str = func.__name__
    if name == "__get__":
        return f".{func.__self__.__name__}"
    if name in ("__getitem__", "__setitem__"):
        return index_text(args[1]) + (" =" if name == "__setitem__" else "")
    plain = name.strip("_").removeprefix("linalg_")
    if name in READS:
        return f"{plain}()"
    reflected = plain[1:] if name.startswith("__r") else ""
    operator = OPERATORS.get(reflected or plain)
    if operator is None:
        return plain
    if name.endswith("_") and not name.startswith("_"):
        operator += "="
    constant = next((arg for arg in args if isinstance(arg, int | float)), None)
    if constant is None:
        return operator
    sides = (constant, operator) if reflected else (operator, constant)
    return " ".join(f"{side:.4g}" if isinstance(side, float) else f"{side}" for side in sides)


def index_text(index: Any) -> str:
    """Return an index as it reads in code, with `...` for what is not a number or a slice."""
    parts = index if isinstance(index, tuple) else (index,)
    return f"[{', '.join(_index_part(part) for part in parts)}]"


def _index_part(part: Any) -> str:
    if isinstance(part, slice):
        bounds = [part.start, part.stop] + ([part.step] if part.step is not None else [])
        return ":".join("" if bound is None else _index_part(bound) for bound in bounds)
    return str(part) if isinstance(part, int | None) else "..."
