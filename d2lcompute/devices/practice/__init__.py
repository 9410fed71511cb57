"""Practice accelerators: several devices on a machine that has none.

The docstring of `practice_gpus` says what they do and what does not work on them.
"""

from __future__ import annotations

import torch

from ...arguments import LAST_DEVICE, integer
from .devices import DEVICES


def practice_gpus(count: int = 2, memory: int | None = None) -> list[torch.device]:
    """Give this machine accelerators to practise on: `practice:0`, `practice:1` and so on.

    >>> devices = d2c.practice_gpus(2, memory=1_000)
    >>> devices
    [device(type='practice', index=0), device(type='practice', index=1)]
    >>> X = torch.ones(2, 3, device="practice:0")
    >>> Z = X.to("practice:1")
    >>> Z
    tensor([[1., 1., 1.],
            [1., 1., 1.]], device='practice:1')
    >>> X + Z
    Traceback (most recent call last):
    RuntimeError: Expected all tensors to be on the same device, but found at least two devices,
    practice:0 and practice:1!
    >>> torch.accelerator.device_count()
    2
    >>> torch.empty(20, 20, device="practice:1")
    Traceback (most recent call last):
    torch.OutOfMemoryError: practice out of memory. Tried to allocate 1.56 KiB. practice:1 has a
    total capacity of 1000 bytes of which ... is free. ... is allocated by PyTorch.
    >>> d2c.practice_gpus(0)
    []

    They behave as accelerators do, with the values that the CPU computes: tensors are plain torch
    tensors with autograd, nets move and train, random numbers have a stream for each device, and
    every copy is a copy. In one thing they do not: they are synchronous. An operator has finished
    when it returns, so that nothing runs beside Python, two devices are no faster than one, and a
    read that would wait on a real device is counted by `watch_transfers` but costs no time.
    `torch.practice` tells of memory, random states and the current device as `torch.cuda` does.

    `count` is the number of devices, up to 128. `memory` is the size of each in bytes, by default
    as much as the machine has; what lives there already stays. Call it again to change either; 0
    switches the devices off and leaves torch as it was, but for what torch cannot undo: the one
    place that it has for a device of another package is taken in this process, and beside a real
    accelerator no memory is pinned any more. Until then the real one goes on working by its name,
    while `torch.accelerator` speaks of the practice devices.

    What does not work: `torch.compile` without `backend="aot_eager"`, `nn.DataParallel`, quantized
    tensors, nested ones of the strided layout, events, and tensors handed to another process.
    Without a number, `x.to("practice")` and `torch.tensor(numbers, device="practice")` go to
    `practice:0`, also where another device is the current one. An operator on CPU tensors does not
    refuse a generator of a practice device. Recurrent nets arrange their products as on other
    accelerators, so that their last bits may differ from the CPU's.

    Returns the devices. Raises `TypeError` for what is no integer, `ValueError` for one out of
    bounds, and `RuntimeError` where torch has the device of another package or lacks what a device
    made in Python needs.
    Source: D2L 6.7 / zh 5.6
    """
    count = integer("count", count, 0, LAST_DEVICE + 1, do="practice_gpus(2)")
    if memory is not None:
        do = "practice_gpus(2, memory=2**30) for 1 GiB"
        memory = integer("memory", memory, 0, do=do, what="a number of bytes")
    if count or DEVICES.count:
        _switch(on=count > 0)
    DEVICES.set(count, memory)
    return [torch.device("practice", index) for index in range(count)]


def _switch(on: bool) -> None:
    """Put our functions in the place of torch's, or torch's own back."""
    taken = torch._C._get_privateuse1_backend_name()
    if taken not in ("privateuseone", "practice"):
        raise RuntimeError(
            "practice_gpus needs the one place that torch has for devices of other packages, and "
            f"'{taken}' has it; do practice_gpus() in a process without that package"
        )
    try:
        from . import patches, registry

        registry.register()
    except (AttributeError, ImportError) as error:
        raise RuntimeError(
            "practice_gpus needs a torch in which Python can make a device, such as 2.10 to 2.15, "
            f'got {torch.__version__} ({error}); do pip install "torch>=2.10,<2.16"'
        ) from error
    patches.switch(on)
