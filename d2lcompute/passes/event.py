"""What is noted of a call of a block and of a functional step: its name, shapes and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from ..parameters.names import Shape

_OPERATORS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "floordiv": "//", "remainder": "%", "pow": "**",
    "matmul": "@", "gt": ">", "ge": ">=", "lt": "<", "le": "<=", "eq": "==", "ne": "!=",
    "and": "&", "or": "|", "xor": "^", "invert": "~", "neg": "-",
}  # fmt: skip
_READS = {"item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__"}


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
    return func.__name__ in _READS or func.__name__ == "__setitem__"


def step_name(func: Any, args: tuple[Any, ...]) -> str:
    """Return a step as it reads in code: `relu`, `@`, `/ 2`, `[:, -1]`, `.T`, `item()`."""
    name: str = func.__name__
    if name == "__get__":
        return f".{func.__self__.__name__}"
    if name in ("__getitem__", "__setitem__"):
        return _index_text(args[1]) + (" =" if name == "__setitem__" else "")
    bare = name.strip("_").removeprefix("linalg_")
    if name in _READS:
        return f"{bare}()"
    reflected = bare[1:] if name.startswith("__r") else ""
    operator = _OPERATORS.get(reflected or bare)
    if operator is None:
        return bare
    if name.endswith("_") and not name.startswith("_"):
        operator += "="
    constant = next((arg for arg in args if isinstance(arg, int | float)), None)
    if constant is None:
        return operator
    sides = (constant, operator) if reflected else (operator, constant)
    return " ".join(f"{side:.4g}" if isinstance(side, float) else f"{side}" for side in sides)


def _index_text(index: Any) -> str:
    """Return an index as it reads in code, with `...` for what is not a number or a slice."""
    parts = index if isinstance(index, tuple) else (index,)
    return f"[{', '.join(_index_part(part) for part in parts)}]"


def _index_part(part: Any) -> str:
    if isinstance(part, slice):
        bounds = [part.start, part.stop] + ([part.step] if part.step is not None else [])
        return ":".join("" if bound is None else _index_part(bound) for bound in bounds)
    return str(part) if isinstance(part, int | None) else "..."


@dataclass(frozen=True, slots=True)
class Statistics:
    """Numbers about the finite values of a tensor, of which there are `count` with all others.

    `zeros` is the share of values that are exactly zero, and `not_finite` how many are infinite or
    NaN. `spread` is the deviation between the examples of a batch, root mean square over all
    places of an example, None for a single one: what a net can tell its inputs apart by.
    """

    count: int
    mean: float
    deviation: float
    least: float
    most: float
    zeros: float
    not_finite: int
    spread: float | None

    @property
    def size(self) -> float:
        """The root of the mean of the squares."""
        return math.hypot(self.mean, self.deviation)

    @property
    def norm(self) -> float:
        """The root of the sum of the squares."""
        return self.size * math.sqrt(self.count - self.not_finite)


def statistics(tensor: Tensor) -> Statistics | None:
    """Return what there is to say about the values of a tensor, None if there are none to see.

    >>> from d2lcompute.passes.event import statistics
    >>> found = statistics(torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    >>> found.mean, found.zeros, found.spread
    (1.5, 0.5, 0.707...)

    Complex numbers count as two. On a device that has them, the sums are made in doubles.
    """
    if not can_be_read(tensor) or not tensor.numel():
        return None
    with torch.no_grad():
        values = _as_reals(tensor)
        flat = values.reshape(-1)
        finite = flat if _all_finite(flat) else flat[flat.isfinite()]
        count, lost = len(flat), len(flat) - len(finite)
        if count == lost:
            return Statistics(count, math.nan, math.nan, math.nan, math.nan, 0.0, lost, None)
        mean, deviation, least, most, filled = _numbers(finite)
        zeros = (count - lost - filled) / count
        has_examples = tensor.dim() > 0 and not tensor.is_nested and not lost
        spread = _spread(values.reshape(len(tensor), -1)) if has_examples else None
        return Statistics(count, mean, deviation, least, most, zeros, lost, spread)


def can_be_read(tensor: Tensor) -> bool:
    """Whether there are values to look at: not on the meta device, nor within a transform."""
    is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    return not (tensor.is_meta or is_wrapped or isinstance(tensor, FakeTensor))


def plain(tensor: Tensor) -> Tensor:
    """Return the values in an ordinary tensor, all in a row if they are those of a nested one."""
    if tensor.is_nested:
        return torch.cat([part.reshape(-1) for part in tensor.unbind()])
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor if tensor.layout is torch.strided else tensor.to_dense()


def _as_reals(tensor: Tensor) -> Tensor:
    """Return the values as real floating point numbers, doubles where the device has them."""
    values = plain(tensor.detach())
    values = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    return values.float() if values.device.type == "mps" else values.double()


def _numbers(values: Tensor) -> list[float]:
    """Return mean, deviation, least, most, and how many are not zero, in one read."""
    deviation, mean = torch.std_mean(values, correction=0)
    filled = values.count_nonzero().to(values.dtype)
    found: list[float] = torch.stack([mean, deviation, *values.aminmax(), filled]).tolist()
    largest = max(abs(found[2]), abs(found[3]))
    if 1e-150 < largest < 1e150 or not largest:
        return found
    scaled: list[float] = torch.stack(torch.std_mean(values / largest, correction=0)).tolist()
    return [scaled[1] * largest, scaled[0] * largest, *found[2:]]  # where squares are out of reach


def _all_finite(flat: Tensor) -> bool:
    return bool(flat.sum().isfinite()) or bool(flat.isfinite().all())


def _spread(examples: Tensor) -> float | None:
    if len(examples) < 2:
        return None
    return float(examples.var(0, correction=0).mean().sqrt())
