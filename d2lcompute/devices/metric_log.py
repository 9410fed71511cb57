"""A log of numbers that stays on their device until it is read."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real

import torch
from torch import Tensor

from ..arguments import positive

CPU = torch.device("cpu")


class MetricLog:
    """Numbers kept on the device where they arise, and read in one transfer.

    >>> log = d2c.MetricLog(1_000)
    >>> for step in range(3):
    ...     log.append(torch.full((4, 4), float(step)).norm())
    >>> log
    MetricLog(length=3, device='cpu')
    >>> log.values()
    tensor([0., 4., 8.], dtype=torch.float64)

    `capacity` is how many values to make room for; the log doubles when it is full. `device` is
    where they are kept, by default the device of the first one. Nothing waits for that device
    before `values()` or a loop over the log, each of which takes one transfer; `len` takes none.

    Raises `ValueError` for a capacity that is not positive.
    Source: D2L 6.7 / zh 5.6
    """

    def __init__(self, capacity: int, device: torch.device | str | None = None):
        self._capacity = positive("capacity", capacity)
        self._room = None if device is None else _room(self._capacity, torch.device(device))
        self._count = 0

    def append(self, value: Tensor | float) -> None:
        """Write `value`, a number or a tensor with one element, behind the others.

        Raises `TypeError` for what is no number, and `ValueError` for a tensor with several
        elements or complex ones, or on an accelerator where the log is kept on the CPU.
        """
        number = _number(value)
        if isinstance(number, float):
            self._next_place(CPU).fill_(number)
        else:
            self._next_place(number.device).copy_(number)
        self._count += 1

    def _next_place(self, source: torch.device) -> Tensor:
        if self._room is None:
            self._room = _room(self._capacity, source)
        if self._room.device.type == "cpu" and source.type != "cpu":
            raise ValueError(
                f"`value` must be on the CPU, where this log is kept, got one on {source}, for "
                f'which each append would wait; do MetricLog({self._capacity}, device="{source}")'
            )
        if self._count == len(self._room):
            full, self._room = self._room, _room(2 * self._count, self._room.device)
            self._room[: self._count].copy_(full)
        return self._room[self._count]

    def values(self) -> Tensor:
        """Return what was appended, a float64 tensor (n,) on the CPU: one transfer."""
        if self._room is None:
            return torch.empty(0, dtype=torch.float64)
        return self._room[: self._count].to(CPU, copy=True).double()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[float]:
        return iter(self.values().tolist())

    def __repr__(self) -> str:
        device = None if self._room is None else str(self._room.device)
        return f"MetricLog(length={self._count}, device={device!r})"


def _number(value: Tensor | float) -> Tensor | float:
    """Return a float, or a detached scalar if reading it would wait for its device."""
    if isinstance(value, Real):
        return float(value)
    if not isinstance(value, Tensor):
        raise TypeError(
            f"`value` must be a number or a tensor with one, got {type(value).__name__}; "
            "do append(float(value))"
        )
    if value.numel() != 1 or value.is_complex():
        kind = f"{value.dtype} tensor of shape {tuple(value.shape)}"
        raise ValueError(f"`value` must be one real number, got a {kind}; do append(value.norm())")
    return float(value.detach()) if value.is_cpu else value.detach().reshape(())


@torch.inference_mode(False)  # else a log begun in inference mode could not go on outside
def _room(capacity: int, device: torch.device) -> Tensor:
    exact = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
    return torch.empty(capacity, dtype=exact, device=device)
