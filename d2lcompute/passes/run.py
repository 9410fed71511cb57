"""A forward pass of a net: on itself, on a copy or on the meta device, and without a trace."""

from __future__ import annotations

import gc
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy

from ..parameters.names import attributes_of, shape_text, tensors_of, walk
from .event import Event, type_name
from .hooks import time_blocks
from .imagined import Pretence, remembered
from .inputs import Inputs
from .keep import Writes, kept, undone_on_error
from .random_states import random_states_kept
from .record import Recorder, Watcher
from .twin import copy_if_lazy, meta_twin
from .values import replaced, tensors_in

_COMPILER = "torch._dynamo"  # the module: it takes a second to import, and runs functions meanwhile
_NO_HOOKS = "support saved tensor hooks"  # what transforms of torch.func say of counting these
_OTHER_TYPES = r"dtype|datatype|scalar type|input type|not implemented for"  # as torch calls them
_SHARDED = {"FSDPModule", "FullyShardedDataParallel", "DTensor"}


class Pass:
    """A pass of a net on these inputs, which may be made again and again with the same outcome.

    `net` is what runs. A pass that is `imagined` is made by a copy on the meta device, and one that
    is not computes; without a word on it, shapes alone are not computed with. A lazy net runs as a
    copy, unless it `learns`: then its layers keep the shapes of the pass. A net stays otherwise as
    it is.
    """

    def __init__(
        self, net: nn.Module, inputs: Inputs, *, imagined: bool | None = None, learns: bool = False
    ) -> None:
        modules, held = check_whole(net)
        self.inputs = inputs
        self.on_meta = _needs_no_values(held, inputs) if imagined is None else imagined
        self._is_twin = bool(imagined) or (self.on_meta and not _is_on_meta(modules, held))
        self._touched: list[Tensor] = []
        self._device = _place(held)
        self._pretence: Pretence | None = None
        self._fakes: dict[int, Tensor] = {}
        if self._is_twin:
            self.net = meta_twin(net)
            _leave_unfilled(self.net)
        else:
            self.net = net if learns or not any(map(is_lazy, held)) else copy_if_lazy(net)
        self._learns = learns

    @property
    def is_about(self) -> bool:
        """Whether types were told without data as on a device, which may have other kernels."""
        return self._pretence is not None

    def record(
        self,
        watched: Sequence[Tensor] = (),
        *,
        steps: bool = True,
        values: bool = False,
        watch: Callable[[], Watcher] | None = None,
        grown: Callable[[nn.Module], object] | None = None,
        then: Callable[[Recorder, Any], object] | None = None,
    ) -> Recorder:
        """Make the pass and return what was recorded.

        `watched`, `steps` and `values` are as for `Recorder`, and `watch` makes its watcher.
        `grown` is shown a net to which the pass has added something. `then` is shown the recorder
        and the output; nothing of what it does to the net stays either.
        """
        options: dict[str, Any] = {"watched": watched, "steps": steps, "values": values}
        make = partial(self._record, options, watch, grown, then)
        had_compiler = _COMPILER in sys.modules
        is_open = bool(self.inputs.tensors() and self.inputs.shapes())
        recorder = self._try_shapes(make) if is_open else make()
        imported_more = _COMPILER in sys.modules and not had_compiler  # which was recorded, too
        refused = _NO_HOOKS in str(recorder.error)
        if imported_more or refused:
            options["saves"] = not refused
            recorder = make()
        return self._pretended(make, recorder) if recorder.autocast else recorder

    def _pretended(self, make: Callable[[], Recorder], first: Recorder) -> Recorder:
        """Make the pass again where autocast converts types: on the meta device it does not."""
        self._pretence = Pretence(self._device)
        try:
            second = make()
            if second.error:
                raise second.error
        except Exception:
            self._pretence = None
            return first
        return second

    def _try_shapes(self, make: Callable[[], Recorder]) -> Recorder:
        """Make the pass with tuples as shapes beside tensors, or as what they are if that fails."""
        first = None
        try:
            with undone_on_error(self.net):
                first = make()
                if first.error:
                    raise first.error
        except Exception:
            shapes, self.inputs = self.inputs, self.inputs.without_shapes()
            second = make()
            if first is None or not second.error:  # at first a tuple was no shape at all
                return second
            self.inputs = shapes
        return first

    def time(self) -> list[tuple[nn.Module, float]]:
        """Return each call of a block, in order, with its seconds; the pass was made before."""
        with self._scope() as (args, kwargs, writes):
            if writes:
                writes.save(self._touched)  # as before: to watch would take time
            return time_blocks(lambda: self.net(*args, **kwargs))

    def _record(
        self,
        options: dict[str, Any],
        watch: Callable[[], Watcher] | None,
        grown: Callable[[nn.Module], object] | None,
        then: Callable[[Recorder, Any], object] | None,
    ) -> Recorder:
        with self._scope() as (args, kwargs, writes):
            watched = [self._fakes.get(id(tensor), tensor) for tensor in options["watched"]]
            imagines = self.on_meta and not self._pretence
            recorder = Recorder(
                tensors_in((args, kwargs)),
                writes=writes,
                compute=remembered if imagines else None,
                device=self._device.type if imagines else None,
                watcher=watch() if watch else None,
                **{**options, "watched": watched},
            )
            output = recorder.call(self.net, args, kwargs)
            if grown and recorder.registered:
                grown(self.net)
            if then:
                watching = writes.watching() if writes else nullcontext()
                with random_states_kept(), watching:  # a pass need not have kept all of them
                    then(recorder, output)
            recorder.release()
            self._touched = writes.touched if writes else []
        if self._fakes:
            _rename(recorder.events, {id(fake): key for key, fake in self._fakes.items()})
        return recorder

    @contextmanager
    def _scope(self) -> Iterator[tuple[list[Any], dict[str, Any], Writes | None]]:
        """Make arguments, and whatever happens to them and to the net undone."""
        inputs, net = self.inputs, self.net
        args, kwargs = inputs.on_meta(net) if self.on_meta else inputs.for_real(net)
        place = _nowhere() if self.on_meta else nullcontext()
        putting_back = kept(net, tensors_in((args, kwargs)), learns=self._learns)
        pretending: AbstractContextManager[dict[int, Tensor]] = (
            self._pretence.on(net) if self._pretence else nullcontext({})
        )
        with (
            collector_paused(),
            as_written(),
            putting_back as writes,
            place,
            pretending as self._fakes,
        ):
            if self._pretence:
                args, kwargs = replaced((args, kwargs), self._pretence.of)
            yield args, kwargs, None if self._is_twin else writes  # a twin has no values


