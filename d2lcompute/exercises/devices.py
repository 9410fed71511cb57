"""Exercises of section 7, devices."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..blocks import mlp
from ..devices.devices import num_gpus, try_all_gpus
from ..devices.practice import practice_gpus
from ..devices.transfers import watch_transfers
from ..passes.hooks import Operators
from ..passes.memory import gives_new_memory
from ..passes.values import tensors_in
from ..words.language import _, mark
from .exercise import Exercise, expect
from .expectations import graph_dropped, number, sequence, tensor

_aten = torch.ops.aten
_COPIES = {_aten._to_copy, _aten.clone, _aten.empty_like, _aten.new_empty, _aten.new_empty_strided}


@contextmanager
def two_devices() -> Iterator[list[torch.device]]:
    """Two accelerators: real ones where there are two, else practice ones for the time being."""
    accelerator = torch.accelerator.current_accelerator() if num_gpus() else None
    practised = num_gpus() if accelerator is not None and accelerator.type == "practice" else 0
    if num_gpus() >= 2:
        yield try_all_gpus()
        return
    try:
        yield practice_gpus(2)
    finally:
        practice_gpus(practised)


def _intensity_is_right(intensity: Any, draw: random.Random) -> None:
    n = draw.choice([10, 12, 60, 120])
    with two_devices():  # the answer may measure on one
        found = number(intensity(n))
    ratio = found / (n / 6)
    fact = _("For n={n} you count {found:.3g} operations for each byte.", n=n, found=found)
    expect(not 3.5 < ratio < 4.5, "counts numbers", fact)
    expect(not 1.4 < ratio < 1.6, "two matrices", fact)
    expect(not 0.4 < ratio < 0.6, "half the operations", fact)
    expect(0.8 < ratio < 1.2, "other ratio", fact)


def _mark_writes_everywhere(mark: Any, draw: random.Random) -> None:
    value = float(draw.randint(10, 99))
    with two_devices() as devices:
        device = draw.choice(devices)
        net = nn.Sequential(mlp(5, 3, in_units=4), nn.LayerNorm(3)).to(device)
        before = dict(net.named_parameters())
        old = {name: p.detach().cpu().flatten() for name, p in before.items()}
        mark(net, value)
        after = dict(net.named_parameters())
        moved = ", ".join(name for name, p in after.items() if p.device != device)
        expect(not moved, "moved away", _("This has left its device: {names}.", names=moved))
        replaced = ", ".join(name for name in before if after[name] is not before[name])
        fact = _("This is another object now: {names}.", names=replaced)
        expect(not replaced, "replaced", fact)
        frozen = ", ".join(name for name, p in after.items() if not p.requires_grad)
        fact = _("This wants no gradient any more: {names}.", names=frozen)
        expect(not frozen, "frozen", fact)
        for name, parameter in after.items():
            found = parameter.detach().cpu().flatten()
            fact = _("The first element of {name} is {found:.3g} in place of {value:.3g}.",
                     name=name, found=found[0].item(), value=value)  # fmt: skip
            expect(found[0] == value, "not written", fact)
            fact = _("More than the first element of {name} was written.", name=name)
            expect(torch.equal(found[1:], old[name][1:]), "others written", fact)


def _mark_brings_nothing_over(mark: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        net = mlp(50, 30, in_units=40).to(devices[0])
        with watch_transfers() as transfers:
            mark(net, 7.0)
    largest = max((event.bytes for event in transfers), default=0)
    fact = _("{bytes:,} bytes of a parameter have crossed over.", bytes=largest)
    expect(largest <= 8, "brought over", fact)


def _norms_are_right(norms: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        device = draw.choice(devices)
        matrices = [torch.randn(5, 5, device=device) for _matrix in range(draw.randint(2, 30))]
        wanted = [matrix.norm().item() for matrix in matrices]
        found = sequence(norms(matrices), len(matrices))
    tensors = [value for value in found if isinstance(value, Tensor)]
    fact = _("There are {count} tensors in your list, and no numbers.", count=len(tensors))
    expect(not tensors, "tensors", fact)
    for place, (value, right) in enumerate(zip(map(number, found), wanted, strict=True)):
        fact = _("The norm of matrix {place} is {right:.4g}, and you found {value:.4g}.",
                 place=place, right=right, value=value)  # fmt: skip
        expect(abs(value - right) < 1e-3, "other norms", fact)


def _norms_cross_once(norms: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        matrices = [torch.randn(5, 5, device=devices[0]) for _matrix in range(50)]
        with watch_transfers() as transfers:
            norms(matrices)
    fact = _("For 50 matrices there were {count} transfers.", count=transfers.count)
    expect(transfers.count <= 2, "many transfers", fact)
    fact = _("{bytes:,} bytes have crossed over, and 50 numbers have 200.", bytes=transfers.bytes)
    expect(transfers.bytes <= 400, "matrices cross", fact)


class _OnCpu(Operators):
    """Counts what is computed with matrices on the CPU; copies and views compute nothing."""

    def __init__(self) -> None:
        super().__init__(self._count)
        self.count = 0

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        given = [t for t in tensors_in((args, kwargs)) if t.dim() > 1 and t.device.type == "cpu"]
        computes = gives_new_memory(func) and func.overloadpacket not in _COPIES
        self.count += computes and bool(given)
        return result


def _both_are_where_they_belong(both: Any, draw: random.Random) -> None:
    A, B = torch.randn(6, 6), torch.randn(6, 6)
    with two_devices() as devices, watch_transfers() as transfers:
        with _OnCpu() as on_cpu:
            results = [tensor(one) for one in sequence(both(A, B), 2)]
        count = transfers.count
        places = [result.device for result in results]
        fact = _("The results lie on {first} and {second}.", first=places[0], second=places[1])
        expect(places == devices[:2], "other places", fact)
        fact = _("{count} steps were computed on the CPU.", count=on_cpu.count)
        expect(not on_cpu.count, "on the CPU", fact)
        right = [
            torch.allclose(r.cpu(), M @ M, atol=1e-4) for r, M in zip(results, (A, B), strict=True)
        ]
    expect(all(right), "other numbers", _("The results are not the squares `M @ M`."))
    fact = _("Two matrices have to cross over, and there were {count} transfers.", count=count)
    expect(count == 2, "many transfers", fact)


def _regression(device: torch.device) -> tuple[nn.Module, list[tuple[Tensor, Tensor]]]:
    net = mlp(8, 1, in_units=4).to(device)
    return net, [
        (torch.randn(6, 4, device=device), torch.randn(6, 1, device=device)) for _batch in range(6)
    ]


def _mean_loss_is_right(mean_loss: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        net, batches = _regression(devices[0])
        wanted = sum(F.mse_loss(net(X), y).item() for X, y in batches) / len(batches)
        found = number(mean_loss(net, iter(batches)))
    fact = _(
        "The mean loss is {wanted:.4g}, and you found {found:.4g}.", wanted=wanted, found=found
    )
    expect(abs(found / wanted - 1) < 1e-3, "other mean", fact)


def _mean_loss_keeps_no_graph(mean_loss: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        net, batches = _regression(devices[0])
        with graph_dropped(batches) as watched:
            mean_loss(net, watched)


def _mean_loss_reads_once(mean_loss: Any, draw: random.Random) -> None:
    with two_devices() as devices:
        net, batches = _regression(devices[0])
        with watch_transfers() as transfers:
            mean_loss(net, iter(batches))
    fact = _("For 6 batches there were {count} transfers.", count=transfers.count)
    expect(transfers.count <= 2, "many transfers", fact)


EXERCISES = (
    Exercise("devices.matmul", {mark("counts operations and bytes"): _intensity_is_right}),
    Exercise(
        "devices.parameters",
        {
            mark("writes into every parameter, where it is"): _mark_writes_everywhere,
            mark("brings nothing over but the number"): _mark_brings_nothing_over,
        },
        cases=3,
    ),
    Exercise(
        "devices.log",
        {
            mark("gives the norms"): _norms_are_right,
            mark("crosses over at most twice"): _norms_cross_once,
        },
        cases=3,
    ),
    Exercise(
        "devices.two",
        {mark("computes each square on its device"): _both_are_where_they_belong},
        cases=3,
    ),
    Exercise(
        "devices.leak",
        {
            mark("gives the mean of the losses"): _mean_loss_is_right,
            mark("keeps no graph of an earlier batch"): _mean_loss_keeps_no_graph,
            mark("reads at most twice from the device"): _mean_loss_reads_once,
        },
        cases=2,
    ),
)
