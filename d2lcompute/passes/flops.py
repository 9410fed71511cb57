"""FLOPs of operators: torch's own formulas, those that it lacks, and the names of what has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from ..parameters.memory import is_sparse, parts_of
from .memory import storage_of
from .values import tensors_in

aten = torch.ops.aten
Formula = Callable[..., int]


class Flops:
    """Add up in `total` the FLOPs of operators, a multiplication and an addition counted as two.

    As in torch, these are products of matrices and vectors, convolutions and attention. A product
    of complex numbers counts as its four real ones, and a sparse one by its entries. `uncounted`
    tells how often other operators ran that compute with a weight.
    """

    def __init__(self) -> None:
        self.total = 0
        self.uncounted: Counter[str] = Counter()
        self._known: dict[str, int] = {}  # a formula takes longer than a small layer

    def count(self, func: Any, args: Any, kwargs: Any, result: Any, weights: set[int]) -> None:
        """Add what an operator has computed; `weights` tell the memory of matrices."""
        operator, formula = getattr(func, "overloadpacket", func), formula_of(func)
        if formula is None:
            if weights and not is_no_product(func) and _reads(args, kwargs, weights):
                self.uncounted[str(operator).replace("aten.", "")] += 1
        elif not _is_plain(args):
            self.total += _of_several(formula, args, kwargs, result)
        elif not hasattr(formula, "__wrapped__"):
            self.total += int(formula(*args, **kwargs, out_val=result))
        else:
            key = f"{operator}{[a.shape if isinstance(a, Tensor) else a for a in args]}{kwargs}"
            if key not in self._known:
                self._known[key] = int(formula(*args, **kwargs, out_val=result))
            self.total += self._known[key]


def formula_of(func: Any) -> Formula | None:
    """Return what tells the FLOPs of an operator, None if it is not known to have any."""
    operator = getattr(func, "overloadpacket", func)
    return FORMULAS.get(operator) or flop_registry.get(operator) or _by_name(operator)


def _of_several(formula: Formula, args: Any, kwargs: Any, result: Any) -> int:
    """Count all of the products that sparse, nested and complex tensors stand for."""
    tensors = [argument for argument in args if isinstance(argument, Tensor)]
    if any(is_sparse(tensor) for tensor in tensors):
        return _sparse(tensors)
    if any(tensor.is_nested for tensor in tensors):
        return _nested(tensors)
    factor = 4 if any(tensor.is_complex() for tensor in tensors) else 1
    return factor * int(formula(*args, **kwargs, out_val=result))


def _sparse(tensors: Sequence[Tensor]) -> int:
    """Count a multiplication and an addition for each entry of a sparse matrix and each column."""
    *others, left, right = tensors
    if is_sparse(left) and is_sparse(right):
        columns, rows = left.to_sparse_coo().coalesce(), right.to_sparse_coo().coalesce()
        per_column = columns.indices()[1].bincount(minlength=rows.shape[0])
        return 2 * int(per_column[rows.indices()[0]].sum())
    if is_sparse(left):
        return 2 * _entries(left) * (right.shape[-1] if right.dim() > 1 else 1)
    if is_sparse(right):
        return 2 * _entries(right) * (left.shape[-2] if left.dim() > 1 else 1)
    return (
        2 * _entries(others[0]) * left.shape[-1]
    )  # a dense product, where a sparse one has entries


def _nested(tensors: Sequence[Tensor]) -> int:
    """Count the products of the tensors that a nested one consists of."""
    left, right = tensors[0], tensors[1]
    if not right.is_nested:  # the weight of a linear layer
        return 2 * sum(part.numel() for part in left.unbind()) * right.shape[0]
    pairs = zip(left.unbind(), right.unbind(), strict=True)
    return sum(2 * one.numel() * other.shape[-1] for one, other in pairs)


def _entries(tensor: Tensor) -> int:
    return parts_of(tensor)[-1].numel()


def _is_plain(args: Sequence[Any]) -> bool:
    for argument in args:
        if isinstance(argument, Tensor) and (
            argument.layout is not torch.strided or argument.is_complex() or argument.is_nested
        ):
            return False
    return True


def _by_rows(*args: Any, out_val: Any, **_: Any) -> int:
    """Count a product that makes each of its elements of a row of its first matrix."""
    return 2 * int(out_val.numel()) * int(args[0].shape[-1])


def _added_by_rows(_: Any, *args: Any, out_val: Any, **__: Any) -> int:
    return _by_rows(*args, out_val=out_val)


def _by_columns(left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """Count a product that uses each element of its first matrix for a row of the second."""
    if left.dim() > right.dim():  # one for all groups, its columns split among them
        return 2 * right.numel() * left.shape[-2]
    return 2 * left.numel() * right.shape[-1]


def _added_by_columns(_: Any, left: Tensor, right: Tensor, **__: Any) -> int:
    return _by_columns(left, right)


def _outer(matrix: Tensor, *_: Any, **__: Any) -> int:
    return 2 * matrix.numel()


def _three(*args: Any, **_: Any) -> int:
    """Count the two products of nn.Bilinear: with the first input, then with the second."""
    first, second, third = (_unsqueezed(*pair) for pair in zip(args[:3], args[3:6], strict=True))
    sizes = torch.broadcast_shapes(first, second)
    summed = [1 if axis in args[6] and axis in args[5] else n for axis, n in enumerate(sizes)]
    last = torch.broadcast_shapes(summed, third)
    return int(2 * math.prod(sizes) + 2 * math.prod(last))


def _unsqueezed(tensor: Tensor, axes: Sequence[int]) -> list[int]:
    sizes = iter(tensor.shape)
    return [1 if axis in axes else next(sizes) for axis in range(tensor.dim() + len(axes))]


def _recurrent(tokens: Tensor, weights: Sequence[Tensor]) -> int:
    steps = tokens.numel() // tokens.shape[-1]
    return 2 * steps * sum(weight.numel() for weight in weights if weight.dim() == 2)


def _attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Count the scores and the weighted sums, for every head of the query."""
    return _scores(query, key) * (key.shape[-1] + value.shape[-1])


