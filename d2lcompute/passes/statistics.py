"""What the values of a tensor are like: one set of numbers for all who ask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor


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

    >>> from d2lcompute.passes.statistics import statistics
    >>> found = statistics(torch.tensor([[0.0, 2.0], [0.0, 4.0]]))
    >>> found.mean, found.zeros, found.spread
    (1.5, 0.5, 0.707...)

    Complex numbers count as two. On a device that has them, the sums are made in doubles.
    """
    if not can_be_read(tensor) or not tensor.numel():
        return None
    with torch.no_grad():
        values = as_reals(tensor)
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


def as_reals(tensor: Tensor) -> Tensor:
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
