"""What is put back after a look at a net: everything that a pass may have changed."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from ..parameters.memory import PLAIN
from ..parameters.names import OWN, tensors_of, walk
from .deferred import deferral_of
from .hooks import Functions, Operators
from .memory import gives_new_memory, storage_of
from .random_states import generator_state, is_function_of, random_states_kept, run_torch_alone
from .values import contents, slots_of, tensors_in

CONTAINERS = {dict, OrderedDict, list, set}
_HOLDERS = {*CONTAINERS, tuple}
_LAYERS = "torch.nn.", f"{__package__}."  # whose functions call no others
_ORDINARY = {"torch", "collections", "types", "random", "numpy"}
_PLAIN = {
    type(None), bool, int, float, complex, str, bytes,
    torch.dtype, torch.device, torch.Size, RemovableHandle,
}  # fmt: skip
# Functions that hand out the memory itself, to be written to unseen.
_EXPOSING = {"numpy", "__array__", "__dlpack__"}


@contextmanager
def dry_run(net: nn.Module, *values: Any) -> Iterator[None]:
    """Leave no trace of what a forward or backward pass inside the block does to `net`.

    >>> net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    >>> with d2c.lazy.dry_run(net):
    ...     net.eval()(torch.rand(2, 3)).sum().backward()
    >>> net.training, net[0].weight.grad, net[1].num_batches_tracked
    (True, None, tensor(0))

    Values of parameters and buffers, gradients, `requires_grad`, training modes, hooks, attributes,
    the grad mode and the random states of torch, Python and numpy are afterwards what they were,
    also when the block raises. So are all tensors that were there before, such as the batch, and
    what `values` hold: dicts, lists and objects that the pass may take apart. Inside, every
    gradient starts as None. Nothing is copied but what is written to. A lazy layer keeps the shape
    that it learns, and its first values.
    """
    with kept(net, values, strangers=True, learns=True) as writes, writes.watching():
        yield


@contextmanager
def kept(
    net: nn.Module, values: Iterable[Any] = (), *, strangers: bool = False, learns: bool = False
) -> Iterator[Writes]:
    """Put back what the block does to `net` and `values`, if it tells `Writes` what it runs.

    With `strangers` this goes for all tensors that were not made inside. If the net `learns`, all
    parameters of lazy layers keep their first values.
    """
    modules = [module for _, module in walk(net)]
    states = _States(modules, values)
    tensors = tensors_of(modules)
    unfinished = _unfinished(modules, tensors)
    learning = {id(module) for module in unfinished if learns}
    fixed = tensors_of(m for m in modules if id(m) not in learning) if learning else tensors
    writes = Writes([*fixed, *states.tensors], strangers)
    writes.leave(tensors_of(unfinished) if learns else ())
    with torch._C.DisableTorchFunction():  # which lazy tensors ask at each attribute
        devices = {tensor.device for tensor in tensors}
    only_torch = not strangers and states.are_of_torch and run_torch_alone(modules, tensors)
    random = random_states_kept(devices, only_torch=only_torch)
    with random, _gradients_kept([*tensors, *states.tensors]):
        learned = _watch_late(unfinished, writes)
        try:
            yield writes
        finally:
            states.restore(learned())
            writes.undo()


class Writes:
    """What is written to tensors that were there before, copied just before it happens.

    Somebody has to tell it what runs: `watching` does.
    """

    def __init__(self, known: Iterable[Tensor], strangers: bool) -> None:
        self._known: dict[int, Tensor] = {}
        self._by_storage: dict[int, list[Tensor]] | None = None
        self.touched: list[Tensor] = []
        self._undo: list[Callable[[], object]] = []
        self._saved: set[int] = set()
        self._strangers = strangers
        self._made: set[int] = set()  # the memory of what was made inside
        self.know(known)

    def know(self, tensors: Iterable[Tensor]) -> None:
        """Watch over more tensors from now on."""
        self._known.update((id(tensor), tensor) for tensor in tensors if not is_lazy(tensor))
        self._by_storage = None

    def leave(self, tensors: Iterable[Tensor]) -> None:
        """Take tensors, those known apart, for what was made inside."""
        self._made.update(map(storage_of, tensors))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at all that runs inside."""
        with Functions(self._function), Operators(self._operator):
            yield

    def _function(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.before_function(func, args)
        return func(*args, **kwargs)

    def _operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.before_operator(func, args, kwargs)
        if not self._strangers:
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        if gives_new_memory(func):
            self._made.update(map(storage_of, tensors_in(result)))
        return result

    def before_function(self, func: Any, args: tuple[Any, ...]) -> None:
        """Note that a tensor gets other memory, or that its memory is handed out."""
        name = func.__name__
        if name == "__set__" and func.__self__.__name__ == "data":
            if id(args[0]) in self._known:
                self._holders()  # as long as all tensors have the memory that they had
                self.touched.append(args[0])
                self._undo.append(_tensor_back(args[0]))
        elif name in _EXPOSING:
            self.save(args[:1])

    def before_operator(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Copy what an operator is about to write to."""
        for index, name in written_by(func):
            self.save(tensors_in(args[index] if index < len(args) else kwargs.get(name)))

    def undo(self) -> None:
        """Give the tensors their memory, values and versions back."""
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for undo in reversed(self._undo):
                undo()
        self._undo.clear()

    def save(self, tensors: Iterable[Tensor]) -> None:
        """Remember the values of tensors that are about to change, if they were there before."""
        for tensor in tensors:
            storage = storage_of(tensor)
            if storage and storage not in self._saved:
                held = self._holders().get(storage, [])
                if not held and self._strangers and storage not in self._made:
                    held = [tensor]
                if held:
                    self._saved.add(storage)
                    self.touched += held
                    with torch._C.DisableTorchFunction(), torch.no_grad():
                        self._undo += [_values_back(held[0]), *map(_tensor_back, held)]

    def _holders(self) -> dict[int, list[Tensor]]:
        """Return the tensors that were there before, by their memory."""
        if self._by_storage is None:
            self._by_storage = {}
            for tensor in self._known.values():
                self._by_storage.setdefault(storage_of(tensor), []).append(tensor)
        return self._by_storage


def is_waiting(module: nn.Module) -> bool:
    """Tell whether torch will complete this lazy layer when it is called."""
    return isinstance(module, LazyModuleMixin) and hasattr(module, "_initialize_hook")


def is_unfinished(module: nn.Module) -> bool:
    """Tell whether a call will complete the module: a tensor of its own may have no shape yet."""
    return is_waiting(module) or any(map(is_lazy, tensors_of([module])))


def _unfinished(modules: Sequence[nn.Module], tensors: Iterable[Tensor]) -> list[nn.Module]:
    some = any(map(is_lazy, tensors)) or any(map(is_waiting, modules))
    return [module for module in modules if is_unfinished(module)] if some else []


def as_leaf(stand_in: Tensor, tensor: Tensor) -> Tensor:
    """Let a tensor ask for a gradient if the leaf does whose place it takes."""
    return stand_in.requires_grad_(tensor.requires_grad and tensor.is_leaf)


@contextmanager
def undone_on_error(net: nn.Module) -> Iterator[None]:
    """Make the lazy layers of `net` what they were if the block raises after sizing some."""
    modules = [module for _, module in walk(net)]
    unfinished = [module for module in modules if is_unfinished(module)]
    fixed = [tensor for tensor in tensors_of(unfinished) if not is_lazy(tensor)]
    values = [undo(tensor) for undo in (_values_back, _tensor_back) for tensor in fixed]
    waiting = [deferral for module in modules if (deferral := deferral_of(module))]
    sized = [(tensor, tensor.data) for tensor in tensors_of(modules) if is_lazy(tensor)]
    states = [_State(holder) for holder in (*modules, *waiting, *(t for t, _ in sized))]
    try:
        yield
    except BaseException:
        with torch._C.DisableTorchFunction(), torch.no_grad():
            for put_back in values:
                put_back()
        for tensor, data in sized:
            tensor.data = data
        for state in states:
            state.restore()
        raise


class _State:
    """What an object or a container holds, and the way back to it."""

    __slots__ = ("empty", "filled", "holder", "kind", "slots", "values")

    def __init__(self, holder: Any) -> None:
        self.holder = holder
        self.kind = type(holder)
        self.values = dict(getattr(holder, "__dict__", {}))
        self.slots = slots_of(holder)
        held = [v for v in (*self.values.values(), *self.slots.values()) if type(v) in CONTAINERS]
        self.filled = [(container, container.copy()) for container in held if container]
        self.empty = [container for container in held if not container]  # most, in a module

    def restore(self) -> None:
        """Put everything back, but for the values of tensors."""
        if type(self.holder) is not self.kind:
            self.holder.__class__ = self.kind
        if hasattr(self.holder, "__dict__"):
            vars(self.holder).clear()
            vars(self.holder).update(self.values)
        for name, value in self.slots.items():
            object.__setattr__(self.holder, name, value)  # also of a class that is frozen
        for container, content in self.filled:
            _refill(container, content)
        for container in self.empty:
            if container:
                container.clear()


class _States:
    """What modules and other values hold, and all that can be reached from there.

    `tensors` are those among it that are neither parameters nor buffers. All of it `are_of_torch`
    if it is tensors, containers and functions of torch's layers.
    """

    def __init__(self, modules: Sequence[nn.Module], values: Iterable[Any]) -> None:
        self.tensors: list[Tensor] = []
        self.are_of_torch = True
        self._modules = [_State(module) for module in modules]
        self._below: list[Callable[[], object]] = []
        self._entered: set[int] = set()
        values = list(values)
        known = [*modules, *values]
        self._packages = {_package(type(value)) for value in known} | _ORDINARY
        for state in self._modules:
            for name, value in state.values.items():
                if type(value) not in _PLAIN and name not in OWN:
                    self._enter(value)
        for value in values:
            self._enter(value)

    def restore(self, completed: set[int]) -> None:
        """Put everything back, but what lazy modules became by being completed."""
        for state in self._modules:
            if id(state.holder) in completed:
                state.holder.training = state.values["training"]
            else:
                state.restore()
        for undo in self._below:
            undo()

    def _enter(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if not is_lazy(value):
                self.tensors.append(value)
            self.are_of_torch &= type(value) in PLAIN
            return
        if id(value) in self._entered or isinstance(value, nn.Module):
            return
        self._entered.add(id(value))
        self.are_of_torch &= type(value) in _HOLDERS or is_function_of(value, *_LAYERS)
        undo = self._undo_of(value)
        if undo:
            self._below.append(undo)
            for item in list(contents(value)):
                if type(item) not in _PLAIN:
                    self._enter(item)

    def _undo_of(self, value: Any) -> Callable[[], object] | None:
        """Return what gives a container, an object or a generator back what it holds now.

        Objects are those of the packages that the modules are of: others, as a stream for output
        or a logger, live their own lives.
        """
        if isinstance(value, list | set | deque | dict):
            return partial(_refill, value, value.copy())
        if isinstance(value, tuple):
            return tuple  # has nothing to give back, but what it holds may have
        if _package(type(value)) not in self._packages:
            return None
        return generator_state(value) or (_State(value).restore if contents(value) else None)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _refill(container: Any, content: Iterable[Any]) -> None:
    container.clear()
    (container.extend if isinstance(container, list | deque) else container.update)(content)


@contextmanager
def _gradients_kept(tensors: Iterable[Tensor]) -> Iterator[None]:
    leaves = [tensor for tensor in tensors if not is_lazy(tensor) and tensor.is_leaf]
    found = [(leaf, leaf.requires_grad, leaf.grad) for leaf in leaves]
    for leaf, _, gradient in found:
        if gradient is not None:
            leaf.grad = None
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        for leaf, requires_grad, gradient in found:
            if leaf.requires_grad != requires_grad:
                leaf.requires_grad_(requires_grad)
            leaf.grad = gradient


def _watch_late(unfinished: Sequence[nn.Module], writes: Writes) -> Callable[[], set[int]]:
    """Watch over the tensors of lazy layers as soon as they have them, right before `forward`.

    What it returns ends that and tells the ids of the layers that are complete by then.
    """

    def note(module: nn.Module, inputs: object) -> None:
        if not is_unfinished(module):  # else it gets its first values in `forward`
            writes.know(tensors_of([module]))

    handles = [module.register_forward_pre_hook(note) for module in unfinished]

    def learned() -> set[int]:
        for handle in handles:
            handle.remove()
        return {id(module) for module in unfinished if not is_unfinished(module)}

    return learned


@cache
def written_by(func: Any) -> tuple[tuple[int, str], ...]:
    """Return place and name of the arguments that an operator writes to.

    Torch does not declare that the operators of batch normalization write to running statistics.
    """
    schema = getattr(func, "_schema", None)
    arguments = schema.arguments if schema else ()
    return tuple(
        (index, argument.name)
        for index, argument in enumerate(arguments)
        if (argument.alias_info is not None and argument.alias_info.is_write)
        or argument.name in ("running_mean", "running_var")
    )


def _values_back(tensor: Tensor) -> Callable[[], object]:
    """Return what gives all of the memory that a tensor is a part of its values back."""
    try:
        memory = tensor.new_empty(0).set_(tensor.untyped_storage())
    except (RuntimeError, NotImplementedError, TypeError):  # a tensor that wraps others
        memory = tensor.data
    return partial(memory.copy_, memory.clone())


def _tensor_back(tensor: Tensor) -> Callable[[], object]:
    """Return what gives a tensor its memory back, and hides that it was written to.

    Autograd would refuse a tensor that it has saved and that has another version since.
    """
    memory, version = tensor.data, None if tensor.is_inference() else tensor._version

    def undo() -> None:
        if storage_of(tensor) != storage_of(memory) or tensor.shape != memory.shape:
            tensor.data = memory
        if version is not None:
            torch._C._autograd._unsafe_set_version_counter((tensor,), (version,))

    return undo
