"""A log of numbers that stays on their device until it is read."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real

import torch
from torch import Tensor

from ..arguments import as_device, positive

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

    `capacity` is how many values to make room for at a time. `device` is where they are kept, by
    default the device of the first one. Nothing waits for that device before `values()` or a loop
    over the log, each of which takes one transfer; `len` takes none.

    Raises `ValueError` for a capacity that is not positive or a device that is not there, and
    `TypeError` for what is no device.
    Source: D2L 6.7 / zh 5.6
    """

    def __init__(self, capacity: int, device: torch.device | str | None = None):
        self._capacity = positive("capacity", capacity)
        self._device = None if device is None else as_device("device", device)
        self._rooms: list[Tensor] = []  # of `capacity` values each, all but the last one full
        self._count = 0

    def append(self, value: Tensor | float) -> None:
        """Write `value`, a number or a tensor with one element, behind the others.

        Raises `TypeError` for what is no number, and `ValueError` for a tensor with several
        elements or complex ones, or on an accelerator where the log is kept on the CPU.
        """
        number = _number(value)
        source = number.device if isinstance(number, Tensor) else CPU
        device = self._device or source
        if device.type == "cpu" and source.type != "cpu":
            raise ValueError(
                f"`value` must be on the CPU, where this log is kept, got one on {source}, for "
                f'which each append would wait; do MetricLog({self._capacity}, device="{source}")'
            )
        if self._count == len(self._rooms) * self._capacity:
            self._rooms.append(_room(self._capacity, device))
            self._device = self._rooms[0].device
        place = self._rooms[-1][self._count % self._capacity]
        # Not `room[i] = number`: on CUDA torch would bring the number over and wait.
        place.copy_(number) if isinstance(number, Tensor) else place.fill_(number)
        self._count += 1

    def values(self) -> Tensor:
        """Return what was appended, a float64 tensor (n,) on the CPU: one transfer."""
        rooms = self._rooms or [_room(0, CPU)]
        return torch.cat(rooms)[: self._count].to(CPU).double()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[float]:
        return iter(self.values().tolist())

    def __repr__(self) -> str:
        device = None if self._device is None else str(self._device)
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
