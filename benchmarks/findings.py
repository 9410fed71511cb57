"""Count findings on random sound nets, of which there should be none.

python -m benchmarks.findings          # 1,000 nets
python -m benchmarks.findings 100      # fewer
python -m benchmarks.findings 1 17     # one, the net of seed 17

A net is sound if its layers, one with another, make 0.8 to 1.25 of a signal, which is how much the
inputs of a batch differ, and of the gradient on its way back. What is drawn at random, up to 50
layers of 2 to 128 units, is measured here by torch alone, and drawn again where it is not sound.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from random import Random

import torch
from torch import Tensor, nn

import d2lcompute as d2c

DEEPEST = 50
WIDTHS = (2, 3, 4, 8, 16, 32, 64, 128)


class Residual(nn.Module):
    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, X: Tensor) -> Tensor:
        return X + self.inner(X)


def linear(width: int, random: Random) -> list[nn.Module]:
    layer = nn.Linear(width, width)
    nn.init.orthogonal_(layer.weight, random.uniform(0.8, 1.25))
    return [layer]


def kaiming(width: int, random: Random) -> list[nn.Module]:
    slope = random.choice([0.0, 0.01, 0.2])
    layer = nn.Linear(width, width)
    init = random.choice([nn.init.kaiming_normal_, nn.init.kaiming_uniform_])
    init(layer.weight, a=slope)
    return [layer, nn.LeakyReLU(slope) if slope else nn.ReLU()]


def xavier(width: int, random: Random) -> list[nn.Module]:
    layer = nn.Linear(width, width)
    init = random.choice([nn.init.xavier_normal_, nn.init.xavier_uniform_])
    init(layer.weight, gain=random.choice([1.0, 5 / 3]))
    return [layer, nn.Tanh()]


def normalized(width: int, random: Random) -> list[nn.Module]:
    norm = random.choice([nn.BatchNorm1d, nn.LayerNorm])
    activation = random.choice([nn.ReLU, nn.GELU, nn.Tanh, nn.Identity])
    return [nn.Linear(width, width), norm(width), activation()]


def residual(width: int, random: Random) -> list[nn.Module]:
    return [Residual(nn.LayerNorm(width), *kaiming(width, random), nn.Linear(width, width))]


def convolution(width: int, random: Random) -> list[nn.Module]:
    layer = nn.Conv2d(width, width, 3, padding=1)
    nn.init.kaiming_normal_(layer.weight)
    norm = [nn.BatchNorm2d(width)] if random.random() < 0.5 else []
    return [layer, *norm, nn.ReLU()]


LAYERS = (linear, kaiming, xavier, normalized, residual, convolution)


def drawn(random: Random) -> tuple[nn.Sequential, Tensor]:
    """Return a chain of layers of one kind, sound or not, and a batch."""
    make, width = random.choice(LAYERS), random.choice(WIDTHS)
    depth = random.randint(1, DEEPEST)
    shape = (width,)
    if make is convolution:  # as many pixels as there are cost too much of an hour
        depth, width = min(depth, 20), min(width, 32)
        shape = (width, 8, 8)
    net = nn.Sequential(*(nn.Sequential(*make(width, random)) for _ in range(depth)))
    return net, torch.randn(16, *shape)


def is_sound(net: nn.Sequential, X: Tensor) -> bool:
    """Measure a signal through the layers and the gradient back, by torch alone."""
    H = X.clone().requires_grad_()
    states = [H]
    for layer in net:
        states.append(layer(states[-1]))
    gradients = torch.autograd.grad(states[-1], states, torch.randn_like(states[-1]))
    signals = [float(state.detach().std(0).norm()) for state in states]
    sizes = [float(gradient.norm()) for gradient in gradients]
    return all(_holds(way[-1], way[0], len(net)) for way in (signals, sizes[::-1]))


def _holds(end: float, start: float, steps: int) -> bool:
    return end > 0 and abs(math.log(end / start)) <= steps * math.log(1.25)


def sound(seed: int) -> tuple[nn.Sequential, Tensor]:
    """Return the sound net of a seed, and a batch for it."""
    random = Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while True:
            net, X = drawn(random)
            if is_sound(net, X):
                return net, X


def findings(count: int, first: int = 0) -> Iterator[str]:
    """Diagnose the nets of `count` seeds, and tell of each finding."""
    for seed in range(first, first + count):
        net, X = sound(seed)
        for finding in d2c.diagnose(net, X).findings:
            yield f"seed {seed}, {len(net)} layers of {list(net[0].children())}: {finding.kind}"


def main(arguments: list[str]) -> int:
    torch.set_num_threads(1)  # such small nets are done sooner so
    count, first = [*map(int, arguments), *(1000, 0)[len(arguments) :]]
    found = list(findings(count, first))
    for line in found:
        print(line)
    print(
        f"{count:,} random sound nets: {len({line.split(',')[0] for line in found})} with findings"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
