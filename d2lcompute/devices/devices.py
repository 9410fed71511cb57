"""Devices: the CPU, the accelerators of this machine, and where a tensor or a net lives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..arguments import accelerator_index, as_device, integer
from ..parameters.names import slots
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

    `i` counts from 0 to 127. The name is that of the accelerator which torch uses here:
    `practice:1` while there are practice devices, else `cuda:1` for NVIDIA's and AMD's, `xpu:1`
    for Intel's and `mps:0`, of which there is but one, for Apple's. On a machine without any it
    is `cuda:1`, as in the book. The name always has its number, because torch takes `cuda` for
    the current device and `cuda:0` for the first one, and holds the two unequal. `try_gpu` gives
    only devices that exist.

    Raises `TypeError` for an `i` that is no integer and `ValueError` for one out of bounds.
    Source: D2L 6.7 / zh 5.6
    """
    index = accelerator_index("i", i, do="gpu(0)")
    accelerator = torch.accelerator.current_accelerator() if num_gpus() else None
    return torch.device("cuda" if accelerator is None else accelerator.type, index)


def num_gpus() -> int:
    """Count the accelerators of this machine: NVIDIA's, AMD's, Intel's, Apple's or practice ones.

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

    `i` counts from 0. Raises `TypeError` for an `i` that is no integer and `ValueError` for a
    negative one.
    Source: D2L 6.7 / zh 5.6
    """
    index = integer("i", i, 0, do="try_gpu(0)")
    return gpu(index) if index < num_gpus() else cpu()


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
    lives where. Raises `ValueError` for a net with nothing to place, and `TypeError` for what is
    neither.
    Source: D2L 6.7 / zh 5.6
    """
    if isinstance(net_or_tensor, Tensor):
        return net_or_tensor.device
    if not isinstance(net_or_tensor, nn.Module):
        raise TypeError(
            f"`net_or_tensor` must be a module or a tensor, got {_kind(net_or_tensor)}; "
            "do device_of(net), or device_of(x) for each tensor of a list"
        )
    names: dict[torch.device, list[str]] = {}
    seen: set[int] = set()
    for name, _module, _leaf, tensor, _is_buffer in slots(net_or_tensor):
        if id(tensor) not in seen:
            names.setdefault(tensor.device, []).append(name)
            seen.add(id(tensor))
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
    copy. To write into a tensor `y`, as Gluon's `x.copyto(y)` did, do `y.copy_(x)`.

    Raises `TypeError` for an `x` that is no tensor and a `device` that is none, and `ValueError`
    for a name that torch does not know and for a device that this machine does not have.
    Source: D2L (first edition) 4.6
    """
    return _tensor(x).to(_device(device), copy=True)


def as_in_context(x: Tensor, device: torch.device | str) -> Tensor:
    """Return `x` itself if it is on `device`, else a copy there.

    >>> X = torch.ones(2, 3)
    >>> d2c.as_in_context(X, d2c.cpu()) is X
    True

    Arguments and errors as in `copyto`.
    Source: D2L (first edition) 4.6
    """
    return _tensor(x).to(_device(device))


def _tensor(x: Tensor) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(
            f"`x` must be a tensor, got {_kind(x)}; do net.to(device) for a net, which "
            "moves it in place, and one call for each tensor of a list"
        )
    return x


def _device(device: torch.device | str) -> torch.device:
    into = isinstance(device, Tensor)
    return as_device("device", device, do="y.copy_(x) to write into y" if into else "try_gpu()")


def _kind(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else type(thing).__name__
