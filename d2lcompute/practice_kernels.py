"""How torch's operators run on practice devices: on the CPU, over the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from .practice_tensor import CPU, CPU_KEYS, _set_storage, aten, host_of, memory_of, place
from .practice_tensor import index_of as index_of

VIEWS = ("view", "as_strided", "_reshape_alias", "unfold", "view_as_real", "view_as_complex")
COMPOSITES = ("_to_copy", "clone", "convolution", "convolution_backward")


class Kernel:
    """Runs one operator on the CPU and hands its results to the device of its arguments."""

    def __init__(self, operator: Any) -> None:
        schema = operator._schema
        self.operator = operator
        self.positions = [i for i, a in enumerate(schema.arguments) if _holds_tensors(a)]
        self.names = {a.name for a in schema.arguments if a.kwarg_only and _holds_tensors(a)}
        self.outputs = [a.name for a in schema.arguments if a.is_out]
        self.written = [_written_argument(schema, r) for r in schema.returns]
        self.mixes_scalars = torch.Tag.pointwise in operator.tags or schema.name in _MIXERS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        index = self.device_of(args, kwargs)
        if self.outputs:
            return self.run_into_outputs(index, args, kwargs)
        result = self.operator(*_hosts(args), **_host_options(kwargs))
        if self.written and self.written[0] is not None:
            return self.written_arguments(args, kwargs)
        return result if index is None else _placed(result, index)

    def device_of(self, args: Any, kwargs: Any) -> int | None:
        """Return the practice device of all arguments, or raise torch's error if they differ."""
        tensors = list(_tensors((*args, *kwargs.values())))
        device = kwargs.get("device")
        if device is not None:
            return current(device)
        if not tensors:
            return None
        home = next(t.device for t in tensors if t.device.type == "practice")
        for t in tensors:
            if t.device != home and not (self.mixes_scalars and t.dim() == 0 and t.is_cpu):
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two "
                    f"devices, {home} and {t.device}!"
                )
        return home.index

    def written_arguments(self, args: Any, kwargs: Any) -> Any:
        names = [a.name for a in self.operator._schema.arguments]
        given = dict(zip(names, args, strict=False)) | kwargs
        found = tuple(given[name] for name in self.written)
        return found[0] if len(found) == 1 else found

    def run_into_outputs(self, index: Any, args: Any, kwargs: Any) -> Any:
        options = _host_options(kwargs)
        for name in self.outputs:
            options[name] = torch.empty(0, dtype=kwargs[name].dtype, device=CPU)
        self.operator(*_hosts(args), **options)
        for name in self.outputs:
            fill(kwargs[name], options[name])
        return self.written_arguments(args, kwargs)


_MIXERS = {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::copy_"}


def _holds_tensors(argument: Any) -> bool:
    return "Tensor" in str(argument.type)


def _written_argument(schema: Any, returned: Any) -> str | None:
    alias = returned.alias_info
    if alias is None or not alias.is_write:
        return None
    for a in schema.arguments:
        if a.alias_info is not None and a.alias_info.before_set == alias.before_set:
            return str(a.name)
    return None


def current(device: torch.device) -> int | None:
    """Return the index that `device` stands for; None if it is no practice device."""
    if device.type != "practice":
        return None
    return device.index or 0


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _host(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value if value.is_cpu else host_of(value)
    if isinstance(value, list | tuple):
        return [_host(item) for item in value]
    return value


def _hosts(args: Any) -> list[Any]:
    return [_host(a) for a in args]


def _host_options(kwargs: Any) -> dict[str, Any]:
    options = {name: _host(value) for name, value in kwargs.items()}
    if options.get("device") is not None:
        options["device"] = CPU
    return options


def _placed(result: Any, index: int) -> Any:
    if isinstance(result, torch.Tensor):
        return place(result, index)
    if isinstance(result, list | tuple):
        return type(result)(_placed(item, index) for item in result)
    return result


def fill(out: torch.Tensor, host: torch.Tensor) -> None:
    """Write a result into `out`, which takes its shape."""
    if out.shape == host.shape:
        host_of(out).copy_(host)
    else:
        adopt(out, place(host, out.device.index))


def adopt(tensor: torch.Tensor, source: torch.Tensor) -> None:
    """Let `tensor` stand for the memory and shape of `source`."""
    _set_storage(
        CPU_KEYS, tensor, source.untyped_storage(), source.storage_offset(), source.size(),
        source.stride(),
    )  # fmt: skip


def _view_kernel(operator: Any) -> Callable[..., Any]:
    redispatch = operator.redispatch
    return lambda *args, **kwargs: redispatch(CPU_KEYS, *args, **kwargs)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> Any:
    _host(target).copy_(_host(source))
    return target


def _set_source(tensor: torch.Tensor, storage: Any, *layout: Any) -> torch.Tensor:
    if not layout:
        layout = (0, (storage.nbytes() // tensor.element_size(),), (1,))
    _set_storage(CPU_KEYS, tensor, storage, *layout)
    return tensor


def _set_tensor(tensor: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    adopt(tensor, source)
    return tensor


def _set_nothing(tensor: torch.Tensor) -> torch.Tensor:
    adopt(tensor, place(torch.empty(0, dtype=tensor.dtype, device=CPU), tensor.device.index))
    return tensor


def _resize(tensor: torch.Tensor, size: Any, *, memory_format: Any = None) -> torch.Tensor:
    layout = torch.empty(size, dtype=tensor.dtype, device="meta", memory_format=memory_format)
    offset = tensor.storage_offset()
    needed = layout.untyped_storage().nbytes() + offset * tensor.element_size()
    storage = tensor.untyped_storage()
    if needed > storage.nbytes():
        host = torch.empty(needed, dtype=torch.uint8, device=CPU)
        old = host_of(torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(storage))
        host[: old.numel()] = old
        storage = place(host, tensor.device.index).untyped_storage()
    _set_storage(CPU_KEYS, tensor, storage, offset, layout.size(), layout.stride())
    return tensor


SPECIAL: dict[str, Callable[..., Any]] = {
    "_copy_from": _copy_from,
    "set_.source_Storage_storage_offset": _set_source,
    "set_.source_Storage": _set_source,
    "set_.source_Tensor": _set_tensor,
    "set_": _set_nothing,
    "resize_": _resize,
}


def _operator(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


def register() -> list[torch.library.Library]:
    """Give every operator that the CPU has to the practice devices; keep what is returned."""
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    library = torch.library.Library("aten", "IMPL")
    names = [n[6:] for n in torch._C._dispatch_get_all_op_names() if n.startswith("aten::")]
    for name in names:
        if name in SPECIAL:
            kernel = SPECIAL[name]
        elif name in VIEWS:
            kernel = _view_kernel(_operator(name))
        elif name in COMPOSITES or has(f"aten::{name}", "CPU"):
            kernel = Kernel(_operator(name))
        else:
            continue
        library.m.impl(name, "PrivateUse1", kernel, False)
    rest = torch.library.Library("_", "IMPL")
    kernels: dict[Any, Kernel] = {}

    def fallback(operator: Any, *args: Any, **kwargs: Any) -> Any:
        if operator not in kernels:
            kernels[operator] = Kernel(operator)
        return kernels[operator](*args, **kwargs)

    rest.fallback(fallback, "PrivateUse1")
    return [library, rest]
