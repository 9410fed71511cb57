"""How torch's operators run on practice devices: on the CPU, over the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from .devices import DEVICES, chosen, drawing_from
from .tensor import CPU, Lent, adopt, host_of, place, place_sparse, sparse_host_of, write_sparse

_ELSEWHERE = -1  # where a tensor of no practice device is
_CPU_AUTOCAST = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
_listening = torch._C._is_torch_function_mode_enabled
_autocasting = partial(torch.is_autocast_enabled, "cpu")
_PLAIN = frozenset({Tensor, Parameter})  # classes whose methods nothing intercepts

# Beside the operators that torch tags as elementwise, these word their error like them, and take a
# CPU tensor without dimensions for a practice tensor.
_ELEMENTWISE = ("aten::fill_", "aten::masked_fill", "aten::mse_loss", "aten::smooth_l1_loss",
                "aten::huber_loss", "aten::_foreach", "aten::_fused")  # fmt: skip


class Kernel:
    """Runs one operator on the CPU and puts its results on the device of its arguments.

    `find` returns the operator, and is called at the first run: of 1,500 few are ever run.
    """

    operator: Any = None
    simple = False  # before that the general way is taken

    def __init__(self, find: Callable[[], Any]) -> None:
        self.find = find

    def look_up(self) -> None:
        """Note what there is to know about the operator."""
        operator = self.find()
        schema = operator._schema
        kinds = [str(argument.type) for argument in schema.arguments]
        self.run: Callable[..., Any] = operator._op
        self.names = [argument.name for argument in schema.arguments]
        tensors = [i for i, kind in enumerate(kinds) if "Tensor" in kind]
        self.single = [i for i in tensors if "List[" not in kinds[i]]
        self.places = [[i for i in tensors if i < n] for n in range(len(kinds) + 1)]
        self.outputs = [argument.name for argument in schema.arguments if argument.is_out]
        self.changes_first = [r.alias_info is not None for r in schema.returns] == [True]
        self.random = torch.Tag.nondeterministic_seeded in operator.tags
        self.special = frozenset(
            argument.name
            for argument, kind in zip(schema.arguments, kinds, strict=True)
            if argument.kwarg_only and ("Tensor" in kind or "Device" in kind)
        )
        self.operator = operator
        self.simple = not self.random and "sparse" not in schema.name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the operator; anything unusual goes the general way."""
        if not self.simple or _listening() or _autocasting():
            return self.general(args, kwargs)
        if kwargs and not self.special.isdisjoint(kwargs):
            return self.general(args, kwargs)
        try:
            hosts, home = _hosts(args, self.places[len(args)])
        except (AttributeError, RuntimeError, TypeError):
            home = _ELSEWHERE
        if home == _ELSEWHERE:
            return self.general(args, kwargs)
        result = self.run(*hosts, **kwargs)
        if self.changes_first:
            return args[0]
        return place(result, home) if type(result) is Tensor else _placed(result, home)

    def general(self, args: Any, kwargs: Any) -> Any:
        """Run the operator on tensors of one device, or raise torch's error if there are more."""
        if self.operator is None:
            self.look_up()
        # Neither what listens to Python's calls nor the CPU's autocast has a part in this.
        with torch._C.DisableTorchFunction(), torch._C._ExcludeDispatchKeyGuard(_CPU_AUTOCAST):
            homes: set[int] = set()
            hosts = [_unwrapped(value, homes) for value in args]
            options = {name: _unwrapped(value, homes) for name, value in kwargs.items()}
            if len(homes) > 1:
                named = [*zip(self.names, args, strict=False), *kwargs.items()]
                _check_devices(self.operator, named)
                homes.discard(_ELSEWHERE)
            home = _destination(options, homes)
            if self.outputs:
                return self.write(hosts, options, kwargs)
            result = self.compute(hosts, options, home)
            if self.changes_first:
                if args[0].layout is not torch.strided:
                    write_sparse(args[0], hosts[0])
                return args[0]
            return result if home is None else _placed(result, home)

    def compute(self, hosts: list[Any], options: dict[str, Any], home: int | None) -> Any:
        """Return the result for CPU tensors, with the random numbers of the device."""
        if not self.random or home is None:
            return self.callable_for(hosts)(*hosts, **options)
        if "generator" not in self.names:
            with drawing_from(home):
                return self.run(*hosts, **options)
        position = self.names.index("generator")
        given = hosts[position] if position < len(hosts) else options.get("generator")
        options["generator"] = chosen(given, home)
        return self.callable_for(hosts)(*hosts[:position], **options)

    def callable_for(self, hosts: list[Any]) -> Callable[..., Any]:
        """Return what takes these arguments: numbers may stand where this overload has tensors."""
        for position in self.single:
            if position < len(hosts) and isinstance(hosts[position], int | float | complex):
                packet: Callable[..., Any] = self.operator.overloadpacket
                return packet
        return self.run

    def write(self, hosts: list[Any], options: dict[str, Any], kwargs: Any) -> Any:
        """Run an operator that puts its results where `out=` says."""
        outputs = [kwargs[name] for name in self.outputs]
        for name in self.outputs:  # not at once into the bytes of `out`: the CPU may move them
            options[name] = torch.empty_like(options[name])
        self.compute(hosts, options, outputs[0].device.index)
        for name, out in zip(self.outputs, outputs, strict=True):
            _write(out, options[name])
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _hosts(values: Any, places: Iterable[int]) -> tuple[list[Any], int]:
    """Return what the CPU takes for plain tensors of one device, and which; raise for others.

    `places` are the positions of tensors and of lists of tensors.
    """
    hosts, home = list(values), _ELSEWHERE
    for i in places:
        value = hosts[i]
        if type(value) in _PLAIN:
            lent: Lent = value.untyped_storage().lent
            hosts[i], index = lent.seen_as(value), lent.index
        elif type(value) is list:
            hosts[i], index = _hosts(value, range(len(value)))
        elif value is None:
            continue
        else:
            raise TypeError
        if index != home:
            if home != _ELSEWHERE and index != _ELSEWHERE:
                raise TypeError
            home = max(home, index)
    return hosts, home


