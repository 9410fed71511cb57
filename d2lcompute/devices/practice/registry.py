"""What torch is told of practice devices: a guard, a module, and a kernel for each operator."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.amp.autocast_mode import _cast

from . import backend
from .devices import DEVICES
from .kernels import Kernel
from .patches import passing, patch_for_good
from .tensor import CPU, CPU_KEYS, adopt, host_of, place, structural_kernels

_aten = torch.ops.aten
_Function = Callable[..., Any]
_Some = Tensor | None
_FLASH = 1
_VIEWS = ("as_strided", "unfold", "view", "view_as_complex", "view_as_real", "_reshape_alias")
# Operators that torch composes of others, here computed at once: the CPU does it otherwise, with
# other last bits, or it saves much time.
_WHOLE = (
    "clone", "convolution", "convolution_backward", "ones_like", "zeros_like", "_to_copy",
)  # fmt: skip


@functools.cache
def register() -> list[torch.library.Library]:
    """Tell torch about the devices and give them every operator that the CPU has, for good.

    The registrations last as long as what is returned.
    """
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as set_up

    kernels, _ = _kernels(), passing()  # what this torch lacks shows before anything is changed
    patch_for_good()
    set_up("practice", backend, device_guard=_guard())
    named, rest = torch.library.Library("aten", "IMPL"), torch.library.Library("_", "IMPL")
    enter: Any = named.m
    for key, of_key in kernels.items():
        for name, kernel in of_key.items():
            enter.impl(name, key, kernel, False)
    for key in ("PrivateUse1", "SparsePrivateUse1", "SparseCsrPrivateUse1"):
        rest.fallback(_Fallback(), key)
    rest.fallback(_refuse, "NestedTensorPrivateUse1")
    rest.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    return [named, rest]


def _guard() -> Any:
    kind = torch._C._autograd.DeviceType.PrivateUse1

    class Guard(torch._C._acc.DeviceGuard):
        # Asked several times at every node of a backward pass, so no function of Python's own.
        type_: Any = itertools.repeat(kind).__next__

    return Guard()


def _kernels() -> dict[str, dict[str, _Function]]:
    """Return the kernels by dispatch key and name."""
    whole = filter(_whole, _of_aten(torch._C._dispatch_get_all_op_names()))
    plain = _computing([*_registered("CPU"), *whole])
    views = {
        name: functools.partial(_operator(name)._handle.redispatch_boxed, CPU_KEYS)
        for name in _VIEWS
    }
    attending = {"scaled_dot_product_attention": _attention}
    kernels: dict[str, dict[str, _Function]] = {
        "PrivateUse1": plain | views | _CELLS | _OWN | attending,
        "AutogradPrivateUse1": attending,
        "AutocastPrivateUse1": _autocast_kernels(),
        "CPU": {"_pin_memory": _unpinned},
    }
    for layout in ("Sparse", "SparseCsr"):
        computing = _computing(_registered(layout + "CPU"))
        kernels[layout + "PrivateUse1"] = computing | structural_kernels(layout)
    return kernels


def _computing(names: Iterable[str]) -> dict[str, _Function]:
    return {name: Kernel(functools.partial(_operator, name)) for name in names}


def _registered(key: str) -> list[str]:
    return _of_aten(torch._C._dispatch_get_registrations_for_dispatch_key(key))


def _of_aten(names: Iterable[str]) -> list[str]:
    return [name.removeprefix("aten::") for name in names if name.startswith("aten::")]


def _refuse(operator: Any, *args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError(
        "Practice devices take no nested tensors of the strided layout; do "
        "torch.nested.nested_tensor(..., layout=torch.jagged)"
    )


class _Fallback:
    """Runs operators that have no kernel of their own."""

    def __init__(self) -> None:
        self.kernels: dict[Any, Kernel] = {}

    def __call__(self, operator: Any, *args: Any, **kwargs: Any) -> Any:
        if operator not in self.kernels:
            self.kernels[operator] = Kernel(lambda: operator)
        return self.kernels[operator](*args, **kwargs)


def _whole(name: str) -> bool:
    packet = name.partition(".")[0]
    lists = packet.startswith("_foreach_") and packet != "_foreach_copy_"  # which may cross devices
    return lists or packet in _WHOLE


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(_aten, packet), overload or "default")


def _empty(size: Any, *, device: torch.device, **options: Any) -> Tensor:
    index = DEVICES.current if device.index is None else device.index
    _require(index, math.prod(size), options)
    return place(torch.empty(size, device=CPU, **options), index)


def _empty_strided(size: Any, strides: Any, *, device: torch.device, **options: Any) -> Tensor:
    index = DEVICES.current if device.index is None else device.index
    span = 1 + sum((n - 1) * stride for n, stride in zip(size, strides, strict=True))
    _require(index, span if all(size) else 0, options)
    return place(torch.empty_strided(size, strides, device=CPU, **options), index)


def _require(index: int, count: int, options: dict[str, Any]) -> None:
    # The limit speaks before the machine's own memory is asked.
    dtype = options.get("dtype") or torch.get_default_dtype()
    DEVICES.memory(index).require(count * dtype.itemsize)


def _zeros(size: Any, *, device: torch.device, **options: Any) -> Tensor:
    return _empty(size, device=device, **options).zero_()


def _copy(target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    host_of(target).copy_(host_of(source))
    return target


def _unpinned(tensor: Tensor, device: torch.device | None = None) -> Tensor:
    # Pages of the host are pinned for a real device's sake.
    torch.accelerator.current_device_index()  # torch's error where there is no accelerator
    return tensor.clone()


def _record_stream(tensor: Tensor, stream: torch.Stream) -> None:
    # There is one stream, and it never runs behind.
    return None


def _left_aligned(tensor: Tensor, mask: Tensor) -> bool:
    # nn.TransformerEncoder asks before it packs a padded batch as a nested tensor, of which there
    # are none here; it goes on without packing.
    return False


def _interchangeable(self: Tensor, other: Tensor) -> bool:
    # By `param.data = ...`, `net.to(device)` moves parameters and keeps them the same objects.
    return self.layout == other.layout


def _set_storage(tensor: Tensor, storage: Any) -> Tensor:
    return _set_layout(tensor, storage, 0, (storage.nbytes() // tensor.element_size(),), (1,))


def _set_layout(tensor: Tensor, storage: Any, offset: Any, shape: Any, strides: Any = ()) -> Tensor:
    adopt(tensor, storage, offset, shape, strides)
    return tensor


def _set_tensor(tensor: Tensor, source: Tensor) -> Tensor:
    storage = source.untyped_storage()
    adopt(tensor, storage, source.storage_offset(), source.shape, source.stride())
    return tensor


def _set_nothing(tensor: Tensor) -> Tensor:
    return _set_tensor(tensor, torch.empty(0, dtype=tensor.dtype, device=tensor.device))


def _resize(tensor: Tensor, size: Any, *, memory_format: Any = None) -> Tensor:
    layout = torch.empty(size, dtype=tensor.dtype, device="meta", memory_format=memory_format)
    storage, offset = tensor.untyped_storage(), tensor.storage_offset()
    needed = layout.untyped_storage().nbytes() + offset * tensor.element_size()
    if needed > storage.nbytes():
        larger = torch.empty(needed, dtype=torch.uint8, device=tensor.device)
        larger[: storage.nbytes()] = larger.new_empty(0).set_(storage)
        storage = larger.untyped_storage()
    adopt(tensor, storage, offset, layout.shape, layout.stride())
    return tensor


def _resize_output(tensor: Tensor, size: Any, device: torch.device) -> Tensor:
    return _resize(tensor, size)


_OWN: dict[str, _Function] = {
    "copy_": _copy,
    "_efficientzerotensor": _zeros,
    "_nested_tensor_from_mask_left_aligned": _left_aligned,
    "_has_compatible_shallow_copy_type": _interchangeable,
    "_resize_output_": _resize_output,
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "record_stream": _record_stream,
    "resize_": _resize,
    "set_": _set_nothing,
    "set_.source_Storage": _set_storage,
    "set_.source_Storage_storage_offset": _set_layout,
    "set_.source_Tensor": _set_tensor,
}


# From here on: operators that torch takes apart, or fuses, in another way on accelerators than on
# the CPU. Attention's algorithm torch chooses by device: here it is the CPU's.


def _attention(
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


# Accelerators compute LSTM and GRU cells at once; the CPU has no kernel for that.
def _lstm_cell(
    input_gates: Tensor, hidden_gates: Tensor, cx: Tensor, input_bias: _Some = None,
    hidden_bias: _Some = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    gates = _biased(input_gates, input_bias) + _biased(hidden_gates, hidden_bias)
    enter, keep, new, show = gates.chunk(4, 1)
    cy = keep.sigmoid() * cx + enter.sigmoid() * new.tanh()
    return show.sigmoid() * cy.tanh(), cy, gates


def _lstm_cell_backward(
    grad_hy: _Some, grad_cy: _Some, cx: Tensor, cy: Tensor, gates: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor, _Some]:
    grad_gates, _, grad_cx, *_ = _aten._thnn_differentiable_lstm_cell_backward(
        grad_hy, grad_cy, gates, torch.zeros_like(gates), None, None, cx, cy
    )
    return grad_gates, grad_cx, grad_gates.sum(0) if has_bias else None


def _gru_cell(
    input_gates: Tensor, hidden_gates: Tensor, hx: Tensor, input_bias: _Some = None,
    hidden_bias: _Some = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    inputs, hiddens = _biased(input_gates, input_bias), _biased(hidden_gates, hidden_bias)
    reset, update, new = inputs.chunk(3, 1)
    hidden_reset, hidden_update, hidden_new = hiddens.chunk(3, 1)
    candidate = (new + (reset + hidden_reset).sigmoid() * hidden_new).tanh()
    hy = candidate + (update + hidden_update).sigmoid() * (hx - candidate)
    return hy, torch.cat([inputs, hiddens, hx], 1)


def _gru_cell_backward(grad_hy: Tensor, workspace: Tensor, has_bias: bool) -> tuple[_Some, ...]:
    width = workspace.shape[1] // 7
    inputs, hiddens, hx = workspace.split([3 * width, 3 * width, width], 1)
    grad_inputs, grad_hiddens, grad_hx, *_ = _aten._thnn_differentiable_gru_cell_backward(
        grad_hy, inputs, hiddens, hx, None, None
    )
    biases = (grad_inputs.sum(0), grad_hiddens.sum(0)) if has_bias else (None, None)
    return grad_inputs, grad_hiddens, grad_hx, *biases


def _biased(gates: Tensor, bias: _Some) -> Tensor:
    return gates if bias is None else gates + bias


_CELLS: dict[str, _Function] = {
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


def _autocast_kernels() -> dict[str, _Function]:
    """Return the kernels that cast their arguments, for `torch.autocast("practice")`."""
    full = {name: _casting(_operator(name), torch.float32) for name in _FULL}
    return full | {name: _casting(_operator(name), None) for name in _LOWER}


def _casting(operator: Any, dtype: torch.dtype | None) -> _Function:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        target = dtype or torch.get_autocast_dtype("practice")
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST):
            args, kwargs = _cast((args, kwargs), "practice", target)
            return operator(*args, **kwargs)

    return kernel
