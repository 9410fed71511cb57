"""`diagnose`: look at a net, run it if there are inputs, and tell what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from ...arguments import function
from ...passes.event import type_name
from ...passes.inputs import Inputs
from . import failing, modes, registration, signals, state
from .findings import Diagnosis, Finding
from .observe import Seen, observe


def diagnose(
    net: nn.Module,
    *inputs: Any,
    loss_fn: Callable[[Any], Tensor] | None = None,
    forward_kwargs: Mapping[str, Any] | None = None,
    **named_inputs: Any,
) -> Diagnosis:
    """List what is wrong with a net: what, where, why it matters, and the fix.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    >>> d2c.diagnose(net, torch.rand(2, 4))
    Sequential: no findings
    >>> net.extra = [nn.Linear(8, 8)]
    >>> d2c.diagnose(net)
    Sequential: 1 finding; pass an input to examine a forward and a backward pass too
    <BLANKLINE>
    1.     unregistered modules
    -----  ---------------------------------------------------------------------------------
    where  extra
    what   a plain list holds 1 module, which the net does not see
    why    Their parameters are not in `net.parameters()`, so no optimizer trains them; they
           are not in `state_dict()`, so they are not saved; `to`, `train` and `eval` do not
           reach them.
    fix    Keep them in an nn.ModuleList: `self.extra = nn.ModuleList(extra)`.

    `net` is any module. `inputs` and `named_inputs` are what it takes, tensors or tuples with the
    shape of such; without any only what the net holds is examined. With them it is run forward and
    backward in the mode in which it is: values, gradients, buffers, modes, hooks and the random
    state are afterwards what they were, and a lazy net is still lazy. `loss_fn` takes the output
    and returns a scalar; without it a weighted mean of all outputs takes the place of a loss.

    Returns a report with `findings` as data. A pass that fails is a finding too. Raises
    `TypeError` if `net` is no module, and `ValueError` for a `loss_fn` without inputs.
    Source: D2L 6.1 / zh 5.1
    """
    given = Inputs.of(inputs, named_inputs, forward_kwargs)
    if loss_fn is not None:
        function("loss_fn", loss_fn, of="the output", do="lambda Y: Y.pow(2).mean(), say")
    if loss_fn is not None and not given:
        raise ValueError(
            "`loss_fn` must come with inputs, got none; do diagnose(net, X, loss_fn=loss_fn)"
        )
    found = list(registration.without_super(net))
    if not found:
        seen = observe(net, given, loss_fn) if given else None
        found = [*_about_structure(net, seen), *(_about_pass(seen) if seen else ())]
    return Diagnosis(type_name(net), tuple(found), bool(given))


def _about_structure(net: nn.Module, seen: Seen | None) -> Iterator[Finding]:
    yield from registration.unregistered(net)
    read = seen.constants if seen is not None and seen.failure is None else None
    yield from registration.plain_tensors(net, read)
    yield from registration.shadowed_names(net)
    yield from state.not_finite(net)
    yield from state.half_broken(net)
    yield from state.cut(net)
    yield from modes.mixed_modes(net)
    yield from modes.untouched_statistics(net)
    if seen is None or seen.failure is not None:  # a pass that comes through shows what is meant
        yield from modes.several_devices(net)
        yield from modes.several_dtypes(net)
    if seen is None:
        yield from state.unsized(net, ran=False)
        yield from state.symmetric_units(net)


def _about_pass(seen: Seen) -> Iterator[Finding]:
    lost = list(failing.returned_nothing(seen))
    if lost:  # all else comes of it
        yield from lost
        return
    yield from failing.failed(seen)
    yield from failing.bad_outputs(seen)
    yield from modes.dropped_in_eval_mode(seen)
    yield from signals.dead_relus(seen)
    alike = list(state.symmetric_units(seen.net))
    yield from alike
    yield from signals.symmetric_gradients(seen, {name for one in alike for name in one.where})
    if seen.failure is None:
        yield from modes.spreading_doubles(seen)
        yield from state.unsized(seen.net, ran=True)
        yield from failing.no_gradient(seen)
        if signals.tells_of_training(seen.net):
            yield from signals.signals(seen)