def _unwrapped(value: Any, homes: set[int]) -> Any:
    """Return what the CPU takes for `value`, and add where that lives to `homes`."""
    if isinstance(value, list | tuple):
        return [_unwrapped(item, homes) for item in value]
    if not isinstance(value, Tensor):
        return value
    if value.device.type != "practice":
        homes.add(_ELSEWHERE)
        return value
    homes.add(value.device.index)
    return host_of(value) if value.layout is torch.strided else sparse_host_of(value)


def _destination(options: dict[str, Any], homes: set[int]) -> int | None:
    """Return where a result goes, None for another device; turn the option `device` to the CPU."""
    device = options.get("device")
    if device is None:
        return homes.pop() if homes else None
    if device.type != "practice":
        return None
    options["device"] = CPU
    return DEVICES.current if device.index is None else int(device.index)


def _placed(result: Any, home: int) -> Any:
    if isinstance(result, Tensor):
        if result.layout is torch.strided:
            return place(result, home)
        return place_sparse(result, home)
    if isinstance(result, list | tuple):
        return type(result)([_placed(item, home) for item in result])
    return result


def _write(out: Tensor, host: Tensor) -> None:
    if out.layout is not torch.strided:
        write_sparse(out, host)
    elif out.shape == host.shape:
        host_of(out).copy_(host)
    else:
        new = place(host, out.device.index)
        adopt(out, new.untyped_storage(), 0, host.shape, host.stride())


def _check_devices(operator: Any, named: Iterable[tuple[str, Any]]) -> None:
    """Raise torch's error if the arguments of an operator may not be combined.

    `named` are the arguments with their names; lists count item by item.
    """
    tensors = [(name, t) for name, value in named for t in _tensors(value)]
    name = operator._schema.name
    if name == "aten::index" or name.startswith("aten::_index_put_impl"):
        _check_indices(tensors)
    elif name.startswith("aten::convolution"):
        _check_convolution(tensors)
    elif torch.Tag.pointwise in operator.tags or name.startswith(_ELEMENTWISE):
        _check_elementwise([t for _, t in tensors])
    else:
        _check_arguments(name, tensors)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _check_elementwise(tensors: list[Tensor]) -> None:
    common = next(t.device for t in tensors if not t.is_cpu)
    for t in tensors:
        if t.device != common and not (t.is_cpu and t.dim() == 0):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{common} and {t.device}!"
            )


def _check_arguments(operator: str, tensors: list[tuple[str, Tensor]]) -> None:
    common = tensors[0][1].device
    for name, t in tensors:
        if t.device != common:
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but got {name} is on {t.device}, "
                f"different from other tensors on {common} (when checking argument in method "
                f"wrapper_practice_{operator.removeprefix('aten::')})"
            )


def _check_indices(tensors: list[tuple[str, Tensor]]) -> None:
    home = tensors[0][1].device
    for name, t in tensors:
        if name == "indices" and not t.is_cpu and t.device != home:
            raise RuntimeError(
                "indices should be either on cpu or on the same device as the indexed tensor "
                f"({home})"
            )
    _check_elementwise([t for name, t in tensors if name != "indices"])


def _check_convolution(tensors: list[tuple[str, Tensor]]) -> None:
    found = dict(tensors)
    data, weight = found["input"], found["weight"]
    if data.device.type != weight.device.type:
        raise RuntimeError(
            f"Input type ({data.type()}) and weight type ({weight.type()}) should be the same"
        )
    _check_arguments("convolution", tensors)
