"""A backward pass whose gradients are looked at, and the loss where there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import Node

from .event import plain


def gradients(
    loss: Tensor, parameters: Sequence[Tensor], *, keep_graph: bool = False
) -> list[Tensor | None]:
    """Return the gradients that `loss.backward()` gives the parameters, and leave none behind.

    `torch.autograd.grad` would not do: it does not reach into functions that make a backward pass
    of their own, as checkpoints with `use_reentrant=True` are.
    """
    with _put_aside([*parameters, *_leaves(loss)]):
        torch.autograd.backward(loss, retain_graph=keep_graph)
        return [parameter.grad for parameter in parameters]


def projection(outputs: Sequence[Tensor]) -> Tensor | None:
    """Return a weighted mean of the outputs; their sum would be constant behind a softmax."""
    generator = torch.Generator().manual_seed(0)
    total = None
    for output in outputs:
        if output.requires_grad and output.numel():
            values = plain(output)
            real = torch.view_as_real(values) if values.is_complex() else values
            weights = 0.5 + torch.rand(real.shape, generator=generator, device="cpu")
            part = (real * weights.to(real.device, real.dtype)).mean()
            total = part if total is None else total + part.to(total.device)
    return total


def nodes_below(loss: Tensor) -> Iterator[Node]:
    """Yield every node of the graph of a loss, each once."""
    nodes = [loss.grad_fn]
    seen = set(nodes)
    for node in nodes:
        if node is not None:
            yield node
            new = {following for following, _ in node.next_functions} - seen
            seen |= new
            nodes += new


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the tensors that a backward pass gives a gradient to."""
    return [node.variable for node in nodes_below(loss) if hasattr(node, "variable")]


@contextmanager
def _put_aside(leaves: Sequence[Tensor]) -> Iterator[None]:
    kept = {id(leaf): (leaf, leaf.grad) for leaf in leaves}
    for leaf, _ in kept.values():
        leaf.grad = None
    try:
        yield
    finally:
        for leaf, gradient in kept.values():
            leaf.grad = gradient
