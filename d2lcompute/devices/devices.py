"""Devices: the CPU, the accelerators of this machine, and where a tensor or a net lives."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..tables import Report, Shown, Table, listed
from ..words.language import _, marks


def cpu() -> torch.device:
    """Return the CPU device: one name for all processors and all memory of the machine.

    >>> d2c.cpu()
    device(type='cpu')

    Source: D2L 6.7 / zh 5.6
    """
    return torch.device("cpu")


def gpu(i: int = 0) -> torch.device:
    """Name accelerator `i`, whether the machine has it or not.

    >>> d2c.gpu(1).index
    1

    `i` counts from 0. The name is that of the accelerator which torch uses here, say `cuda:1` or
    `practice:1`, and `cuda:1` where there is none. It always has its number, because torch takes
    `cuda` for the current device and `cuda:0` for the first one, and holds the two unequal.
    `try_gpu` gives only devices that exist.

    Raises `ValueError` for an `i` that is negative or no integer.
    Source: D2L 6.7 / zh 5.6
    """
    index = _index(i)
    accelerator = torch.accelerator.current_accelerator() if num_gpus() else None
    return torch.device("cuda" if accelerator is None else accelerator.type, index)


def num_gpus() -> int:
    """Count the accelerators of this machine, practice ones included.

    >>> d2c.num_gpus() == torch.accelerator.device_count()
    True

    Source: D2L 6.7 / zh 5.6
    """
    return torch.accelerator.device_count()


def try_gpu(i: int = 0) -> torch.device:
    """Return accelerator `i` if the machine has it, and the CPU if not.

    >>> X = torch.ones(2, 3, device=d2c.try_gpu())
    >>> d2c.try_gpu(1_000)
    device(type='cpu')

    `i` counts from 0. Raises `ValueError` as `gpu` does.
    Source: D2L 6.7 / zh 5.6
    """
    return gpu(i) if _index(i) < num_gpus() else cpu()


def try_all_gpus() -> list[torch.device]:
    """Return every accelerator of this machine, or a list of the CPU alone.

    >>> len(d2c.try_all_gpus()) == max(1, d2c.num_gpus())
    True

    Source: D2L 6.7 / zh 5.6
    """
    return [gpu(i) for i in range(num_gpus())] or [cpu()]


@dataclass(frozen=True, repr=False)
class Placement(Report, Mapping[torch.device, tuple[str, ...]]):
    """Where the parameters and buffers of a net live when they do not live together.

    It maps each device to the dotted names of the parameters and buffers on it.
    """

    names: Mapping[torch.device, tuple[str, ...]]

    def _table(self) -> Table:
        rows = [
            (device, len(names), Shown(names, listed(names, 3)))
            for device, names in self.names.items()
        ]
        title = _("the net is spread over {count} devices", count=len(self.names))
        way = _("`net.to(device)` brings it together; else `forward` has to move what it computes")
        return Table(marks("device", "tensors", "names"), rows, title, [way])

    def __getitem__(self, device: torch.device) -> tuple[str, ...]:
        return self.names[device]

    def __iter__(self) -> Iterator[torch.device]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def device_of(net_or_tensor: nn.Module | Tensor) -> torch.device | Placement:
    """Return the device of a tensor or of a net.

    >>> d2c.device_of(torch.ones(2, 3))
    device(type='cpu')
    >>> net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 1, device="meta"))
    >>> d2c.device_of(net)
    the net is spread over 2 devices
    device      tensors  names
    --------  ---------  ----------------
    cpu               2  0.weight, 0.bias
    meta              2  1.weight, 1.bias
    `net.to(device)` brings it together; else `forward` has to move what it computes

    `net_or_tensor` is a tensor or a module; lazy parameters have a device as well.

    Returns the device that all parameters and buffers share, else a `Placement` that says which
    lives where. Raises `ValueError` for a net with nothing to place, and `TypeError` for anything
    else.
    Source: D2L 6.7 / zh 5.6
    """
    if isinstance(net_or_tensor, Tensor):
        return net_or_tensor.device
    if not isinstance(net_or_tensor, nn.Module):
        raise TypeError(
            "`net_or_tensor` must be a module or a tensor, "
            f"got {type(net_or_tensor).__name__}; do device_of(net)"
        )
    names: dict[torch.device, list[str]] = {}
    for name, tensor in itertools.chain(
        net_or_tensor.named_parameters(), net_or_tensor.named_buffers()
    ):
        names.setdefault(tensor.device, []).append(name)
    if not names:
        raise ValueError(
            "`net_or_tensor` must have a parameter or a buffer, got "
            f"{type(net_or_tensor).__name__} without any; it computes on the device of its input: "
            "do device_of(X)"
        )
    if len(names) == 1:
        return next(iter(names))
    return Placement({device: tuple(here) for device, here in names.items()})


def copyto(x: Tensor, device: torch.device | str) -> Tensor:
    """Copy `x` to `device`, also when it is there already.

    >>> X = torch.ones(2, 3)
    >>> d2c.copyto(X, d2c.cpu()) is X
    False

    `x` is a tensor of any shape, `device` a device or its name. Gradients flow back through the
    copy. Raises `TypeError` for what is not a tensor.
    Source: D2L (first edition) 4.6
    """
    return _tensor(x).to(device, copy=True)


def as_in_context(x: Tensor, device: torch.device | str) -> Tensor:
    """Return `x` itself if it is on `device`, else a copy there.

    >>> X = torch.ones(2, 3)
    >>> d2c.as_in_context(X, d2c.cpu()) is X
    True

    Arguments and errors as in `copyto`.
    Source: D2L (first edition) 4.6
    """
    return _tensor(x).to(device)


def _index(i: int) -> int:
    try:
        index = -1 if isinstance(i, bool) else operator.index(i)
    except TypeError:
        index = -1
    if index < 0:
        raise ValueError(f"`i` must count accelerators from 0, got {i!r}; do try_gpu(0)")
    return index


def _tensor(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"`x` must be a tensor, got {type(x).__name__}; do net.to(device) for a net, which "
            "moves it in place, and one call for each tensor of a list"
        )
    return x
