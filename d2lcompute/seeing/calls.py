"""The calls of a forward pass as data: named, counted, connected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.names import Shape, attributes_of, walk
from ..passes.event import Event, Statistics, shape


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a block, or one functional step that a block ran.

    `name` is the dotted name of the block: "" for the net itself, `?1` and so on for a block that
    the net does not register, "" for a step. `label` is that name as seen from the block that
    made the call, with every name of a block that hangs there twice; for a step it is the step.
    `parent`, `sources` and `origins` are positions among the calls: the block that made the call,
    what made each input, and what inside a block made each output; 0 stands for an input of the
    net, None for a parameter, a constant or what has no maker inside. `ports` tell which of the
    outputs of its source, or of the inputs of the net, an input is; `held` what the net calls an
    input that is a parameter, a buffer or another tensor it holds, "" for what is none. `nth`
    counts the calls of one block. `parameters` are the names of those that the call itself read,
    `lazy` is whether some of them had no shape before it, and `decided` what shapes these got.
    `parameter_count` (elements, each parameter once), `flops` and `seconds` include the calls
    inside, and so does `backward_flops`. `bytes` is the memory of its outputs, as far as the call
    made it, and `kept` what autograd keeps for the backward pass of all that ran inside. `values`
    and `gradients` are statistics of the outputs and of the gradients that came to them, None
    where there are none to see. `value` is the number that a step such as `item()` gave.
    """

    depth: int
    parent: int | None
    is_block: bool
    name: str
    label: str
    type: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    sources: tuple[int | None, ...]
    origins: tuple[int | None, ...]
    ports: tuple[int, ...]
    held: tuple[str, ...]
    nth: int
    parameters: tuple[str, ...]
    parameter_count: int
    lazy: bool
    decided: tuple[tuple[str, Shape], ...]
    flops: int
    seconds: float | None
    failed: bool
    bytes: int = 0
    kept: int = 0
    backward_flops: int = 0
    values: tuple[Statistics | None, ...] = ()
    gradients: tuple[Statistics | None, ...] = ()
    value: bool | int | float | None = None


def inside(calls: Sequence[Call]) -> list[list[int]]:
    """Return for each call the positions of those that it made."""
    children: list[list[int]] = [[] for _ in calls]
    for position, call in enumerate(calls):
        if call.parent is not None:
            children[call.parent].append(position)
    return children


def reader(calls: Sequence[Call], call: Call) -> tuple[str, str]:
    """Return who reads the parameters of a call: the block, or the step and the block around."""
    if call.is_block or call.parent is None:
        return call.name, ""
    return calls[call.parent].name, call.label


class Names:
    """What a net calls its blocks and parameters, looked up by identity.

    What hangs at several places goes by its first name; `label` knows the others.
    """

    def __init__(self, net: nn.Module) -> None:
        self.parameters: dict[int, tuple[str, nn.Parameter]] = {}
        self.held: dict[int, str] = {}
        self.lazy: dict[int, list[tuple[str, nn.Parameter]]] = {}
        self._blocks: dict[int, str] = {}
        self._places: dict[int, tuple[str, list[str]]] = {}
        self._strangers = 0
        self._known: list[nn.Module] = []  # alive, as their ids would be used again
        self.look_at(net)

    def look_at(self, net: nn.Module) -> None:
        """Learn the names of what the net holds now, besides those of what it held before."""
        for name, block in walk(net):
            is_new = id(block) not in self._blocks
            self._blocks[id(block)] = name
            self._known.append(block)
            prefix = f"{name}." if name else ""
            for leaf, child in block._modules.items():
                holder, leaves = self._places.setdefault(id(child), (prefix, []))
                leaves += [leaf] if holder == prefix and leaf not in leaves else []
            for leaf, parameter in block._parameters.items():
                if parameter is not None:
                    self.parameters.setdefault(id(parameter), (prefix + leaf, parameter))
                    if is_lazy(parameter) and is_new:
                        self.lazy.setdefault(id(block), []).append((leaf, parameter))
            for leaf, tensor in (*block._buffers.items(), *attributes_of(block)):
                if isinstance(tensor, Tensor):
                    self.held.setdefault(id(tensor), prefix + leaf)
        self.held |= {key: name for key, (name, _) in self.parameters.items()}

    def read(self, event: Event) -> frozenset[int]:
        """Return the ids of the parameters of the net that a call itself read."""
        return event.parameters and event.parameters & self.parameters.keys()

    def size(self, parameter: int) -> int:
        """Return the number of elements of the parameter with this id, 0 if it is lazy."""
        tensor = self.parameters[parameter][1]
        return 0 if is_lazy(tensor) else tensor.numel()

    def block(self, block: nn.Module | None) -> str:
        """Return the dotted name, such as `?1` if it is not registered, "" for None."""
        if block is None:
            return ""
        if id(block) not in self._blocks:
            self._strangers += 1
            self._blocks[id(block)] = f"?{self._strangers}"
        return self._blocks[id(block)]

    def label(self, block: nn.Module | None, caller: nn.Module | None) -> str:
        """Return the names of a block as its caller sees them, such as `2 = 4`, "" without one."""
        if block is None or caller is None:
            return ""
        if id(block) not in self._places:
            return self.block(block)
        holder, leaves = self._places[id(block)]
        caller_name = self.block(caller)
        return holder.removeprefix(f"{caller_name}." if caller_name else "") + " = ".join(leaves)


