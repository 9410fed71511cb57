"""What an initializer is: something that fills a parameter, by the role that its name tells."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from ..arguments import as_generator, shown
from ..passes.random_states import drawing_from

Role = Literal["weight", "gamma", "slope", "bias"]
Moments = tuple[float, float]
MaybeGenerator = torch.Generator | None
ROLES: tuple[Role, ...] = ("weight", "gamma", "slope", "bias")
DEFAULTS: dict[Role, float] = {"gamma": 1.0, "slope": 0.25, "bias": 0.0}
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
_PRODUCTS = (_ConvNd, nn.Linear)


class Initializer:
    """Fill parameters: subclass it and write `_init_weight(name, data)`, as in Gluon.

    >>> class MyInit(d2c.initializers.Initializer):
    ...     def _init_weight(self, name, data):
    ...         print("Init", name, tuple(data.shape))
    ...         data.uniform_(-10, 10)
    ...         data *= data.abs() >= 5
    >>> net = nn.Linear(20, 256)
    >>> report = d2c.initialize(net, MyInit())
    Init weight (256, 20)
    >>> MyInit()("anything", torch.empty(2, 3))
    Init anything (2, 3)

    `name` is the parameter's name in the net. `data` is its tensor without the gradient: write
    into it in place. Biases go to `_init_bias` (zeros), the scales of normalization layers to
    `_init_gamma` (ones) and those of PReLU to `_init_slope` (0.25), which take the same arguments
    and can be overridden too. A method that also takes `generator=None` is given one where there
    is a seed; what the others draw from torch's global generators is seeded while they run.

    Called as `initializer(name, data, generator=None)` it fills any tensor, and the last part of
    `name` tells the role: `bias` or `beta`, `gamma`, and all else is a weight.
    Source: D2L 6.3 / zh 5.2
    """

    min_dim: ClassVar[int] = 0

    def __call__(self, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"`name` must be that of a parameter, got {shown(name)}; do 'weight'")
        if not isinstance(data, Tensor):
            raise TypeError(f"`data` must be a tensor, got {shown(data)}; do torch.empty(2, 3)")
        role = role_of(name.rpartition(".")[2])
        self.fill(role, name, data, as_generator(generator))

    def __repr__(self) -> str:
        given: tuple[Field[Any], ...] = fields(self) if is_dataclass(self) else ()
        values = [(field, getattr(self, field.name)) for field in given]
        shown = [f"{field.name}={value!r}" for field, value in values if value != field.default]
        return f"{type(self).__name__}({', '.join(shown)})"

    def fill(self, role: Role, name: str, data: Tensor, generator: MaybeGenerator = None) -> None:
        """Fill `data` with what `_init_<role>` writes into it."""
        self.check(role, name, data.shape)
        write = getattr(self, f"_init_{role}")
        data = data.detach()
        with torch.no_grad(), _numpy_explained(write):
            if generator is None:
                write(name, data)
            elif "generator" in inspect.signature(write).parameters:
                write(name, data, generator=generator)
            else:
                with drawing_from(generator):
                    write(name, data)

    def expected(self, role: Role, shape: Sequence[int]) -> Moments | None:
        """Return the mean and the deviation that `fill` aims at, None where it does not say."""
        if role == "weight":
            return self._expected(shape)
        method = f"_init_{role}"
        overridden = getattr(type(self), method) is not getattr(Initializer, method)
        return None if overridden else (DEFAULTS[role], 0.0)

    def check(self, role: Role, name: str, shape: Sequence[int]) -> None:
        """Raise `ValueError` if a parameter of this shape cannot be filled."""
        if role == "weight" and len(shape) < self.min_dim:
            raise ValueError(
                f"`init` must fit every parameter, got {self!r}, which takes {self.min_dim} "
                f"dimensions or more, for {name!r} of shape {tuple(shape)}; "
                f"do give that one another initializer, by Mixed or by `pattern`"
            )

    def _init_weight(self, name: str, data: Tensor) -> None:
        raise NotImplementedError(
            f"`init` must write weights, got {self!r} without `_init_weight`; "
            f"do define _init_weight(self, name, data), which fills `data` in place"
        )

    def _init_gamma(self, name: str, data: Tensor) -> None:
        nn.init.constant_(data, DEFAULTS["gamma"])

    def _init_slope(self, name: str, data: Tensor) -> None:
        nn.init.constant_(data, DEFAULTS["slope"])

    def _init_bias(self, name: str, data: Tensor) -> None:
        nn.init.constant_(data, DEFAULTS["bias"])

    def _expected(self, shape: Sequence[int]) -> Moments | None:
        return None


@contextmanager
def _numpy_explained(write: Any) -> Iterator[None]:
    """Say what to do where an array is written into a tensor, as Gluon's arrays allow."""
    try:
        yield
    except TypeError as error:
        if "numpy.ndarray" not in str(error):
            raise
        raise TypeError(
            f"`data` must be given tensors, got a numpy array in {write.__qualname__}; "
            f"do data[:] = torch.from_numpy(array)"
        ) from error


def role_of(leaf: str, layer: nn.Module | None = None, tensor: Tensor | None = None) -> Role:
    """Return what the parameter called `leaf` is to its layer.

    >>> from d2lcompute.initializers.base import role_of
    >>> role_of("bias_hh_l0"), role_of("weight"), role_of("weight", nn.LayerNorm((3, 4)))
    ('bias', 'weight', 'gamma')
    """
    if leaf in ("bias", "beta") or leaf.startswith("bias_") or leaf.endswith("_bias"):
        return "bias"
    if isinstance(layer, _NORMS) or (leaf == "gamma" and not _scales_a_branch(layer)):
        return "gamma"
    if isinstance(layer, nn.PReLU):
        return "slope"
    # Other libraries have normalization layers of their own, and linear layers that normalize.
    named = "norm" in type(layer).__name__.lower() and not isinstance(layer, _PRODUCTS)
    return "gamma" if named and tensor is not None and _is_vector(tensor) else "weight"


def _scales_a_branch(layer: nn.Module | None) -> bool:
    """Whether a `gamma` there starts small on purpose, as ConvNeXt's: what normalizes is a leaf."""
    return layer is not None and (bool(layer._modules) or "scale" in type(layer).__name__.lower())


def _is_vector(tensor: Tensor) -> bool:
    return is_lazy(tensor) or sum(size > 1 for size in tensor.shape) <= 1


def stream(seed: int, name: str) -> torch.Generator:
    """Return a generator of the CPU that depends on nothing but its arguments.

    >>> from d2lcompute.initializers.base import stream
    >>> draws = [torch.rand((), generator=stream(0, name)) for name in "aab"]
    >>> draws[0] == draws[1], draws[0] == draws[2]
    (tensor(True), tensor(False))
    """
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=4).digest()
    # The CPU's generator reads no more than 32 bits of its seed.
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
