"""Deferred initialization: orders that wait on a module until its lazy parameters have shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.utils.hooks import RemovableHandle

from ..parameters.names import Entry

Act = Callable[[Tensor], object]


@dataclass(frozen=True)
class Order:
    """How one parameter gets its values, now or later; `announce` says so, if anybody asked.

    `key` is the same for the names of one parameter. Both functions must survive a pickle: a
    module takes its orders along.
    """

    key: str
    fill: Act
    announce: Act | None = None

    def carry_out(self, parameter: Tensor) -> None:
        """Write the values, and say so."""
        self.fill(parameter.detach())
        if self.announce:
            self.announce(parameter)


class Deferral:
    """The orders for the lazy parameters of one module, carried out when it is first called.

    torch sizes and fills what is lazy in a forward pre-hook: `note` runs before it, `act` after.
    Other libraries do so in `forward`, after which `fill_again` runs.
    Being hooks of the module, they go where it goes: into copies, pickles and to other devices.
    """

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.due: set[str] = set()
        self.filled: dict[str, tuple[Order, int]] = {}  # in `forward`, and at which version
        self.handles: list[RemovableHandle] = []

    def note(self, module: nn.Module, inputs: object) -> None:
        """Drop what got its values in another way: by `load_state_dict`, or through a tie."""
        held = dict(module.named_parameters(remove_duplicate=False))
        self.due |= {name for name in self.orders if name in held and is_lazy(held[name])}
        self.orders = {name: order for name, order in self.orders.items() if name in self.due}

    def act(self, module: nn.Module, inputs: object) -> None:
        """Fill what has a shape by now; the rest will be sized by `forward` itself."""
        for name in list(self.orders):
            parameter = module.get_parameter(name)
            if isinstance(parameter, UninitializedParameter):
                self._arm(name, parameter)
            else:
                self._carry_out(name, parameter)
        self._end_if_done()

    def fill_again(self, module: nn.Module, *_: object) -> None:
        """Fill once more what `forward` has sized and then given values of its own."""
        for name, (order, version) in self.filled.items():
            parameter = module.get_parameter(name)
            if parameter._version != version:
                order.fill(parameter.detach())
        self.filled.clear()
        self._end_if_done()

    def silence(self) -> None:
        """Let nothing be said when the orders are carried out."""
        self.orders = {name: Order(o.key, o.fill) for name, o in self.orders.items()}

    def _arm(self, name: str, parameter: UninitializedParameter) -> None:
        def materialize(*args: Any, **kwargs: Any) -> None:
            del vars(parameter)["materialize"]
            parameter.materialize(*args, **kwargs)
            order = self._carry_out(name, parameter)
            self.filled[name] = order, parameter._version

        vars(parameter)["materialize"] = materialize

    def _carry_out(self, name: str, parameter: Tensor) -> Order:
        order = self.orders[name]
        order.carry_out(parameter)
        del self.orders[name]  # not before: if it fails, it is tried again
        return order

    def _end_if_done(self) -> None:
        if not self.orders and not self.filled:
            for handle in self.handles:
                handle.remove()


def defer(order: Order, modules: Mapping[str, nn.Module], entry: Entry) -> None:
    """Let `order` wait on the innermost module around the parameter that is called.

    `modules` are all modules of the net by name. A later order takes the place of an earlier one.
    """
    path, name = entry.name.rpartition(".")[0], entry.leaf
    while path and type(modules[path]).forward is nn.Module.forward:  # as in a ParameterList
        path, _, last = path.rpartition(".")
        name = f"{last}.{name}"
    module = modules[path]
    waiting = deferral_of(module)
    if waiting is None:
        waiting = Deferral()
        waiting.handles = [
            module.register_forward_pre_hook(waiting.note, prepend=True),
            module.register_forward_pre_hook(waiting.act),
            module.register_forward_hook(waiting.fill_again),
        ]
    elif any(o.key == order.key and n != name for n, o in waiting.orders.items()):
        return  # one parameter under two names of one module
    waiting.orders[name] = order


def deferral_of(module: nn.Module) -> Deferral | None:
    """Return what waits on a module."""
    held = (getattr(hook, "__self__", None) for hook in module._forward_pre_hooks.values())
    return next((one for one in held if isinstance(one, Deferral)), None)
