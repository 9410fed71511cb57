"""What a net is called with: tensors, shapes of such, nests of both, and anything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import shown
from ..parameters.names import slots
from .values import is_shape, replaced, tensors_in

Arguments = tuple[list[Any], dict[str, Any]]


@dataclass(frozen=True)
class Inputs:
    """The arguments of `forward`: a tuple or list of whole numbers stands for floats of that shape.

    What is `untouched` is passed as it is, by name. With `as_given` so is everything: a tuple that
    is one, such as the size for a resize, is tried so where the net takes no tensor in its place.
    """

    args: tuple[Any, ...]
    named: Mapping[str, Any]
    untouched: Mapping[str, Any] = field(default_factory=dict)
    as_given: bool = False

    @classmethod
    def of(
        cls,
        args: tuple[Any, ...],
        named: Mapping[str, Any],
        forward_kwargs: Mapping[str, Any] | None,
    ) -> Inputs:
        """Return what a public function was given, or say what is wrong with it."""
        untouched = {} if forward_kwargs is None else forward_kwargs
        is_dict = isinstance(untouched, Mapping) and all(isinstance(key, str) for key in untouched)
        if not is_dict:
            raise TypeError(
                f"`forward_kwargs` must be a dict from names to values, got {shown(untouched)}; "
                f"do forward_kwargs={{'size': (16, 16)}}, say"
            )
        made = cls(args, named, untouched)
        if not made.tensors():
            replaced(made._items(), lambda tensor: tensor, _checked)
            _check_no_gaps(made._items().values())
        return made

    def __bool__(self) -> bool:
        return bool(self.args or self.named or self.untouched)

    def tensors(self) -> list[Tensor]:
        """Return the tensors among them."""
        return tensors_in([*self.args, *self.named.values(), *self.untouched.values()])

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes among them."""
        found: list[tuple[int, ...]] = []
        if not self.as_given:
            replaced(self._items(), lambda tensor: tensor, found.append)
        return found

    def without_shapes(self) -> Inputs:
        """Return the same with tuples that are what they are."""
        return replace(self, as_given=True)

    def for_autograd(self) -> Inputs:
        """Return the same, but copies of what was made in inference mode: autograd refuses it."""

        def copied(tensor: Tensor) -> Tensor:
            return tensor.clone() if tensor.is_inference() else tensor

        args, named, rest = replaced((self.args, {**self.named}, {**self.untouched}), copied)
        return Inputs(args, named, rest, self.as_given)

    def count(self) -> int:
        """Return how many numbers they hold, or would."""
        return sum(t.numel() for t in self.tensors()) + sum(map(math.prod, self.shapes()))

    def on_meta(self, net: nn.Module) -> Arguments:
        """Return arguments without data, of the type of the net where only a shape is given."""
        return self._arguments(
            lambda tensor: _like(_without_data(tensor), tensor),
            lambda shape: torch.empty(shape, dtype=kind_of(net)[0], device="meta"),
        )

    def for_real(self, net: nn.Module) -> Arguments:
        """Return arguments with data, the same each time, on the memory of what is given.

        They are cut off from the graph that the caller's tensors are a part of.
        """

        def noise(shape: tuple[int, ...]) -> Tensor:
            dtype, device = kind_of(net)
            generator = torch.Generator().manual_seed(0)
            values = torch.randn(shape, generator=generator, device="cpu", dtype=torch.float32)
            return values.to(device, dtype)

        return self._arguments(lambda tensor: _like(_alias(tensor), tensor), noise)

    def text(self) -> str:
        """Return them as a message shows them."""
        shown = [_text(item) for item in self.args]
        named = {**self.named, **self.untouched}
        return (
            ", ".join([*shown, *(f"{name}={_text(item)}" for name, item in named.items())])
            or "none"
        )

    def _items(self) -> dict[Any, Any]:
        return {**dict(enumerate(self.args)), **self.named}

    def _arguments(
        self, on_tensor: Callable[[Tensor], Tensor], on_shape: Callable[[tuple[int, ...]], Tensor]
    ) -> Arguments:
        items = replaced(self._items(), on_tensor, None if self.as_given else on_shape)
        named = {name: items[name] for name in self.named}
        args = [items[index] for index in range(len(self.args))]
        untouched = replaced({**self.untouched}, on_tensor) if self.untouched else {}
        return args, {**named, **untouched}


def _without_data(tensor: Tensor) -> Tensor:
    try:
        return torch.empty_like(tensor, device="meta")
    except RuntimeError:  # such as a nested one that is not jagged
        got = "a nested one" if tensor.is_nested else f"one of {tensor.layout}"
        raise ValueError(
            f"`inputs` must be tensors that torch has without data as well, got {got}; "
            f"do trace(net, X), which computes"
        ) from None


def _alias(tensor: Tensor) -> Tensor:
    alias = tensor.detach()
    return alias if tensor.layout is torch.strided else alias.clone()


def _like(stand_in: Tensor, tensor: Tensor) -> Tensor:
    return stand_in.requires_grad_(tensor.requires_grad)


def kind_of(net: nn.Module) -> tuple[torch.dtype, torch.device]:
    """Return the type of numbers that a net computes with, and where it is.

    Parameters tell, and buffers where there are none; floats may lie beside complex numbers.
    """
    first = next((slot[3] for slot in slots(net)), None)
    types = (
        slot[3].dtype
        for in_buffers in (False, True)
        for is_complex in (False, True)
        for slot in slots(net)
        if slot[4] is in_buffers
        and (slot[3].dtype.is_complex if is_complex else slot[3].dtype.is_floating_point)
    )
    device = torch.device("cpu") if first is None else first.device
    return next(types, torch.get_default_dtype()), device


def _checked(shape: tuple[int, ...]) -> tuple[int, ...]:
    if any(size < 0 for size in shape):
        raise _no_shape(shape)
    return shape


def has_gaps(item: Any) -> bool:
    """Tell whether a value is a shape but for sizes that are None."""
    if not isinstance(item, tuple | list):
        return False
    rest = tuple(size for size in item if size is not None)
    return 0 < len(rest) < len(item) and is_shape(rest)


def _check_no_gaps(items: Iterable[Any]) -> None:
    """Refuse a shape with None in it, as other frameworks write the size of a batch."""
    for item in items:
        if has_gaps(item):
            raise _no_shape(item)


def _no_shape(shape: Any) -> ValueError:
    return ValueError(
        f"`inputs` must be tensors or shapes of them, got {tuple(shape)}; do write every size as a "
        f"whole number, 0 or more, with 1 for a batch whose size does not matter"
    )


def _text(item: Any) -> str:
    return str(tuple(item.shape) if isinstance(item, Tensor) else item)
