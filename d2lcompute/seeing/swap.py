"""Change what a block gives for a while, to see what depends on it: `swap`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

from torch import nn

from ..arguments import function, one_of
from ..parameters.names import walk


@contextmanager
def swap(net: nn.Module, name: str, change: Callable[[Any], Any]) -> Iterator[None]:
    """Let a block of a net give what `change` makes of its output, as long as the block runs.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> X = torch.rand(2, 4)
    >>> with d2c.swap(net, "0", torch.zeros_like):  # what is left without the first layer?
    ...     torch.equal(net(X), net[2].bias.expand(2, 1))
    True

    `net` is any module and `name` a block in it, as `trace` shows it; one that is called at several
    places is changed at all of them. `change` takes the output of the block, whatever that is, and
    returns what goes on in its place: zeros or the mean to ablate it, the output with noise or
    clamped. Gradients flow through it.

    Afterwards the net is what it was, also after an error. Raises `ValueError` for a name that the
    net does not have or a `change` that returns None, and `TypeError` if it cannot be called.
    Source: D2L 6.1 / zh 5.1
    """
    function("change", change, of="the output", do="swap(net, name, torch.zeros_like)")
    blocks = dict(walk(net, every_name=True))
    what = "the name of a block in the net"
    block = blocks[one_of("name", name, blocks, what=what, see="trace(net, X)")]
    own = vars(block).get("forward")
    # Not by a hook, which is called too late for others that look at what the block gives.
    vars(block)["forward"] = MethodType(_changing(block.forward, change), block)
    try:
        yield
    finally:
        del vars(block)["forward"]
        if own:
            vars(block)["forward"] = own


def _changing(forward: Any, change: Callable[[Any], Any]) -> Callable[..., Any]:
    run = getattr(forward, "__func__", lambda _block, *args, **kwargs: forward(*args, **kwargs))

    def changed(block: nn.Module, *args: Any, **kwargs: Any) -> Any:
        result = change(run(block, *args, **kwargs))
        if result is None:
            raise ValueError(
                "`change` must return what goes on in the place of the output, got None; "
                "do end it with return"
            )
        return result

    return changed
