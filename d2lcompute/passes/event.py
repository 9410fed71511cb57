"""What is noted of a call of a block and of a functional step, and what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..parameters.names import Shape
from .statistics import Statistics

OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "remainder": "%", "pow": "**",
    "matmul": "@", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^", "invert": "~", "neg": "-",
}  # fmt: skip
READS = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}


class Event:
    """One call of a block, or one functional step that a block ran (`block` is None)."""

    name: str = ""
    inputs: tuple[Shape, ...] = ()
    sources: tuple[Event | None, ...] = ()  # None: a parameter or a constant
    ports: tuple[int, ...] = ()  # which of what its source made each input is
    held: tuple[int, ...] = ()  # ids of the inputs that nothing made, 0 for the others
    outputs: tuple[Shape, ...] = ()
    taken: dict[tuple[Event, int], Shape] | None = None  # what it read inside, by source and port
    origins: tuple[Event | None, ...] = ()  # what inside made each output
    parameters: frozenset[int] = frozenset()  # ids of those that it read itself
    value: bool | int | float | None = None  # what a step that reads values gave
    flops: int = 0
    bytes: int = 0  # of its outputs, as far as they are new memory
    kept: int = 0  # bytes that autograd keeps of what was made inside
    values: tuple[Statistics | None, ...] = ()  # of each output
    gradients: Sequence[Statistics | None] = ()  # that came to each output
    backward_flops: int = 0
    failed: bool = True
    first_inside: int = 0  # where in the list of events those inside a block begin
    first_made: int = 0  # how many storages there were before
    has_blocks: bool = False
    is_of_torch: bool = False  # its steps are not shown, if it runs no blocks
    is_leaf: bool = False

    def __init__(self, parent: Event | None, block: nn.Module | None = None) -> None:
        self.parent = parent
        self.block = block


def shape(tensor: Tensor) -> Shape:
    """Return the shape as a plain tuple, `(None,)` where there is none yet or no regular one."""
    try:
        return tuple(tensor.shape)
    except RuntimeError:
        return (None,)


def type_name(block: nn.Module) -> str:
    """Return the name of the class, that of the original for a scripted block."""
    is_scripted = isinstance(block, torch.jit.ScriptModule)
    return str(block.original_name if is_scripted else type(block).__name__)


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
