"""Practice accelerators: several devices on a machine that has none.

The docstring of `practice_gpus` says what they do and what does not work on them.
"""

from __future__ import annotations

import operator

import torch

from .memory import DEVICES

_MOST = 128  # torch numbers devices in a signed byte


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
    every copy is a copy. `torch.practice` tells of memory, random states and the current device as
    `torch.cuda` does. Call it again to change the number of devices or their memory; 0 switches
    them off.

    `count` is the number of devices. `memory` is the size of each in bytes, by default as much as
    the machine has; what lives there already stays. Beside a real accelerator, that goes on
    working by its name, while `torch.accelerator` speaks of the practice devices until they are
    off.

    What does not work: `torch.compile` without `backend="aot_eager"`, `nn.DataParallel`, quantized
    tensors, nested ones of the strided layout, events, and tensors handed to another process.
    Without a number, `x.to("practice")` and `torch.tensor(numbers, device="practice")` go to
    `practice:0`, also where another device is the current one. An operator on CPU tensors does not
    refuse a generator of a practice device. Recurrent nets arrange their products as on other
    accelerators, and ASGD, NAdam and RAdam step with `foreach=True`, so that their last bits may
    differ from the CPU's.

    Returns the devices. Raises `ValueError` for a negative number and `TypeError` for none at all,
    and `RuntimeError` where torch is older than 2.10 or has a device of another package.
    Source: D2L 6.7 / zh 5.6
    """
    count = _checked("count", count, 0, _MOST, "practice_gpus(2)")
    if memory is not None:
        memory = _checked("memory", memory, 0, None, "practice_gpus(2, memory=2**30) for 1 GiB")
    if count or DEVICES.count:
        _switch(on=count > 0)
    DEVICES.set(count, memory)
    return [torch.device("practice", index) for index in range(count)]


def _checked(name: str, value: int, least: int, most: int | None, example: str) -> int:
    wanted = f"an integer from {least}" + (f" to {most}" if most else ", a number of bytes")
    message = f"`{name}` must be {wanted}, got {value!r}; do {example}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if number < least or (most is not None and number > most):
        raise ValueError(message)
    return number


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
