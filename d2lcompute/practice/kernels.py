"""How torch's operators run on practice devices: on the CPU, over the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .checks import check_devices
from .memory import DEVICES
from .random import chosen, drawing_from
from .tensor import CPU, adopt, host_of, lent_to, place

_ELSEWHERE = -1  # where a CPU tensor, or one of another accelerator, is


class Kernel:
    """Runs one operator on the CPU and puts its results on the device of its arguments."""

    def __init__(self, operator: Any) -> None:
        schema = operator._schema
        kinds = [str(argument.type) for argument in schema.arguments]
        self.operator = operator
        self.run: Callable[..., Any] = operator._op
        self.run_with_numbers: Callable[..., Any] = operator.overloadpacket
        if torch._C._should_allow_numbers_as_tensors(schema.name.removeprefix("aten::")):
            self.run_with_numbers = self.run
        self.names = [argument.name for argument in schema.arguments]
        self.single = [i for i, kind in enumerate(kinds) if kind in ("Tensor", "Optional[Tensor]")]
        self.lists = [i for i, kind in enumerate(kinds) if "List[" in kind and "Tensor" in kind]
        self.outputs = [argument.name for argument in schema.arguments if argument.is_out]
        self.changes_first = [r.alias_info is not None for r in schema.returns] == [True]
        self.random = torch.Tag.nondeterministic_seeded in operator.tags
        self.plain = not self.random and not any(
            "Tensor" in kind or "Device" in kind
            for kind, argument in zip(kinds, schema.arguments, strict=True)
            if argument.kwarg_only
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.plain or torch._C._is_torch_function_mode_enabled():
            return self.general(args, kwargs)
        homes: set[int] = set()
        hosts = list(args)
        try:
            for position in self.single:
                value = args[position]
                if value is not None:
                    lent = value.untyped_storage().lent
                    homes.add(lent.index)
                    hosts[position] = lent.seen_as(value)
            for position in self.lists:
                hosts[position] = items = []
                for value in args[position]:
                    lent = value.untyped_storage().lent
                    homes.add(lent.index)
                    items.append(lent.seen_as(value))
        except (AttributeError, IndexError):
            return self.general(args, kwargs)
        if len(homes) != 1:
            return self.general(args, kwargs)
        result = self.run(*hosts, **kwargs)
        if self.changes_first:
            return args[0]
        home, = homes
        return place(result, home) if type(result) is Tensor else _placed(result, home)

    def general(self, args: Any, kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction():
            return self.compute(args, kwargs)

    def compute(self, args: Any, kwargs: Any) -> Any:
        """Return the operator's result for arguments on one practice device."""
        homes: set[int] = set()
        hosts, run = self.unwrap(args, homes)
        options = {name: _unwrapped(value, homes) for name, value in kwargs.items()}
        if len(homes) > 1:
            check_devices(self.operator, [*zip(self.names, args, strict=False), *kwargs.items()])
            homes.discard(_ELSEWHERE)
        home = homes.pop() if homes else None
        if options:
            home = _destination(options, home)
        if self.outputs:
            return self.write_outputs(run, hosts, options, kwargs)
        result = self.draw(hosts, options, home) if self.random else run(*hosts, **options)
        if self.changes_first:
            return args[0]
        return result if home is None else _placed(result, home)

    def unwrap(self, args: Any, homes: set[int]) -> tuple[list[Any], Callable[..., Any]]:
        """Return what the CPU takes for `args`, and what to call with it; add their devices."""
        hosts, run = list(args), self.run
        for position in self.single:
            if position < len(hosts) and hosts[position] is not None:
                if not isinstance(hosts[position], Tensor):
                    run = self.run_with_numbers
                hosts[position] = _unwrapped(hosts[position], homes)
        for position in self.lists:
            if position < len(hosts):
                hosts[position] = _unwrapped(hosts[position], homes)
        return hosts, run

    def draw(self, hosts: list[Any], options: dict[str, Any], home: int | None) -> Any:
        """Run an operator that takes random numbers, on the device's own."""
        if home is None:
            return self.run(*hosts, **options)
        if "generator" not in self.names:
            with drawing_from(home):
                return self.run(*hosts, **options)
        position = self.names.index("generator")
        given = hosts[position] if position < len(hosts) else options.get("generator")
        options["generator"] = chosen(given, home)
        return self.run(*hosts[:position], **options)

    def write_outputs(self, run: Any, hosts: list[Any], options: Any, kwargs: Any) -> Any:
        """Run an operator that writes its results where `out=` says."""
        outputs = [kwargs[name] for name in self.outputs]
        for name, out in zip(self.outputs, outputs, strict=True):
            options[name] = torch.empty(0, dtype=out.dtype, device=CPU)
        if self.random:
            self.draw(hosts, options, outputs[0].device.index)
        else:
            run(*hosts, **options)
        for name, out in zip(self.outputs, outputs, strict=True):
            _write(out, options[name])
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _unwrapped(value: Any, homes: set[int]) -> Any:
    if isinstance(value, Tensor):
        lent = lent_to(value)
        homes.add(_ELSEWHERE if lent is None else lent.index)
        return value if lent is None else lent.seen_as(value)
    if isinstance(value, list | tuple):
        return [_unwrapped(item, homes) for item in value]
    return value


def _destination(options: dict[str, Any], home: int | None) -> int | None:
    """Return the practice device that the option `device` asks for, and ask the CPU instead."""
    device = options.get("device")
    if device is None:
        return home
    if device.type != "practice":
        return None
    options["device"] = CPU
    return DEVICES.current if device.index is None else int(device.index)


def _placed(result: Any, home: int) -> Any:
    if isinstance(result, Tensor):
        return place(result, home)
    if isinstance(result, list | tuple):
        return type(result)(_placed(item, home) for item in result)
    return result


def _write(out: Tensor, host: Tensor) -> None:
    if out.shape == host.shape:
        host_of(out).copy_(host)
    else:
        new = place(host, out.device.index)
        adopt(out, new.untyped_storage(), 0, host.shape, host.stride())
