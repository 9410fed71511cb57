"""What runs in a forward pass, as it runs: calls of blocks, functional steps, FLOPs, data flow."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..parameters.names import Shape
from .flops import FlopCounter
from .hooks import Function, hooked
from .steps import step_name, writes_or_reads_values

_PLAIN = {type(None), int, float, bool, str, slice}


@dataclass(eq=False, slots=True)
class Event:
    """One call of a block, or one functional step that a block ran (`block` is None)."""

    parent: Event | None
    block: nn.Module | None = None
    name: str = ""
    inputs: tuple[Shape, ...] = ()
    sources: tuple[Event | None, ...] = ()  # None: a parameter or a constant
    ports: tuple[int, ...] = ()  # which of what its source made each input is
    held: tuple[int, ...] = ()  # ids of the inputs that nothing made, 0 for the others
    outputs: tuple[Shape, ...] = ()
    origins: tuple[Event | None, ...] = ()  # what inside made each output
    parameters: frozenset[int] = frozenset()  # ids of those that it read itself
    value: bool | int | float | None = None  # what a step that reads values gave
    flops: int = 0
    failed: bool = True
    first_inside: int = 0  # where in the list of events those inside a block begin
    has_blocks: bool = False


class _Made(weakref.ref[Tensor]):
    """A tensor, as long as it is alive, what made it, and which of the things made it is."""

    __slots__ = ("maker", "port")
    maker: Event
    port: int


class _Functions(TorchFunctionMode):
    """Let `run` call each function of torch."""

    def __init__(self, run: Callable[[Function, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self._run = run

    def __torch_function__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return self._run(func, args, kwargs or {})


class Recorder:
    """Record what runs inside `with recorder:` on this thread, also if it raises.

    `parameters` are the ids of those to watch, `inputs` the tensors that the net takes.
    """

    def __init__(self, parameters: Container[int], inputs: list[Tensor]) -> None:
        self.events: list[Event] = []
        self._parameters = parameters
        self._inputs = inputs
        self._makers: dict[int, _Made] = {}  # by the id of the tensor, which is used again later
        self._shapes: dict[tuple[Shape, ...], tuple[Shape, ...]] = {}
        self._block: Event | None = None  # the innermost that is running
        self._user: Event | None = None  # that or a step of it
        self._counter = FlopCounter(self._see)
        self._exits = ExitStack()

    def __enter__(self) -> Recorder:
        with ExitStack() as exits:
            exits.enter_context(hooked(self._enter_block, self._leave_block))
            exits.enter_context(self._counter)
            exits.enter_context(_Functions(self._run_step))
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()

    def _run_step(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs = tensors_in((args, kwargs))
        step = self._user = Event(self._block, flops=-self._counter.total)
        self._read(inputs)
        try:
            result = func(*args, **kwargs)
        except Exception:
            self._start(step, step_name(func, args), inputs)
            raise
        finally:
            self._user = self._block
            step.flops += self._counter.total
        outputs = tensors_in(result)
        if outputs or writes_or_reads_values(func):
            self._start(step, step_name(func, args), inputs)
            self._finish(step, outputs or inputs[:1])
            step.value = result if isinstance(result, bool | int | float) else None
        return result

    def _enter_block(self, block: nn.Module, args: tuple[Any, ...]) -> None:
        event = Event(self._block, block, flops=-self._counter.total)
        self._start(event, type_name(block), tensors_in(args) if self._block else self._inputs)
        event.first_inside = len(self.events)
        if self._block:
            self._block.has_blocks = True
        else:
            self._made(self._inputs, event)
        self._block = self._user = event

    def _leave_block(self, block: nn.Module, args: Any, *rest: Any) -> None:
        event = self._block
        while event and event.block is not block:  # those that `forward` raised out of
            event = event.parent
        if event is None:
            return
        self._block = self._user = event.parent
        event.flops += self._counter.total
        if not event.has_blocks and type(block).__module__.startswith("torch.nn."):
            self._hide_inside(event)
        if len(rest) == 2:  # with one thing only, None, `forward` has raised
            kwargs, result = rest
            self._connect(event, tensors_in(kwargs) if event.parent else [])
            self._finish(event, tensors_in(result))

    def _hide_inside(self, event: Event) -> None:
        """Drop the steps of one of torch's own layers, which would be noise."""
        for step in self.events[event.first_inside :]:
            event.parameters |= step.parameters
        del self.events[event.first_inside :]

    def _start(self, event: Event, name: str, inputs: list[Tensor]) -> None:
        event.name = name
        self._connect(event, inputs)
        self.events.append(event)

    def _connect(self, event: Event, inputs: list[Tensor]) -> None:
        made = [self._making(tensor) for tensor in inputs]
        event.inputs += self._shapes_of(inputs)
        event.sources += tuple([found.maker if found else None for found in made])
        event.ports += tuple([found.port if found else 0 for found in made])
        event.held += tuple(
            [0 if found else id(tensor) for found, tensor in zip(made, inputs, strict=True)]
        )

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
        made = [self._making(tensor) for tensor in outputs]
        event.origins = tuple([found.maker if found else None for found in made])
        self._made(outputs, event)

    def _made(self, tensors: list[Tensor], event: Event) -> None:
        for port, tensor in enumerate(tensors):
            self._makers[id(tensor)] = made = _Made(tensor)
            made.maker, made.port = event, port

    def _read(self, tensors: Iterable[Any]) -> None:
        found = [id(tensor) for tensor in tensors if id(tensor) in self._parameters]
        if found and self._user:
            self._user.parameters |= frozenset(found)

    def _see(self, arguments: tuple[Any, ...]) -> None:
        """Note what an operator reads that no function of torch called, as in compiled blocks."""
        if self._user is self._block:
            self._read(arguments)


def tensors_in(value: Any) -> list[Tensor]:
    """Return every tensor in a nest of sequences, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    _collect(value, found)
    return found


def _collect(nest: Any, found: list[Tensor]) -> None:
    if isinstance(nest, tuple | list):
        values: Iterable[Any] = nest
    elif isinstance(nest, dict):
        values = nest.values()
    elif is_dataclass(nest) and not isinstance(nest, type):
        values = [getattr(nest, item.name) for item in fields(nest)]
    else:
        return
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif type(value) not in _PLAIN:
            _collect(value, found)


def shape(tensor: Tensor) -> Shape:
    """Return the shape as a plain tuple, `(None,)` where there is none yet or no regular one."""
    try:
        return tuple(tensor.shape)
    except RuntimeError:
        return (None,)


def type_name(block: nn.Module) -> str:
    """Return the name of the class, that of the original for a scripted block."""
    return str(getattr(block, "original_name", type(block).__name__))
