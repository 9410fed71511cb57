"""The blocks of a net that has not run, as calls: each once, in the order of registration."""

from __future__ import annotations

from torch import nn

from ...passes.record import Event, shape, type_name
from ..calls import Call, Names, as_calls


def structure(net: nn.Module) -> list[Call]:
    """Return a call for every place where a block hangs; what hangs twice is looked into once.

    Calls have no outputs; data is as if it went from each block to the next.
    """
    events: list[Event] = []
    entered: set[int] = set()
    pending: list[tuple[nn.Module, Event | None]] = [(net, None)]
    while pending:
        block, parent = pending.pop()
        event = _event(block, parent)
        events.append(event)
        if parent:
            parent.outputs, parent.origins = ((),), (event,)
        if id(block) not in entered:
            entered.add(id(block))
            inside = [child for child in block._modules.values() if child is not None]
            pending += [(child, event) for child in reversed(inside)]
    return list(as_calls(events, Names(net), []))


def _event(block: nn.Module, parent: Event | None) -> Event:
    """Return a call on what the block before gives, and on the parameters of the block itself."""
    before = parent.origins[0] if parent and parent.origins else parent
    parameters = [parameter for parameter in block._parameters.values() if parameter is not None]
    return Event(
        parent,
        block,
        type_name(block),
        inputs=((), *map(shape, parameters)),
        sources=(before, *[None] * len(parameters)),
        ports=(0,) * (1 + len(parameters)),
        parameters=frozenset(id(parameter) for parameter in parameters),
        failed=False,
    )
