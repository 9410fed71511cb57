"""LSTM and GRU cells, which torch computes at once on accelerators, with no kernel for the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten
Some = Tensor | None


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


KERNELS: dict[str, Any] = {
    "_thnn_fused_gru_cell": _gru_cell,
    "_thnn_fused_gru_cell_backward": _gru_cell_backward,
    "_thnn_fused_lstm_cell": _lstm_cell,
    "_thnn_fused_lstm_cell_backward_impl": _lstm_cell_backward,
}
