"""`initialize`: give parameters their first values, now or as soon as they have a shape."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..arguments import as_module, flag, guided, integer, shown
from ..parameters.memory import overlapping
from ..parameters.names import walk
from ..passes.deferred import Order, defer
from ..passes.random_states import random_states_kept
from ..tables import Rows, Shown, Table
from ..words.language import _, marks
from .base import Initializer, Moments, Role, stream
from .builtin import BUILT_IN, Orthogonal, Uniform
from .rules import Assignment, Target, assign, find_targets, lone_target

Job = tuple[Order, Assignment, bool]  # the last: whether it has a random stream of its own
_WORTH_THREADS = 2**20
# Few places, since each costs a wait for the memory; primes, to keep in step with no row.
_RUNS, _RUN = 37, 41
_HEADERS = marks(
    "parameter", "shape", "rule", "as",
    "mean", "expected mean", "deviation", "expected deviation",
)  # fmt: skip


@guided(
    device="net.to(device): the values are written where the parameters are",
    ctx="net.to(device): the values are written where the parameters are",
)
def initialize(
    net_or_parameter: nn.Module | Tensor,
    init: Initializer | None = None,
    pattern: str | re.Pattern[str] | None = None,
    *,
    force_reinit: bool = False,
    seed: int | None = None,
    verbose: bool = False,
) -> InitReport:
    """Give the parameters of a net their first values, the lazy ones as soon as they have a shape.

    >>> from d2lcompute import initializers as init
    >>> report = d2c.initialize(nn.Linear(4, 8), init.Constant(1))
    >>> report.columns("parameter", "shape", "rule", "mean", "expected mean", "deviation")
    parameter    shape    rule                 mean    expected mean    deviation
    -----------  -------  -----------------  ------  ---------------  -----------
    weight       (8, 4)   Constant(value=1)       1                1            0
    bias         (8,)     Constant(value=1)       0                0            0
    >>> net = d2c.mlp(256, 10)
    >>> report = d2c.initialize(net, init.Normal(0.01), verbose=True)  # no shapes, nothing to do
    >>> Y = net(torch.rand(2, 20))
    0.weight (256, 20): Normal(sigma=0.01) as weight
    0.bias (256,): Normal(sigma=0.01) as bias
    2.weight (10, 256): Normal(sigma=0.01) as weight
    2.bias (10,): Normal(sigma=0.01) as bias

    `net_or_parameter` is any module, or one parameter, which is filled as a weight whatever it is
    for. `init` is an initializer, by default `Uniform(0.07)` as in Gluon. `pattern` selects
    parameters as in `collect_params`. What was initialized before, by this function, is kept with
    a warning unless `force_reinit` is True. With `seed` every parameter draws from a stream of its
    own, keyed by its name and drawn on the CPU: a net gets the same values whether it is sized,
    lazy or born on the meta device, and on whichever device it is. `verbose` prints one line a
    parameter at the moment when it is filled.

    A tied parameter is filled once. The rows of zeros that `padding_idx` names stay zeros, and
    weights that are computed (weight_norm) get the values through their parts.

    Returns a report. Raises, before anything changes, `ValueError` for a parameter that has no
    memory (on the meta device), that no rule matches or two disagree on, or whose shape or type
    does not suit, and `TypeError` for what is no initializer. Source: D2L 6.3 / zh 5.2
    """
    for name, value in (("force_reinit", force_reinit), ("verbose", verbose)):
        flag(name, value)
    seed = None if seed is None else integer("seed", seed, do="seed=0")
    lone = isinstance(net_or_parameter, Tensor)
    net = None if lone else as_module("net_or_parameter", net_or_parameter)
    targets = _targets(net_or_parameter, pattern)
    given = _checked(Uniform() if init is None else init)
    assignments = assign(given, targets, selected=net is None or pattern is not None)
    for one in assignments:
        _check(one, alone=net is None)
    _rehearse(assignments)
    kept = {t.name: t for t in targets if t.is_marked() and not force_reinit}
    if kept:
        _warn_of([*kept])
    jobs = [
        (_order(one, seed, verbose), one, seed is not None)
        for one in assignments
        if one.target.name not in kept
    ]
    modules = {} if net is None else dict(walk(net, every_name=True))
    done = _carry_out(jobs, modules)
    # Looked at only now: between two large tensors, whatever one does finds its caches cold.
    return InitReport(tuple(_row(one, values) for one, values in done), (*kept,))


def _order(one: Assignment, seed: int | None, verbose: bool) -> Order:
    name, key, role = one.target.name, one.target.key, one.role
    fill = partial(_fill, one.initializer, role, name, key, seed)
    announce = partial(_announce, one.initializer, role, name) if verbose else None
    return Order(key, fill, announce)


def _fill(
    initializer: Initializer, role: Role, name: str, key: str, seed: int | None, data: Tensor
) -> None:
    if seed is None:
        initializer.fill(role, name, data)
        return
    here = data.detach().cpu()  # each device draws in a way of its own, the CPU for all of them
    initializer.fill(role, name, here, stream(seed, key))
    if not data.is_cpu:
        data.detach().copy_(here)


def _announce(initializer: Initializer, role: Role, name: str, data: Tensor) -> None:
    print(f"{name} {tuple(data.shape)}: {initializer!r} as {role}")


def _carry_out(
    jobs: Sequence[Job], modules: Mapping[str, nn.Module]
) -> list[tuple[Assignment, Tensor | None]]:
    """Return each assignment with the values that it gave, None if it has to wait."""
    sized = [job for job in jobs if not is_lazy(job[1].target.tensor)]
    with _undone_on_error([one for _, one, _ in sized]):
        values = []
        for (order, *_rest), written in zip(sized, _written(sized), strict=True):
            if order.announce:
                order.announce(written)
            values.append(written)
    for order, one, *_rest in jobs:
        if is_lazy(one.target.tensor):
            for entry in one.target.everywhere:
                defer(order, modules, entry)
    by_job = {id(job): written for job, written in zip(sized, values, strict=True)}
    for job in jobs:
        job[1].target.mark()
    return [(job[1], by_job.get(id(job))) for job in jobs]


@contextmanager
def _undone_on_error(assignments: Sequence[Assignment]) -> Iterator[None]:
    """Give the parameters their values back if one of them cannot be filled.

    Copies are made only where that may happen: torch fills any plain tensor.
    """
    if all(_is_sure(one) for one in assignments):
        yield
        return
    held = [p for one in assignments for p in one.target.parameters]
    kept = [(parameter, parameter.detach().clone()) for parameter in held]
    try:
        yield
    except BaseException:
        for parameter, values in kept:
            parameter.detach().copy_(values)
        raise


def _is_sure(one: Assignment) -> bool:
    plain = all(_is_plain(parameter) for parameter in one.target.parameters)
    return type(one.initializer) in BUILT_IN and not one.target.in_parts and plain


def _is_plain(parameter: Tensor) -> bool:
    """Whether each of its elements has a place of its own in ordinary memory."""
    if parameter.layout is not torch.strided:
        return False
    places = zip(parameter.shape, parameter.stride(), strict=True)
    return all(stride or size < 2 for size, stride in places)


def _row(one: Assignment, values: Tensor | None) -> Initialized:
    """Return what there is to say about one parameter; its `values` are None if it is deferred."""
    name, rule, role = one.target.name, one.label, one.role
    if values is None:
        return Initialized(name, None, rule, role, None, None)
    shape = tuple(values.shape)
    measured = _measure(values)
    expected = None if measured is None else one.initializer.expected(role, shape)
    return Initialized(name, shape, rule, role, measured, expected)


def _written(jobs: Sequence[Job]) -> Iterator[Tensor]:
    """Yield the tensors, filled, in order; streams of their own are drawn side by side."""

    def write(job: Job) -> Tensor:
        order, one, *_rest = job
        return one.target.write(order.fill)

    threads = torch.get_num_threads()
    tensors = [one.target.tensor for _, one, _ in jobs]
    small = sum(tensor.numel() for tensor in tensors) < _WORTH_THREADS
    if threads == 1 or small or overlapping(tensors):
        yield from map(write, jobs)
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(write, job) if _may_run_on_a_thread(job) else None for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            yield write(job) if future is None else future.result()


def _may_run_on_a_thread(job: Job) -> bool:
    """Tell whether writing touches only the tensor and a generator of its own."""
    one, has_stream = job[1:]
    known = type(one.initializer) in BUILT_IN and not isinstance(one.initializer, Orthogonal)
    return known and has_stream and not one.target.in_parts and one.target.tensor.is_cpu


def _targets(
    net_or_parameter: nn.Module | Tensor, pattern: str | re.Pattern[str] | None
) -> list[Target]:
    if isinstance(net_or_parameter, Tensor):
        if pattern is not None:
            raise ValueError(
                f"`pattern` must be None for a single parameter, got {pattern!r}; "
                f"do pass the net to select from it"
            )
        return [lone_target("parameter", net_or_parameter)]
    targets = find_targets(net_or_parameter, pattern)
    if pattern is not None and not targets:
        raise ValueError(
            f"`pattern` must match a parameter's name from its start, got {pattern!r}, which "
            f"matches none; do collect_params(net) to see the names"
        )
    return targets


def _checked(init: Initializer) -> Initializer:
    if not isinstance(init, Initializer):
        raise TypeError(
            f"`init` must be an initializer such as Normal(0.01), got {shown(init)}; do "
            f"{_instead_of(init)}"
        )
    return init


def _instead_of(init: object) -> str:
    if isinstance(init, Mapping):
        return "Mixed({'.*weight': Normal(0.01), '.*': Zero()}), with your rules"
    if isinstance(init, type) and issubclass(init, Initializer):
        return f"create one, as in {init.__name__}()"
    named = "initializers.Normal(0.01) or another one of d2lcompute.initializers"
    return f"{named}, or net.apply for a function of a module" if callable(init) else named


def _check(one: Assignment, *, alone: bool) -> None:
    tensor, name = one.target.tensor, one.target.name
    if type(one.initializer)._init_weight is Initializer._init_weight:
        raise TypeError(
            f"`init` must define `_init_weight`, got {one.initializer!r}, which does not; "
            f"do write _init_weight(self, name, data) so that it fills `data` in place"
        )
    if tensor.is_meta:
        raise ValueError(
            f"`net_or_parameter` must have memory, got {name!r} on the meta device; "
            f"do net.to_empty(device='cpu') first"
        )
    if not is_lazy(tensor):
        one.initializer.check(one.role, name, tensor.shape)
    elif alone:
        raise ValueError(
            "`net_or_parameter` must be the net while a parameter is lazy, got a parameter alone; "
            "do initialize(net, init, pattern=...), and its layer waits for the shape"
        )


def _rehearse(assignments: Sequence[Assignment]) -> None:
    """Find out on other memory what torch cannot draw, on this device and of this type."""
    ways = {
        (one.initializer, one.role, tensor.dtype, tensor.device): one.target.name
        for one in assignments
        if type(one.initializer) in BUILT_IN and not is_lazy(tensor := one.target.tensor)
    }
    with random_states_kept({device for _, _, _, device in ways}):
        for way, name in ways.items():
            _try_to_fill(*way, name)


def _try_to_fill(
    initializer: Initializer, role: Role, dtype: torch.dtype, device: torch.device, name: str
) -> None:
    try:
        initializer.fill(role, name, torch.empty(2, 2, dtype=dtype, device=device))
    except RuntimeError as error:
        raise ValueError(
            f"`init` must suit every parameter, got {initializer} for {name!r} of type {dtype} "
            f"({error}); do leave it out with `pattern`"
        ) from None


def _warn_of(kept: Sequence[str]) -> None:
    warnings.warn(
        f"`force_reinit` must be True to initialize again, got False; "
        f"{_first_few(kept)} were initialized before and keep their values; "
        f"do initialize(..., force_reinit=True) to give them new ones",
        UserWarning,
        stacklevel=4,  # past what guides those who write by habit
    )


@dataclass(frozen=True)
class Initialized:
    """What `initialize` did to one parameter; shape and values are None where it is deferred."""

    name: str
    shape: tuple[int, ...] | None
    rule: str
    role: str
    measured: Moments | None
    expected: Moments | None


@dataclass(frozen=True, repr=False)
class InitReport(Rows[Initialized]):
    """Which rule reached which parameter, and the mean and the deviation that came of it.

    They are measured at once, on about 1,500 entries of a larger parameter: so the report costs
    next to nothing, keeps no tensor alive, and goes on saying what was true when it was made.
    """

    rows: tuple[Initialized, ...]
    kept: tuple[str, ...]

    def _table(self) -> Table:
        kept = _("kept, as initialized before: {names}", names=_first_few(self.kept))
        return Table(
            _HEADERS, [_cells(row) for row in self.rows], notes=[kept] if self.kept else []
        )

    def _rows(self) -> Sequence[Initialized]:
        return self.rows


def _measure(tensor: Tensor) -> Moments | None:
    """Return mean and deviation, of an even sample where there are many entries."""
    if not tensor.numel() or tensor.is_complex():
        return None
    values = tensor.detach().reshape(-1)
    if len(values) > 2 * _RUNS * _RUN:
        values = values.unfold(0, _RUN, len(values) // _RUNS)
    values = values.to("cpu", torch.float64)
    variance, mean = torch.var_mean(values, correction=0)
    return float(mean), float(variance) ** 0.5


def _first_few(names: Sequence[str]) -> str:
    """Return a list of names that stays short."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return ", ".join(map(repr, names[:2])) + more


def _cells(row: Initialized) -> tuple[object, ...]:
    mean, deviation = _numbers(row.measured)
    wanted_mean, wanted_deviation = _numbers(row.expected)
    shape = Shown(None, _("deferred")) if row.shape is None else Shown(row.shape, str(row.shape))
    return row.name, shape, row.rule, row.role, mean, wanted_mean, deviation, wanted_deviation


def _numbers(moments: Moments | None) -> tuple[object, object]:
    if moments is None:
        return Shown(None, "-"), Shown(None, "-")
    return moments