def as_calls(events: Sequence[Event], names: Names, seconds: Iterable[float]) -> Iterator[Call]:
    """Yield the calls that a recorder saw; `seconds` are those of the blocks, in order."""
    positions = {event: position for position, event in enumerate(events)}
    read = [names.read(event) for event in events]
    counts = _parameter_counts(events, read, names)
    clock = iter(seconds)
    nth: dict[int, int] = {}  # by id: a block need not be hashable
    depths: dict[Event | None, int] = {None: -1}
    for position, event in enumerate(events):
        block, caller = event.block, None if event.parent is None else event.parent.block
        depths[event] = depths[event.parent] + 1
        lazy = names.lazy.pop(id(block), [])
        is_block = block is not None  # an empty nn.Sequential is one, and false
        nth[id(block)] = number = nth.get(id(block), 0) + 1
        yield Call(
            depth=depths[event],
            parent=positions[event.parent] if event.parent else None,
            is_block=is_block,
            name=names.block(block),
            label=names.label(block, caller) or event.name,
            type=event.name,
            inputs=event.inputs,
            outputs=event.outputs,
            sources=tuple([_position(one, position, positions) for one in event.sources]),
            origins=tuple([_position(one, len(events), positions) for one in event.origins]),
            ports=event.ports,
            held=tuple([names.held.get(key, "") for key in event.held]),
            nth=number if is_block else 1,
            parameters=tuple(sorted([names.parameters[i][0] for i in read[position]])),
            parameter_count=counts[event],
            lazy=bool(lazy),
            decided=tuple([(leaf, shape(p)) for leaf, p in lazy if not is_lazy(p)]),
            flops=event.flops,
            seconds=next(clock, None) if is_block else None,
            failed=event.failed,
            bytes=event.bytes,
            kept=event.kept,
            backward_flops=event.backward_flops,
            values=event.values,
            gradients=tuple(event.gradients),
            value=event.value,
        )


def _position(source: Event | None, position: int, positions: Mapping[Event, int]) -> int | None:
    while source is not None and source not in positions:
        source = source.parent  # a step inside one of torch's own layers, which is not shown
    found = None if source is None else positions[source]
    return None if found is None or found >= position > 0 else found


def _parameter_counts(
    events: Sequence[Event], read: Sequence[frozenset[int]], names: Names
) -> dict[Event, int]:
    """Count the elements of the distinct parameters that a call and those inside it read."""
    counts = dict.fromkeys(events, 0)
    sizes = {i: names.size(i) for i in frozenset().union(*read)}
    found: dict[Event, set[int]] = {}

    def add(event: Event, more: set[int], size: int) -> None:
        held = found.setdefault(event, more)
        if held is more:
            counts[event] = size
            return
        if len(held) < len(more):  # the smaller set joins the larger one: depth costs nothing
            held, more, counts[event], found[event] = more, held, size, more
        new = more - held
        held |= new
        counts[event] += sum([sizes[i] for i in new])

    for event, own in zip(reversed(events), reversed(read), strict=True):
        if own:
            add(event, set(own), sum([sizes[i] for i in own]))
        if event.parent and event in found:
            add(event.parent, found.pop(event), counts[event])
    return counts