def _attention_backward(
    _: Any, query: Tensor, key: Tensor, value: Tensor, *__: Any, **k: Any
) -> int:
    """Count the scores once more, and two products for each of the two of the forward pass."""
    return _scores(query, key) * (3 * key.shape[-1] + 2 * value.shape[-1])


def _scores(query: Tensor, key: Tensor) -> int:
    return 2 * (query.numel() // query.shape[-1]) * key.shape[-2]


def _whole_attention(query: Tensor, key: Tensor, _: Any, width: int, *rest: Any, **k: Any) -> int:
    """Count projections, scores and weighted sums of a nn.MultiheadAttention."""
    return _layer(query, key, width, rest)


def _whole_layer(source: Tensor, width: int, *rest: Any, **_: Any) -> int:
    """Count a nn.TransformerEncoderLayer."""
    return _layer(source, source, width, rest)


def _layer(query: Tensor, key: Tensor, width: int, rest: Sequence[Any]) -> int:
    matrices = [one for one in rest if isinstance(one, Tensor) and one.dim() == 2]
    weights = sum(matrix.numel() for matrix in matrices if matrix.is_floating_point())
    tokens = query.numel() // query.shape[-1]
    return 2 * tokens * weights + 4 * tokens * key.shape[1] * width


@cache
def _by_name(operator: Any) -> Formula | None:
    """Return the formula of grouped and quantized products, for which there are many operators."""
    name = str(operator)
    if name.startswith("quantized.linear"):
        return _by_rows
    return _by_columns if "grouped_mm" in name and "backward" not in name else None


@cache
def is_no_product(func: Any) -> bool:
    """Whether an operator moves, scales, compares or sums up: nobody counts that."""
    schema = getattr(func, "_schema", None)
    if schema is None:
        return False
    gives_views = bool(schema.returns) and all(one.alias_info for one in schema.returns)
    name = schema.name.removeprefix("aten::").strip("_")
    return (
        torch.Tag.pointwise in func.tags
        or gives_views
        or (schema.name.startswith("aten::") and name.startswith(_NO_PRODUCTS))
    )


def _reads(args: Any, kwargs: Any, weights: set[int]) -> bool:
    return any(storage_of(tensor) in weights for tensor in tensors_in((args, kwargs)))


_NO_PRODUCTS = (
    "embedding", "index", "gather", "scatter", "take", "select", "slice", "cat", "stack", "split",
    "chunk", "clone", "to_copy", "copy", "contiguous", "sparse", "to_sparse", "to_dense", "coal",
    "sum", "nansum", "mean", "prod", "var", "std", "linalg_vector_norm", "norm", "max", "min",
    "arg", "amax", "amin", "sort", "topk", "cum", "any", "all", "softmax", "log_softmax",
    "safe_softmax", "logsumexp", "native_layer_norm", "native_group_norm", "native_batch_norm",
    "fused_rms_norm", "rms_norm", "cudnn_batch_norm", "weight_norm", "constant_pad", "pad", "flip",
    "roll", "repeat", "expand", "empty", "zeros", "ones", "full", "new", "rand", "normal",
    "uniform", "bernoulli", "fill", "zero", "equal", "is_", "item", "local_scalar", "nonzero",
    "masked", "where", "tril", "triu", "diag", "fft", "foreach", "native_dropout", "convert",
    "resize", "set", "nested", "grid_sampler", "upsample", "count_nonzero", "unique", "bincount",
    "histc", "assert",
)  # fmt: skip
FORMULAS: dict[Any, Formula] = {
    # Those of torch for these four take twice as long as the product of a small layer.
    aten.mm: _by_rows,
    aten.addmm: _added_by_rows,
    aten.bmm: _by_rows,
    aten.baddbmm: _added_by_rows,
    aten.mv: _by_rows,
    aten.addmv: _added_by_rows,
    aten.dot: _outer,
    aten.vdot: _outer,
    aten.addr: _outer,
    aten.addbmm: _added_by_columns,
    aten._addmm_activation: _added_by_columns,
    aten.linear: _by_rows,
    aten.matmul: _by_columns,
    aten._int_mm: _by_columns,
    aten._sparse_mm: _by_columns,
    aten._sparse_sparse_matmul: _by_columns,
    aten._sparse_addmm: _added_by_columns,
    aten._sparse_mm_reduce_impl: _by_columns,
    aten.sparse_sampled_addmm: _added_by_columns,
    aten.sspaddmm: _added_by_columns,
    aten.hspmm: _by_columns,
    aten.smm: _by_columns,
    aten._weight_int8pack_mm: _by_rows,
    aten._weight_int4pack_mm: _by_rows,
    aten._mixed_dtypes_linear: _by_rows,
    aten.mkldnn_linear: _by_rows,
    aten._trilinear: _three,
    aten.conv_tbc: lambda tokens, weight, *_, out_val, **__: (
        2 * out_val.numel() * weight.shape[0] * weight.shape[1]
    ),
    aten.mkldnn_rnn_layer: lambda tokens, *weights, **_: _recurrent(tokens, weights[:2]),
    aten.mkldnn_rnn_layer_backward: lambda tokens, *w, **_: 2 * _recurrent(tokens, w[:2]),
    aten._cudnn_rnn: lambda tokens, weights, *_, **__: _recurrent(tokens, weights),
    aten._cudnn_rnn_backward: lambda tokens, weights, *_, **__: 2 * _recurrent(tokens, weights),
    aten.miopen_rnn: lambda tokens, weights, *_, **__: _recurrent(tokens, weights),
    aten.miopen_rnn_backward: lambda tokens, weights, *_, **__: 2 * _recurrent(tokens, weights),
    aten._scaled_dot_product_flash_attention: _attention,
    aten._scaled_dot_product_efficient_attention: _attention,
    aten._scaled_dot_product_cudnn_attention: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
    aten._scaled_dot_product_flash_attention_backward: _attention_backward,
    aten._scaled_dot_product_efficient_attention_backward: _attention_backward,
    aten._scaled_dot_product_cudnn_attention_backward: _attention_backward,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    aten._scaled_dot_product_fused_attention_overrideable_backward: _attention_backward,
    aten._native_multi_head_attention: _whole_attention,
    aten._transformer_encoder_layer_fwd: _whole_layer,
}
