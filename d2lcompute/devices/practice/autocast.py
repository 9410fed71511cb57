"""`torch.autocast("practice")`: which operators compute in low precision and which may not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.amp.autocast_mode import _cast

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
_KEY = torch._C.DispatchKeySet(torch._C._dispatch_key_parse("AutocastPrivateUse1"))


def kernels(operator_of: Callable[[str], Any]) -> dict[str, Callable[..., Any]]:
    """Return the kernels that cast their arguments; `operator_of` finds an operator by name."""
    full = {name: _casting(operator_of(name), torch.float32) for name in _FULL}
    return full | {name: _casting(operator_of(name), None) for name in _LOWER}


def _casting(operator: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        target = dtype or torch.get_autocast_dtype("practice")
        with torch._C._ExcludeDispatchKeyGuard(_KEY):
            args, kwargs = _cast((args, kwargs), "practice", target)
            return operator(*args, **kwargs)

    return kernel
