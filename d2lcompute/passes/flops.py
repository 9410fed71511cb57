"""FLOPs of operators: torch's own formulas, and the fused kernels of the CPU that these miss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class FlopCounter(TorchDispatchMode):
    """Add up in `total` the FLOPs of what runs inside, and show each operator's arguments.

    As in torch, these are products of matrices, convolutions and attention, a multiplication and
    an addition counted as two.
    """

    supports_higher_order_operators = True

    def __init__(self, show: Callable[[tuple[Any, ...]], None]) -> None:
        super().__init__()
        self.total = 0
        self._show = show
        self._known: dict[str, int] = {}  # a formula takes longer than a small layer

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch imports its whole compiler here, and calls it for each operator

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        self._show(args)
        if torch.is_inference_mode_enabled():  # only there do composite operators arrive whole
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        with torch._C.DisableTorchFunction():  # or compiled blocks would show their operators
            result = func(*args, **kwargs)
        self.total += self._count(getattr(func, "overloadpacket", func), args, kwargs, result)
        return result

    def _count(self, operator: Any, args: Any, kwargs: Any, result: Any) -> int:
        formula = FUSED.get(operator) or flop_registry.get(operator)
        if formula is None:
            return 0
        if not hasattr(formula, "__wrapped__"):  # it wants the tensors, not only their shapes
            return int(formula(*args, **kwargs, out_val=result))
        key = f"{operator}{[a.shape if isinstance(a, Tensor) else a for a in args]}"
        if key not in self._known:
            self._known[key] = int(formula(*args, **kwargs, out_val=result))
        return self._known[key]


def _recurrent(tokens: Tensor, weights: tuple[Tensor, ...]) -> int:
    steps = tokens.numel() // tokens.shape[-1]
    return 2 * steps * sum(weight.numel() for weight in weights if weight.dim() == 2)


FUSED: dict[Any, Callable[..., int]] = {
    aten.mkldnn_rnn_layer: lambda tokens, *weights, out_val, **_: _recurrent(tokens, weights[:2]),
    aten._cudnn_rnn: lambda tokens, weights, *_, **__: _recurrent(tokens, weights),
    aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        aten._scaled_dot_product_flash_attention
    ],
}
