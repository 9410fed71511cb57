"""Exercises of section 7, devices."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor, nn

from ..blocks import mlp
from ..devices.devices import num_gpus, try_all_gpus
from ..devices.practice import practice_gpus
from ..devices.transfers import watch_transfers
from .exercise import Exercise, expect


def _devices() -> list[torch.device]:
    """Two accelerators, real ones where there are two, else practice ones."""
    return try_all_gpus() if num_gpus() >= 2 else practice_gpus(2)


def _intensity_is_right(intensity: Any, draw: random.Random) -> None:
    _devices()  # the answer may use them
    n = draw.choice([2, 3, 10, 60, 120])
    found = intensity(n)
    expect(
        isinstance(found, int | float) and not isinstance(found, bool),
        f"Return one number, got {type(found).__name__}.",
        "operations / bytes",
    )
    ratio = found / (n / 6)
    expect(
        not 3.7 < ratio < 4.3,
        "You count numbers, and each has four bytes.",
        "X.numel() * X.element_size(), or the bytes of watch_transfers.",
    )
    expect(
        not 1.4 < ratio < 1.6,
        "The product has to come back as well: three matrices cross over, not two.",
    )
    expect(
        0.7 < ratio < 1.3 or n < 4,
        f"For n={n} there are about {n / 6:.2f} operations a byte, got {found:.3g}.",
        "About 2 * n**3 operations for the n**2 elements of the product; three matrices of "
        "4 * n**2 bytes cross over.",
    )


def _mark_writes_everywhere(mark: Any, draw: random.Random) -> None:
    device = draw.choice(_devices())
    net = nn.Sequential(mlp(5, 3, in_units=4), nn.LayerNorm(3)).to(device)
    before = dict(net.named_parameters())
    value = float(draw.randint(10, 99))
    mark(net, value)
    after = dict(net.named_parameters())
    moved = [name for name, p in after.items() if p.device != device]
    expect(
        not moved,
        f"{', '.join(moved)} left the device.",
        "A value can be written where the parameter is; only the number crosses over.",
    )
    expect(
        all(after[name] is before[name] for name in before),
        "Some parameters are new objects, which an optimizer made before would not know.",
        "d2c.set_data writes into a parameter, and into a slice of one: parameter.flatten()[0] "
        "of a contiguous one is such a slice.",
    )
    for name, parameter in after.items():
        first = parameter.detach().flatten()
        expect(
            first[0].item() == value,
            f"The first element of {name} is {first[0].item():.3g}, not {value}.",
            "with torch.no_grad(): parameter.view(-1)[0] = value",
        )
        expect(
            len(first) == 1 or (first[1:] != value).all().item(),
            f"Other elements of {name} were written too: only the first is meant.",
        )


def _mark_brings_nothing_over(mark: Any, draw: random.Random) -> None:
    net = mlp(50, 30, in_units=40).to(_devices()[0])
    with watch_transfers() as transfers:
        mark(net, 7.0)
    expect(
        max((event.bytes for event in transfers.events), default=0) <= 8,
        f"Whole parameters crossed over, {transfers.bytes:,} bytes in all.",
        "Do not bring the parameter to the CPU to write one number.",
    )


def _norms_are_right(norms: Any, draw: random.Random) -> None:
    device = draw.choice(_devices())
    matrices = [torch.randn(5, 5, device=device) for _ in range(draw.randint(2, 30))]
    wanted = [matrix.norm().item() for matrix in matrices]
    found = norms(matrices)
    expect(
        isinstance(found, list) and all(isinstance(value, float) for value in found),
        "Return a list of Python numbers.",
        "tensor.tolist() makes one of a tensor, in one transfer.",
    )
    expect(
        len(found) == len(wanted)
        and all(abs(a - b) < 1e-4 for a, b in zip(found, wanted, strict=True)),
        "These are not the norms of the matrices, in their order.",
    )


def _norms_cross_once(norms: Any, draw: random.Random) -> None:
    matrices = [torch.randn(5, 5, device=_devices()[0]) for _ in range(100)]
    with watch_transfers() as transfers:
        norms(matrices)
    expect(
        transfers.count <= 2,
        f"For 100 matrices there were {transfers.count} transfers.",
        "Every .item(), float() or print waits for one number: keep the norms where they arise.",
        "Append them to a MetricLog, or torch.stack them, and read once at the end.",
    )
    expect(
        transfers.bytes <= 8 * 100,
        f"{transfers.bytes:,} bytes crossed over: the matrices, and not only their norms.",
    )


def _both_are_where_they_belong(both: Any, draw: random.Random) -> None:
    devices = _devices()
    A, B = torch.randn(6, 6), torch.randn(6, 6)
    with watch_transfers() as transfers:
        found = both(A, B)
    expect(
        isinstance(found, tuple | list)
        and len(found) == 2
        and all(isinstance(result, Tensor) for result in found),
        "Return two tensors.",
    )
    places = [result.device for result in found]
    expect(
        places == devices[:2],
        f"The results should lie on {devices[0]} and {devices[1]}, got {places[0]}, {places[1]}.",
        "Move the matrix before multiplying, and leave the product there.",
    )
    expect(
        all(
            torch.allclose(result.cpu(), matrix @ matrix, atol=1e-4)
            for result, matrix in zip(found, (A, B), strict=True)
        ),
        "Each result should be the square of its matrix, M @ M.",
    )
    expect(
        transfers.count == 2,
        f"Two matrices have to cross over, each once; there were {transfers.count} transfers.",
        "Move each matrix once, and use what .to returned twice.",
    )


EXERCISES = (
    Exercise(
        "devices.matmul",
        "a function: `intensity(n)` is the number of floating-point operations for each byte that "
        "crosses over, when two n x n matrices are moved, multiplied, and the product comes back",
        {"counts operations and bytes": _intensity_is_right},
    ),
    Exercise(
        "devices.parameters",
        "a function: `mark(net, value)` writes `value` into the first element of each parameter",
        {
            "writes into every parameter, where it is": _mark_writes_everywhere,
            "brings nothing over but the number": _mark_brings_nothing_over,
        },
    ),
    Exercise(
        "devices.log",
        "a function: `norms(matrices)` is the list of the norms of matrices on a device",
        {
            "gives the norms": _norms_are_right,
            "crosses over at most twice": _norms_cross_once,
        },
    ),
    Exercise(
        "devices.two",
        "a function: `both(A, B)` gives A @ A on gpu(0) and B @ B on gpu(1), for A and B on the "
        "CPU",
        {"computes each square on its device": _both_are_where_they_belong},
    ),
)