@contextmanager
def _nowhere() -> Iterator[None]:
    """Let what is made have no data, among which autograd would look for NaN if told to."""
    with torch.device("meta"), torch.autograd.set_detect_anomaly(False):
        yield


def _rename(events: Iterable[Event], ids: Mapping[int, int]) -> None:
    """Let tensors that took the places of others go by the ids of these."""
    for event in events:
        event.parameters = frozenset(ids.get(key, key) for key in event.parameters)
        event.held = tuple([ids.get(key, key) for key in event.held])


def check_whole(net: nn.Module) -> tuple[list[nn.Module], list[Tensor]]:
    """Return modules and tensors of a net, or refuse one whose parameters come and go in a pass."""
    found = list(walk(net))
    modules = [module for _, module in found]
    tensors = tensors_of(modules)
    is_suspect = (
        any(map(_is_sharded, {*map(type, modules), *map(type, tensors)}))
        or any("_hf_hook" in vars(module) for module in modules)
        or any(hasattr(tensor, "ds_id") for tensor in tensors)
    )
    for name, module in found if is_suspect else ():
        _check_whole(name, module)
    return modules, tensors


def _check_whole(name: str, module: nn.Module) -> None:
    held = [p for p in module._parameters.values() if p is not None]
    if any(map(_is_sharded, map(type, (module, *held)))):
        raise ValueError(
            f"`net` must hold all of its parameters, got {_called(name, module)}, whose are "
            f"spread over processes; do look at the net before it is sharded"
        )
    is_away = "_hf_hook" in vars(module) and any(p.is_meta for p in held)
    if is_away or any(hasattr(p, "ds_id") for p in held):
        raise ValueError(
            f"`net` must hold all of its parameters, got {_called(name, module)}, whose a hook "
            f"brings and takes away again; do look at the net before it is offloaded"
        )


