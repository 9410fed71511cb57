"""Operators that torch takes apart, or fuses, in another way on accelerators than on the CPU.

Attention, whose algorithm torch chooses by device: here as on the CPU. LSTM and GRU cells, which
torch computes at once on accelerators, with no kernel for the CPU. `torch.autocast("practice")`:
which operators compute in low precision and which may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import _cast

_aten = torch.ops.aten
Some = Tensor | None
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


def _lstm_cell(
    input_gates: Tensor, hidden_gates: Tensor, cx: Tensor, input_bias: Some = None,
    hidden_bias: Some = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    gates = _biased(input_gates, input_bias) + _biased(hidden_gates, hidden_bias)
    enter, keep, new, show = gates.chunk(4, 1)
    cy = keep.sigmoid() * cx + enter.sigmoid() * new.tanh()
    return show.sigmoid() * cy.tanh(), cy, gates


def _lstm_cell_backward(
    grad_hy: Some, grad_cy: Some, cx: Tensor, cy: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, Some]:
    grad_gates, _, grad_cx, *_ = _aten._thnn_differentiable_lstm_cell_backward(
        grad_hy, grad_cy, gates, torch.zeros_like(gates), None, None, cx, cy
    )
    return grad_gates, grad_cx, grad_gates.sum(0) if has_bias else None


def _gru_cell(
    input_gates: Tensor, hidden_gates: Tensor, hx: Tensor, input_bias: Some = None,
    hidden_bias: Some = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    inputs, hiddens = _biased(input_gates, input_bias), _biased(hidden_gates, hidden_bias)
    reset, update, new = inputs.chunk(3, 1)
    hidden_reset, hidden_update, hidden_new = hiddens.chunk(3, 1)
    candidate = (new + (reset + hidden_reset).sigmoid() * hidden_new).tanh()
    hy = candidate + (update + hidden_update).sigmoid() * (hx - candidate)
    return hy, torch.cat([inputs, hiddens, hx], 1)


def _gru_cell_backward(grad_hy: Tensor, workspace: Tensor, has_bias: bool) -> tuple[Some, ...]:
    width = workspace.shape[1] // 7
    inputs, hiddens, hx = workspace.split([3 * width, 3 * width, width], 1)
    grad_inputs, grad_hiddens, grad_hx, *_ = _aten._thnn_differentiable_gru_cell_backward(
        grad_hy, inputs, hiddens, hx, None, None
    )
    biases = (grad_inputs.sum(0), grad_hiddens.sum(0)) if has_bias else (None, None)
    return grad_inputs, grad_hiddens, grad_hx, *biases


def _biased(gates: Tensor, bias: Some) -> Tensor:
    return gates if bias is None else gates + bias


CELLS: dict[str, Any] = {
    "_thnn_fused_gru_cell": _gru_cell,
    "_thnn_fused_gru_cell_backward": _gru_cell_backward,
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}

# As on CUDA: products gain from low precision, sums of many terms and steep functions lose by it.
_LOWER = (
    "addbmm", "addmm", "addmv", "baddbmm", "bmm", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d.input", "conv_transpose3d.input", "einsum", "gru_cell",
    "linear", "lstm_cell", "matmul", "mm", "mv", "prelu", "rnn_relu_cell", "rnn_tanh_cell",
    "scaled_dot_product_attention",
)  # fmt: skip
_FULL = (
    "binary_cross_entropy_with_logits", "cosine_similarity", "cumprod", "cumsum", "exp", "expm1",
    "group_norm", "hinge_embedding_loss", "huber_loss", "kl_div", "l1_loss", "layer_norm",
    "linalg_vector_norm", "log", "log10", "log1p", "log2", "log_softmax.int", "logsumexp",
    "margin_ranking_loss", "mse_loss", "multi_margin_loss", "nll_loss", "nll_loss2d",
    "norm.Scalar", "norm.ScalarOpt_dim", "pow.Scalar", "pow.Tensor_Scalar", "pow.Tensor_Tensor",
    "prod", "prod.dim_int", "reciprocal", "renorm", "rms_norm", "rsqrt", "smooth_l1_loss",
    "softmax.int", "softplus", "sum", "sum.dim_IntList", "triplet_margin_loss",
)  # fmt: skip
_AUTOCAST = torch._C.DispatchKeySet(torch._C._dispatch_key_parse("AutocastPrivateUse1"))


def autocast_kernels(operator_of: Callable[[str], Any]) -> dict[str, Callable[..., Any]]:
    """Return the kernels that cast their arguments; `operator_of` finds an operator by name."""
    full = {name: _casting(operator_of(name), torch.float32) for name in _FULL}
    return full | {name: _casting(operator_of(name), None) for name in _LOWER}


def _casting(operator: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        target = dtype or torch.get_autocast_dtype("practice")
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            args, kwargs = _cast((args, kwargs), "practice", target)
            return operator(*args, **kwargs)

    return kernel
