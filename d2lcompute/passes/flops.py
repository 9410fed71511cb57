"""FLOPs of operators: torch's own formulas, and the fused kernels of the CPU that these miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten


class Flops:
    """Add up in `total` the FLOPs of operators.

    As in torch, these are products of matrices, convolutions and attention, a multiplication and
    an addition counted as two.
    """

    def __init__(self) -> None:
        self.total = 0
        self.uncounted: Counter[str] = Counter()
        self._known: dict[str, int] = {}  # a formula takes longer than a small layer

    def count(
        self, func: Any, args: Any, kwargs: Any, result: Any, weights: Container[int]
    ) -> None:
        """Add what an operator has computed."""
        self.total += self._of(getattr(func, "overloadpacket", func), args, kwargs, result)

    def _of(self, operator: Any, args: Any, kwargs: Any, result: Any) -> int:
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
