"""The initializers that come with the package; each leaves its arithmetic to `torch.nn.init`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Number
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ..arguments import guided, number, one_of, shown
from .base import Initializer, MaybeGenerator, Moments

Distribution = Literal["uniform", "normal"]


@guided(
    "Normal(0.01): the mean is 0",
    std="Normal(sigma=0.01)",
    stddev="Normal(sigma=0.01)",
    mean="Normal(sigma=0.01): the mean is 0",
)
@dataclass(frozen=True)
class Normal(Initializer):
    """Draw weights from a normal distribution with mean 0 and deviation `sigma`.

    >>> layer = nn.Linear(20, 256)
    >>> report = d2c.initialize(layer, d2c.initializers.Normal(0.01), seed=0)
    >>> layer.weight.std()
    tensor(0.010, ...)

    Raises `ValueError` if `sigma` is negative. Source: D2L 6.3 / zh 5.2
    """

    sigma: float = 0.01

    def __post_init__(self) -> None:
        number("sigma", self.sigma, 0, do="Normal(0.01)")

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        nn.init.normal_(data, 0.0, self.sigma, generator=generator)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 0.0, self.sigma


@guided(
    "Uniform(0.07), which is from -0.07 to 0.07",
    low="Uniform(scale=0.07), which is from -0.07 to 0.07",
    a="Uniform(scale=0.07), which is from -0.07 to 0.07",
    minval="Uniform(scale=0.07), which is from -0.07 to 0.07",
)
@dataclass(frozen=True)
class Uniform(Initializer):
    """Draw weights evenly from -`scale` to `scale`: 0.07, and zero biases, is Gluon's default.

    >>> layer = nn.Linear(20, 256)
    >>> report = d2c.initialize(layer, d2c.initializers.Uniform(0.07))
    >>> bool(layer.weight.abs().max() <= 0.07), layer.bias.any()
    (True, tensor(False))

    Raises `ValueError` if `scale` is negative. Source: D2L 6.3 / zh 5.2
    """

    scale: float = 0.07

    def __post_init__(self) -> None:
        number("scale", self.scale, 0, do="Uniform(0.07)")

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        nn.init.uniform_(data, -self.scale, self.scale, generator=generator)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 0.0, self.scale / math.sqrt(3)


@dataclass(frozen=True)
class Constant(Initializer):
    """Set every entry of the weights to `value`.

    >>> layer = nn.Linear(2, 1)
    >>> report = d2c.initialize(layer, d2c.initializers.Constant(1))
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 1.0]], [0.0])

    Source: D2L 6.3 / zh 5.2
    """

    value: float

    def __post_init__(self) -> None:
        if not isinstance(self.value, Number):
            raise TypeError(
                f"`value` must be a number, got {shown(self.value)}; do Constant(1), say, or "
                f"set_data(parameter, data) for values of its shape"
            )

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        nn.init.constant_(data, self.value)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return float(self.value), 0.0


@dataclass(frozen=True)
class Zero(Initializer):
    """Set the weights to 0.

    >>> layer = nn.Linear(2, 1)
    >>> report = d2c.initialize(layer, d2c.initializers.Zero())
    >>> layer.weight.tolist()
    [[0.0, 0.0]]

    Source: D2L 6.3 / zh 5.2
    """

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        nn.init.zeros_(data)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 0.0, 0.0


@dataclass(frozen=True)
class One(Initializer):
    """Set the weights to 1.

    >>> layer = nn.Linear(2, 1)
    >>> report = d2c.initialize(layer, d2c.initializers.One(), pattern=".*bias")
    >>> layer.bias.tolist()
    [1.0]

    Source: D2L 6.3 / zh 5.2
    """

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        nn.init.ones_(data)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 1.0, 0.0


@guided(
    rnd_type="Xavier(distribution='normal') for 'gaussian', which is 'uniform' by itself",
    factor_type="Kaiming(mode='fan_in') for 'in', which is the average of both by itself",
    magnitude="Xavier(gain=(magnitude / 3) ** 0.5)",
)
@dataclass(frozen=True, repr=False)
class Xavier(Initializer):
    """Draw weights with variance 2 / (inputs + outputs), so that signals keep their size both ways.

    >>> layer = nn.Linear(100, 300)
    >>> report = d2c.initialize(layer.weight, d2c.initializers.Xavier(), seed=0)
    >>> layer.weight.var() * (100 + 300) / 2
    tensor(1.0, ...)

    `distribution` is "uniform" or "normal". `gain` scales the deviation.

    Raises `ValueError` for another distribution, and in use for a weight of fewer than two
    dimensions. Source: D2L 6.3 / zh 5.2
    """

    min_dim: ClassVar[int] = 2
    distribution: Distribution = "uniform"
    gain: float = 1.0

    def __post_init__(self) -> None:
        _check_distribution(self.distribution)
        number("gain", self.gain, do="Xavier(gain=1.0)")

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        uniform = self.distribution == "uniform"
        write = nn.init.xavier_uniform_ if uniform else nn.init.xavier_normal_
        write(data, self.gain, generator=generator)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 0.0, self.gain * math.sqrt(2 / sum(_fans(shape)))


@dataclass(frozen=True, repr=False)
class Kaiming(Initializer):
    """Draw weights with variance gain² / inputs, which suits ReLU and its kin.

    >>> layer = nn.Linear(100, 300)
    >>> report = d2c.initialize(layer, d2c.initializers.Kaiming(), seed=0)
    >>> layer.weight.var() * 100
    tensor(2.0, ...)

    `nonlinearity` and its parameter `a` give the gain, by `torch.nn.init.calculate_gain`. `mode`
    is "fan_in" (keep the size of signals) or "fan_out" (that of gradients). `distribution` is
    "normal" or "uniform".

    Raises `ValueError` for other choices, and in use for a weight of fewer than two dimensions.
    Source: D2L 6.3 / zh 5.2
    """

    min_dim: ClassVar[int] = 2
    nonlinearity: str = "relu"
    mode: Literal["fan_in", "fan_out"] = "fan_in"
    distribution: Distribution = "normal"
    a: float = 0.0

    def __post_init__(self) -> None:
        _check_distribution(self.distribution)
        one_of("mode", self.mode, ("fan_in", "fan_out"), what="'fan_in' or 'fan_out'")
        number("a", self.a, do="Kaiming(a=0.0)")
        try:
            self._gain()
        except ValueError:
            kind = ValueError if isinstance(self.nonlinearity, str) else TypeError
            raise kind(
                f"`nonlinearity` must be one whose gain torch.nn.init.calculate_gain knows, got "
                f"{shown(self.nonlinearity)}; do Kaiming('relu'), or 'tanh', 'leaky_relu' and so on"
            ) from None

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        uniform = self.distribution == "uniform"
        write = nn.init.kaiming_uniform_ if uniform else nn.init.kaiming_normal_
        function: Any = self.nonlinearity  # torch's own type names each, by version
        write(data, self.a, self.mode, function, generator=generator)

    def _expected(self, shape: Sequence[int]) -> Moments:
        fan_in, fan_out = _fans(shape)
        return 0.0, self._gain() / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)

    def _gain(self) -> float:
        function: Any = self.nonlinearity
        return nn.init.calculate_gain(function, self.a)


@dataclass(frozen=True, repr=False)
class Orthogonal(Initializer):
    """Draw weights whose rows (or columns, if fewer) are orthogonal and of length `gain`.

    >>> layer = nn.Linear(3, 2)
    >>> report = d2c.initialize(layer, d2c.initializers.Orthogonal())
    >>> torch.allclose(layer.weight @ layer.weight.T, torch.eye(2), atol=1e-6)
    True

    Raises `ValueError` in use for a weight of fewer than two dimensions. Source: D2L 6.3 / zh 5.2
    """

    min_dim: ClassVar[int] = 2
    gain: float = 1.0

    def __post_init__(self) -> None:
        number("gain", self.gain, do="Orthogonal(1.0)")

    def _init_weight(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        half = data.dtype in (torch.float16, torch.bfloat16)  # which torch does not factorize
        exact = data.float() if half else data
        with _one_thread() if generator else nullcontext():
            nn.init.orthogonal_(exact, self.gain, generator=generator)
        if half:
            data.copy_(exact)

    def _expected(self, shape: Sequence[int]) -> Moments:
        return 0.0, abs(self.gain) / math.sqrt(max(shape[0], math.prod(shape[1:])))


BUILT_IN = (Constant, Kaiming, Normal, One, Orthogonal, Uniform, Xavier, Zero)


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _check_distribution(value: str) -> None:
    one_of("distribution", value, ("uniform", "normal"), what="'uniform' or 'normal'")


@contextmanager
def _one_thread() -> Iterator[None]:
    """Make a factorization reproducible: its last bits depend on how many threads it runs on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
