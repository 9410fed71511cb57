"""A forward and a backward pass that leave no trace."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map_only

from ...lazy import dry_run
from ...parameters.names import Entry, entries, walk
from ...passes.record import tensors_in
from ...passes.run import Inputs, is_shape
from .observe import Failure, Observer, Seen
from .values import distinct, has_values

Loss = Callable[[Any], Tensor]


def observe(net: nn.Module, inputs: Inputs, loss_fn: Loss | None) -> Seen:
    """Run `net` forward and backward, and return what was seen until the end or an error."""
    held = (entry.tensor for entry in entries(net))
    made_for_inference = any(not is_lazy(t) and t.is_inference() for t in held)
    with (
        _eagerly(),
        torch.inference_mode(made_for_inference),
        torch.enable_grad(),
        dry_run(net),
        _values_kept(net),
    ):
        given = inputs.map(lambda item: tree_map_only(Tensor, _copied, _as_tensor(item, net)))
        seen = Seen(net, tensors_in(given.all()))
        before = dict(_tensor_attributes(net))
        observer = Observer(seen)
        observer.forward(*given)
        seen.replaced = {k for k, t in _tensor_attributes(net) if before.get(k) is not t}
        if seen.failure is None:
            _backward(seen, loss_fn)
        if observer.drops:
            _look_again_in_eval_mode(seen, given)
    return seen


def _backward(seen: Seen, loss_fn: Loss | None) -> None:
    try:
        loss = seen.loss = _checked(loss_fn(seen.output)) if loss_fn else _projection(seen.outputs)
        chosen = [e.tensor for e in trained(seen.net)]
        seen.gradients = dict.fromkeys(map(id, chosen))
        if loss is not None and loss.grad_fn is not None and chosen:
            seen.gradients = dict(zip(map(id, chosen), _gradients(loss, chosen), strict=True))
    except Exception as error:
        seen.gradients = {}
        seen.failure = Failure("loss_fn" if loss_fn else "", None, (), error)


def _checked(loss: object) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"`loss_fn` must return a scalar tensor, got {type(loss).__name__}; "
            f"do leave out item() and float()"
        )
    return loss


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> Sequence[Tensor | None]:
    if not _has_graph_inside(loss):
        return torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    torch.autograd.backward(loss)  # `dry_run` puts the gradients back
    return [parameter.grad for parameter in parameters]


def _has_graph_inside(loss: Tensor) -> bool:
    """Whether a function makes a backward pass of its own, as reentrant checkpoints do.

    Only `backward` reaches the parameters in there.
    """
    nodes = [loss.grad_fn]
    seen = set(nodes)
    for node in nodes:
        if node is not None:
            if isinstance(node, torch.autograd.function.BackwardCFunction):
                return True
            new = {following for following, _ in node.next_functions} - seen
            seen |= new
            nodes += new
    return False


def trained(net: nn.Module) -> list[Entry]:
    """Return the parameters that have a shape and ask for a gradient, each under its first name."""
    held = [e for e in distinct(entries(net)) if not e.is_buffer and not is_lazy(e.tensor)]
    return [e for e in held if e.tensor.requires_grad and not e.tensor.is_inference()]


def _projection(outputs: Sequence[Tensor]) -> Tensor | None:
    """Return a weighted mean of the outputs; their sum would be constant behind a softmax."""
    generator = torch.Generator().manual_seed(0)
    total = None
    for output in outputs:
        if output.requires_grad and output.numel():
            real = torch.view_as_real(output) if output.is_complex() else output
            weights = 0.5 + torch.rand(real.shape, generator=generator)
            part = (real * weights.to(real.device, real.dtype)).mean()
            total = part if total is None else total + part.to(total.device)
    return total


def _look_again_in_eval_mode(seen: Seen, inputs: Inputs) -> None:
    """See whether what was dropped by a function is dropped in eval mode too."""
    again = Seen(seen.net, [])
    for _, module in walk(seen.net):
        module.training = False
    with torch.no_grad():
        Observer(again).forward(*inputs)
    seen.always_dropped = again.always_dropped


@contextmanager
def _eagerly() -> Iterator[None]:
    """Let compiled modules run as they are written, so that hooks see what happens inside."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        yield
        return
    with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)  # with hooks
        yield


@contextmanager
def _values_kept(net: nn.Module) -> Iterator[None]:
    """Undo what `forward` writes into parameters, as that of a codebook does."""
    held = [e.tensor for e in distinct(entries(net)) if not e.is_buffer and has_values(e.tensor)]
    kept = [(tensor, tensor.data, tensor.detach().clone()) for tensor in held]
    try:
        yield
    finally:
        for tensor, data, values in kept:
            if tensor.data_ptr() != data.data_ptr():
                tensor.data = data
            if not torch.equal(data, values):
                data.copy_(values)


def _tensor_attributes(net: nn.Module) -> Iterator[tuple[tuple[str, str], Tensor]]:
    for path, module in walk(net):
        for key, value in vars(module).items():
            if isinstance(value, Tensor):
                yield (path, key), value


def _as_tensor(item: Any, net: nn.Module) -> Any:
    """Return values of a given shape, the same each time, or the input as it is."""
    if not (isinstance(item, tuple) and is_shape(item)):
        return item
    values = torch.randn(*item, generator=torch.Generator().manual_seed(0))
    floats = (e.tensor for e in entries(net) if e.tensor.is_floating_point())
    like = next(floats, values)
    return values.to(like.device, like.dtype)


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
