"""Forward passes to look at: on copies of what is given, or on the meta device, without a trace."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ..parameters.names import walk
from .hooks import time_blocks
from .keep import dry_run
from .meta import on_meta
from .record import Recorder, tensors_in
from .run import is_shape
from .twin import copy_if_lazy, meta_twin

COMPILER = "torch._dynamo"  # the module: it takes a second to import, and runs functions meanwhile


class Pass:
    """A pass of a net on these inputs, which may be made again and again with the same outcome.

    `net` is what runs: a copy on the meta device if there are only shapes and it is elsewhere, a
    copy if the net is lazy, or else the net itself, which stays as it is.
    """

    def __init__(
        self, net: nn.Module, inputs: Sequence[Any], named_inputs: Mapping[str, Any]
    ) -> None:
        self.shapes_only = _shapes_only(net, [*inputs, *named_inputs.values()])
        elsewhere = self.shapes_only and not _is_on_meta(net)
        self.net = meta_twin(net) if elsewhere else copy_if_lazy(net)
        self._inputs = inputs
        self._named_inputs = named_inputs

    def record(self, parameters: Container[int]) -> tuple[Recorder, Exception | None]:
        """Return what ran, and the error that ended the pass early."""
        had_compiler = COMPILER in sys.modules
        args, kwargs = self._arguments()
        recorder = Recorder(parameters, tensors_in((args, kwargs)))

        def run() -> None:
            with recorder:
                self.net(*args, **kwargs)

        error = self._attempt(run)
        if COMPILER in sys.modules and not had_compiler:  # its import was recorded, too
            return self.record(parameters)
        return recorder, error

    def time(self) -> tuple[list[float], Exception | None]:
        """Return the seconds that each call of a block took, and what error ended the pass."""
        args, kwargs = self._arguments()
        seconds: list[float] = []
        error = self._attempt(
            lambda: seconds.extend(time_blocks(lambda: self.net(*args, **kwargs)))
        )
        return seconds, error

    def _arguments(self) -> tuple[list[Any], dict[str, Any]]:
        """Return copies of the inputs, which a pass may write to."""
        copy = _on_meta if self.shapes_only else _copied
        named = {name: copy(value) for name, value in self._named_inputs.items()}
        return [copy(value) for value in self._inputs], named

    def _attempt(self, run: Callable[[], object]) -> Exception | None:
        device = on_meta() if self.shapes_only else nullcontext()
        try:
            with dry_run(self.net), _as_written(), device:
                run()
        except Exception as error:
            return error
        return None


def _shapes_only(net: nn.Module, values: Sequence[Any]) -> bool:
    """Whether to run on the meta device: for shapes, meta tensors and meta nets."""
    leaves = [leaf for value in values for leaf in tree_leaves(value, is_leaf=is_shape)]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    has_shape = not tensors and any(is_shape(leaf) for leaf in leaves)
    return has_shape or any(tensor.is_meta for tensor in [*tensors, *_tensors(net)])


def _on_meta(value: Any) -> Any:
    def stand_in(leaf: Any) -> Any:
        if is_shape(leaf):
            return torch.empty(leaf, device="meta")
        return torch.empty_like(leaf, device="meta") if isinstance(leaf, Tensor) else leaf

    return tree_map(stand_in, value, is_leaf=is_shape)


def _copied(value: Any) -> Any:
    def copy(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.detach().clone().requires_grad_(leaf.requires_grad)

    return tree_map(copy, value)


@contextmanager
def _as_written() -> Iterator[None]:
    """Let blocks that were compiled run as they are written: compiled code calls no blocks."""
    if COMPILER not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using `torch.compile")  # on hooks, as recording has
        yield


def _is_on_meta(net: nn.Module) -> bool:
    attributes = (value for _, block in walk(net) for value in vars(block).values())
    held = [*_tensors(net), *(value for value in attributes if isinstance(value, Tensor))]
    return all(tensor.is_meta for tensor in held)


def _tensors(net: nn.Module) -> list[Tensor]:
    places = (place for _, block in walk(net) for place in (block._parameters, block._buffers))
    return [tensor for place in places for tensor in place.values() if tensor is not None]
