"""What runs in a forward pass, as it runs: calls of blocks, functional steps, FLOPs, data flow."""

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from operator import itemgetter
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._C._autograd import _get_sequence_nr
from torch.autograd.graph import Node
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from ..parameters.names import Shape
from .event import (
    Event,
    Statistics,
    can_be_read,
    shape,
    statistics,
    step_name,
    type_name,
    writes_or_reads_values,
)
from .flops import Flops, formula_of, is_no_product
from .hooks import Functions, Operators, Run, hooked, outermost
from .keep import Writes, written_by
from .memory import Memory, can_watch, gives_a_view, storage_of
from .registered import Registered, without_making
from .values import tensors_in


class _Made(weakref.ref[Tensor]):
    """A tensor, as long as it is alive, what made it, and which of the things made it is."""

    __slots__ = ("maker", "port")
    maker: Event
    port: int


class _Operator:
    """What an operator has to be looked at for: most of them for little, and again and again."""

    __slots__ = ("computes", "makes", "writes")

    def __init__(self, func: Any) -> None:
        self.writes = bool(written_by(func))
        self.computes = formula_of(func) is not None or not is_no_product(func)
        self.makes = not gives_a_view(func)


class Watcher(Protocol):
    """Who is shown more than a recorder keeps."""

    def see(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], block: nn.Module | None
    ) -> None:
        """Look at a function of torch before `block` runs it."""

    def left(self, event: Event, given: list[Tensor], made: list[Tensor]) -> None:
        """Look at what a block was given and has made, as it returns."""