def _leave_unfilled(twin: nn.Module) -> None:
    """Let torch's lazy layers learn their shapes alone: on meta there are no first values."""
    for _, module in walk(twin):
        if isinstance(module, LazyModuleMixin) and type(module).__module__.startswith("torch.nn."):
            vars(module)["reset_parameters"] = lambda: None
            vars(module)["initialize_parameters"] = _unseen(module.initialize_parameters)


def _unseen(run: Callable[..., None]) -> Callable[..., None]:
    """Return what takes a third of the time of `run`, as nobody looks at its operators."""

    def run_unseen(*args: Any, **kwargs: Any) -> None:
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            run(*args, **kwargs)

    return run_unseen


@cache
def _is_sharded(kind: type) -> bool:
    return any(base.__name__ in _SHARDED for base in kind.__mro__)


@contextmanager
def as_written() -> Iterator[None]:
    """Let blocks that were compiled run as they are written: compiled code calls no blocks."""
    if _COMPILER not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using `torch.compile")  # on hooks, as recording has
        yield


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep Python from looking for garbage, which takes as long as a pass through small layers.

    A record is made of many small objects that stay. Each time their number has grown by a
    quarter, all objects of torch would be searched again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def explained(recorder: Recorder, net: nn.Module, inputs: Inputs) -> RuntimeError:
    """Return the error that says in which module a pass failed, and on what."""
    error = recorder.error or RuntimeError("no message")
    event = recorder.failure
    block = event.block if event and event.block else net
    name = next((name for name, module in walk(net) if module is block), "")
    came = ", ".join(map(shape_text, event.inputs)) if event and event.inputs else "no tensor"
    return RuntimeError(
        f"`inputs` must fit the net, got {inputs.text()}: {_called(name, block)} fails on {came} "
        f"with {_first_line(error)}; the net is as it was, do {_way_out(error, inputs)}"
    )


def _called(name: str, module: nn.Module) -> str:
    kind = type_name(module)
    return f"{name!r} ({kind})" if name else f"the net itself ({kind})"


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0] or "no message"
    return text if type(error) is RuntimeError else f"{type(error).__name__}: {text}"


def _way_out(error: Exception, inputs: Inputs) -> str:
    text = str(error).lower()
    if any(isinstance(item, int | float) for item in inputs.args):
        return "put a shape into parentheses, as in (2, 20)"
    if wants_values(error):
        return "materialize(net, X) instead, which can compute, if the net reads values"
    if inputs.shapes() and ("indices" in text or "long" in text):
        return "pass a tensor of whole numbers, since a shape stands for floats"
    if re.search(_OTHER_TYPES, text):
        return "give inputs of the type of the net, as X.to(torch.float32) does"
    if len(inputs.shapes()) > 1 and isinstance(error, TypeError):
        return "pass what is no shape by name, as in forward_kwargs={'size': (16, 16)}"
    return "change the input or that module"


def wants_values(error: Exception) -> bool:
    """Whether a pass on the meta device failed because there are no values."""
    return bool(re.search(r"(?<![a-z])(type)?meta\b", str(error), re.IGNORECASE))


def _place(held: Sequence[Tensor]) -> torch.device:
    """Return where a net computes; one without data would on an accelerator, if there is one."""
    device = held[0].device if held else torch.device("cpu")
    if device.type == "meta":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    return device


def _needs_no_values(held: Sequence[Tensor], inputs: Inputs) -> bool:
    """Whether to run on the meta device: for shapes alone, meta tensors and meta nets."""
    given = inputs.tensors()
    only_shapes = not given and bool(inputs.shapes())
    return only_shapes or any(tensor.is_meta for tensor in (*given, *held))


def _is_on_meta(modules: Sequence[nn.Module], held: Sequence[Tensor]) -> bool:
    attributes = [value for module in modules for _name, value in attributes_of(module)]
    tensors = [*held, *(value for value in attributes if isinstance(value, Tensor))]
    return all(tensor.is_meta for tensor in tensors)
