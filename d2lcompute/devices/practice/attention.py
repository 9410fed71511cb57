"""Scaled dot-product attention, whose algorithm torch chooses by device: here as on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
_FLASH = 1


def attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, *, scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """Compute `torch.nn.functional.scaled_dot_product_attention` in the way that the CPU would."""
    args = (query, key, value, attn_mask, dropout_p, is_causal)
    options: dict[str, Any] = {"scale": scale, "enable_gqa": enable_gqa}
    one_device = query.device == key.device == value.device
    learned_mask = attn_mask is not None and attn_mask.requires_grad
    if not one_device or learned_mask or _aten._fused_sdp_choice(*args, **options) != _FLASH:
        result: Tensor = _aten.scaled_dot_product_attention.default.decompose(*args, **options)
        return result
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        zero = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = zero.masked_fill(~attn_mask, float("-inf"))
    batches = query.dim() == 4  # torch 2.15 chooses the algorithm for a single one, too
    query, key, value = (x if batches else x.unsqueeze(0) for x in (query, key, value))
    output: Tensor
    output, _ = _aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )
    return output if batches else output.squeeze(0)