class Recorder:
    """Record what a call of a net runs on this thread, also if it raises.

    `inputs` are the tensors that the net takes, `watched` those whose reading is noted. `writes` is
    told what is about to be written to. `registered` is what `forward` adds to the net, the
    making of which is no step. `steps` asks for functions that blocks call themselves, for
    FLOPs and for memory, `values` for statistics of all outputs and of the gradients that come to
    them, `saves` for what autograd keeps. `compute` runs the operators. `autocast` tells whether it
    was on, for this type of `device`, while a function ran. `failure` is the innermost call that
    raised, if the net did.
    """

    def __init__(
        self,
        inputs: list[Tensor],
        watched: Sequence[Tensor] = (),
        *,
        writes: Writes | None = None,
        steps: bool = True,
        values: bool = False,
        saves: bool = True,
        compute: Run | None = None,
        device: str | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.events: list[Event] = []
        self.failure: Event | None = None
        self.error: Exception | None = None
        self.inputs = inputs
        self.registered = Registered(watched, self._note_registered)
        self._watched = {id(tensor) for tensor in watched}
        self._weights = {storage_of(t) for t in watched if not is_lazy(t) and t.dim() > 1} - {0}
        self._writes = writes
        self._steps, self._values = steps, values
        self.saves = saves
        self._compute = compute
        self._device, self.autocast = device, False
        self.watcher = watcher
        self.flops, self.backward_flops = Flops(), Flops()
        self.memory = Memory([*inputs, *watched])
        self._handles: list[RemovableHandle] = []
        self._marks: list[tuple[int, Event | None]] = [(0, None)]  # who runs from which node on
        self._makers: dict[int, _Made] = {}  # by the id of the tensor, which is used again later
        self._shapes: dict[tuple[Shape, ...], tuple[Shape, ...]] = {}
        self._operators: dict[Any, _Operator] = {}
        self._block: Event | None = None  # the innermost that is running
        self._user: Event | None = None  # that or a step of it

    def call(self, net: nn.Module, args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
        """Return what the net gives; an error that ends the pass is kept in `error`."""
        see_operators = self._writes or self._steps or self._compute
        see_functions = self._writes or self._steps or self.watcher
        self.saves = self.saves and can_watch()
        self._around = torch._C._len_torch_dispatch_stack()
        try:
            with (
                hooked(self._enter_block, self._leave_block),
                self.registered.watching(),
                Operators(self._run_operator) if see_operators else nullcontext(),
                Functions(self._run_function) if see_functions else nullcontext(),
                self.memory.watching() if self._steps and self.saves else nullcontext(),
            ):
                return net(*args, **kwargs)
        except Exception as error:
            self.error = error
            return None
        finally:
            self.memory.end()
            self.registered.find_names(net)
            if self.registered:
                self.events = without_making(self.events, {*self.registered})

    def at(self, node: Node) -> Event | None:
        """Return the innermost call that a node of the graph of autograd was made in.

        Torch numbers the nodes in the order of their making, so the number that comes next when a
        call begins and ends tells its nodes from those of others.
        """
        return self._marks[bisect_right(self._marks, node._sequence_nr(), key=itemgetter(0)) - 1][1]

    @contextmanager
    def watching_backward(self) -> Iterator[None]:
        """Count the FLOPs of a backward pass inside, for the calls whose nodes it goes through."""
        with Operators(self._run_backward):
            yield

    def release(self) -> None:
        """Look at no more gradients: a tensor that was there before keeps its hooks."""
        for handle in self._handles:
            handle.remove()

    def _run_backward(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = func(*args, **kwargs)
        before = self.backward_flops.total
        self.backward_flops.count(func, args, kwargs, result, self._weights)
        node = torch._C._current_autograd_node()
        event = self.at(node) if node and self.backward_flops.total > before else None
        while event:
            event.backward_flops += self.backward_flops.total - before
            event = event.parent
        return result

    def _run_operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        known = self._operators.get(func) or self._operators.setdefault(func, _Operator(func))
        if known.writes and self._writes:
            self._writes.before_operator(func, args, kwargs)
        with torch._C.DisableTorchFunction():  # or compiled blocks would show their operators
            result = self._compute(func, args, kwargs) if self._compute else func(*args, **kwargs)
            if self._steps:
                if known.computes:
                    self.flops.count(func, args, kwargs, result, self._weights)
                if known.makes:
                    self.memory.note(func, result, (args, kwargs))
                if self._block and self._user is self._block and not self._block.is_leaf:
                    self._read(args)  # no function of torch called it: in compiled blocks
        return result

    def _run_function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._writes:
            self._writes.before_function(func, args)
        if self.watcher:
            with torch._C.DisableTorchFunction(), outermost(self._around):
                self.watcher.see(func, args, kwargs, self._block.block if self._block else None)
        if not self._steps:
            return func(*args, **kwargs)
        if self._device and not self.autocast:
            self.autocast = torch.is_autocast_enabled(self._device)
        if self._block and self._block.is_leaf:
            return self._run_inside(func, args, kwargs)
        return self._run_step(func, args, kwargs)

    def _run_inside(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a function in one of torch's own layers, where it is not shown."""
        try:
            result = func(*args, **kwargs)
        except Exception:
            self._read(_given(args, kwargs))
            raise
        if isinstance(result, Tensor) or tensors_in(result):
            inputs = _given(args, kwargs)
            self._read(inputs)
            self._take(inputs)
        return result

    def _run_step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = _given(args, kwargs)
        step = self._user = self._begun(None)
        self._read(inputs)
        try:
            result = func(*args, **kwargs)
        except Exception:
            self._start(step, step_name(func, args), inputs)
            raise
        finally:
            self._user = self._block
            self._end(step)
        outputs = tensors_in(result)
        if outputs or writes_or_reads_values(func):
            self._start(step, step_name(func, args), inputs)
            self._finish(step, outputs or inputs[:1])
            step.value = result if isinstance(result, bool | int | float) else None
        return result

    def _enter_block(self, block: nn.Module, args: tuple[Any, ...]) -> None:
        self.registered.enter(block)
        event = self._begun(block)
        event.is_of_torch = type(block).__module__.startswith("torch.nn.")
        event.is_leaf = event.is_of_torch and not block._modules
        self._start(event, type_name(block), tensors_in(args) if self._block else self.inputs)
        event.first_inside = len(self.events)
        if self._block:
            self._block.has_blocks = True
        else:
            self._made(self.inputs, event)
        self._block = self._user = event

    def _leave_block(self, block: nn.Module, args: Any, *rest: Any) -> None:
        event = self._block
        while event and event.block is not block:  # those that `forward` raised out of
            event = event.parent
        if event is None:
            return
        self._block = self._user = event.parent
        self._end(event)
        if event.is_of_torch and not event.has_blocks and len(self.events) > event.first_inside:
            self._hide_inside(event)
        if len(rest) < 2:  # with one thing only, None, `forward` has raised
            self.failure = self.failure or event
            return
        self.failure = None
        kwargs, result = rest
        given, outputs = tensors_in(kwargs) if kwargs else [], tensors_in(result)
        if given and event.parent:
            self._connect(event, given)
        if event.taken and event.parent:
            self._connect_taken(event, event.taken)
        self._finish(event, outputs)
        if self.watcher:
            with outermost(self._around):
                self.watcher.left(event, [*tensors_in(args), *given], outputs)

    def _hide_inside(self, event: Event) -> None:
        """Drop the steps of one of torch's own layers, which would be noise."""
        hidden = dict.fromkeys(self.events[event.first_inside :])
        del self.events[event.first_inside :]
        event.taken = {}
        for step in hidden:
            event.parameters |= step.parameters
            links = zip(step.sources, step.ports, step.inputs, strict=True)
            event.taken |= {(s, port): size for s, port, size in links if s and s not in hidden}

    def _begun(self, block: nn.Module | None) -> Event:
        """Return an event that costs what will have been spent when it ends."""
        event = Event(self._block, block)
        event.flops, event.kept = -self.flops.total, -self.memory.kept
        event.first_made = self.memory.made
        self._marks.append((_get_sequence_nr(), event))
        return event

    def _end(self, event: Event) -> None:
        event.flops += self.flops.total
        event.kept += self.memory.kept
        self._marks.append((_get_sequence_nr(), event.parent))

    def _start(self, event: Event, name: str, inputs: list[Tensor]) -> None:
        event.name = name
        self._connect(event, inputs)
        self.events.append(event)

    def _connect(self, event: Event, inputs: list[Tensor]) -> None:
        event.inputs += self._shapes_of(inputs)
        if self._steps:
            for tensor in inputs:
                made = self._making(tensor)
                event.sources += (made.maker if made else None,)
                event.ports += (made.port if made else 0,)
                event.held += (0 if made else id(tensor),)

    def _connect_taken(self, event: Event, taken: Mapping[tuple[Event, int], Shape]) -> None:
        """Count what a block of torch has read of the pass without its being an argument."""
        known = set(zip(event.sources, event.ports, strict=True))
        for (source, port), size in taken.items():
            if (source, port) not in known:
                event.inputs += (size,)
                event.sources += (source,)
                event.ports += (port,)
                event.held += (0,)

    def _shapes_of(self, tensors: list[Tensor]) -> tuple[Shape, ...]:
        """Return the shapes, the same object for the same ones: there are few, and many calls."""
        shapes = tuple([shape(tensor) for tensor in tensors])
        return self._shapes.setdefault(shapes, shapes)

    def _making(self, tensor: Tensor) -> _Made | None:
        made = self._makers.get(id(tensor))
        return made if made and made() is tensor else None

    def _finish(self, event: Event, outputs: list[Tensor]) -> None:
        event.failed = False
        event.outputs = self._shapes_of(outputs)
        if self._steps:
            inside = event if event.is_leaf else None
            made = [self._making(tensor) for tensor in outputs]
            event.origins = tuple([found.maker if found else inside for found in made])
            event.bytes = self.memory.bytes_since(event.first_made, outputs)
            self._made(outputs, event)
        if self._values:
            self._look_at(event, outputs)

    def _look_at(self, event: Event, outputs: list[Tensor]) -> None:
        """Keep statistics of the outputs, and of the gradients when they come."""
        event.values = tuple([self._statistics(tensor) for tensor in outputs])
        found: list[Statistics | None] = [None] * len(outputs)
        event.gradients = found
        for port, tensor in enumerate(outputs):
            if tensor.requires_grad and can_be_read(tensor):
                note = partial(self._note_gradient, found, port)
                self._handles.append(tensor.register_hook(note))

    def _note_gradient(self, found: list[Statistics | None], port: int, gradient: Tensor) -> None:
        found[port] = self._statistics(gradient)

    def _statistics(self, tensor: Tensor) -> Statistics | None:
        with outermost(self._around):  # what is computed here is our own, and no step of the net
            return statistics(tensor)

    def _made(self, tensors: list[Tensor], event: Event) -> None:
        for port, tensor in enumerate(tensors):
            if not any(event.sources) and tensor in self.registered:
                continue  # first values of a parameter, which is still one that nothing made
            self._makers[id(tensor)] = made = _Made(tensor)
            made.maker, made.port = event, port

    def _note_registered(self, tensor: Tensor) -> None:
        """Take a tensor that the net holds from now on for one that it has held before."""
        made = self._making(tensor)
        if made and not made.maker.inputs:
            del self._makers[id(tensor)]
        if isinstance(tensor, nn.Parameter):
            self._watched.add(id(tensor))
            if not is_lazy(tensor):
                self._note_sized(tensor)

    def _take(self, tensors: Iterable[Tensor]) -> None:
        """Note what the block that runs reads of the pass, its arguments by place apart."""
        block = self._block
        if block is None:
            return
        for tensor in tensors:
            made = self._making(tensor)
            if made and (made.maker, made.port) not in zip(block.sources, block.ports, strict=True):
                block.taken = block.taken or {}
                block.taken[made.maker, made.port] = shape(tensor)

    def _note_sized(self, tensor: Tensor) -> None:
        self.memory.leave_out(tensor)
        if tensor.dim() > 1:
            self._weights |= {storage_of(tensor)} - {0}

    def _read(self, tensors: Iterable[Any]) -> None:
        found = [id(tensor) for tensor in tensors if id(tensor) in self._watched]
        for tensor in self.registered.sized(found) if found else ():
            self._note_sized(tensor)
        if found and self._user:
            self._user.parameters |= frozenset(found)


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    return tensors_in((args, kwargs) if kwargs else args)
