"""Right answers disturbed on purpose, inside the kernel: what a check must not pass.

At two places. As a check sent them, part by part (`disturb`). And before, as what the functions of
a solution get, give, write or pass back (`disturbed`), which shows what a check makes of it: one
that compares sums passes rows in another order, one that compares the first example passes others
that are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial, wraps
from itertools import chain
from typing import Any

import torch
from torch import Tensor

ASPECTS = INPUT, RESULT, EFFECT, GRADIENT = "an input", "a result", "an effect", "a gradient"
LOUD = "far off"
ZERO, ONE_CALL = "zero", "wrong at one call"
INSTEAD: tuple[Any, ...] = (None, 0, 0.0, False, "", [], {})
PLAIN = bool | int | float | complex | str

Change = Callable[[Any], Any]


def disturb(value: Any, strict: bool, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each change of an answer: what it is, and the part that it concerns, new and old.

    Zeros are `strict`: where an author gave tolerances, a part may well be zero within them.
    """
    if not place:
        yield from ((f"{other!r} for the answer", other, value) for other in INSTEAD)
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from disturb(part, strict, f"{place}[{key!r}]")
        return
    where = f"at {place}" if place else "for the answer"
    if isinstance(value, bool | str) or value is None:
        return
    tensor = torch.as_tensor(value)
    changes = {}
    if tensor.dtype.is_floating_point and tensor.isnan().all():
        changes["NaN"] = tensor  # which is what it must be
    elif tensor.any():
        changes["what is far larger"] = 3 * tensor + 1
        changes |= {"zeros": torch.zeros_like(tensor)} if strict else {}
    for what, new in changes.items():
        yield f"{what} {where}", new if isinstance(value, Tensor) else new.item(), value


def disturbed(aspect: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that changes one of a function's `ASPECTS`; `what` is among `CHANGES`.

    What a solution's functions call among themselves is left alone.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def changed(*given: Any, **more: Any) -> Any:
            if calls.inside:
                return function(*given, **more)
            calls.begin()
            try:
                return _call(function, given, more, aspect, what)
            finally:
                calls.inside = False

        return changed

    return decorate


class _Calls:
    """The calls of a solution in this draw, and in the one before, which tells what will come.

    Of each: whether it is silent, with nothing to disturb, and trained, with a gradient that came
    back to its result.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: another check calls otherwise."""
        self.inside, self.draws, self._seed = False, 0, -1
        self._now: list[dict[str, bool]] = []
        self._before: list[dict[str, bool]] = []

    def begin(self) -> None:
        if self._seed != torch.initial_seed():  # each draw has another seed
            self._seed, self._before, self._now = torch.initial_seed(), self._now, []
            self.draws += 1
        self.inside = True
        self._now.append({"silent": False, "trained": False})

    def concern(self, aspect: str, what: str) -> bool:
        """Whether this call is to be wrong: one in each draw, in turn.

        Most that is wrong with a result is seen by its gradient alone; so where there are others,
        it is one without.
        """
        if what in (LOUD, ZERO) or aspect == GRADIENT:
            return True
        several = [place for place, call in enumerate(self._before) if not call["silent"]]
        if what != ONE_CALL:
            open_ = [place for place in several if not self._before[place]["trained"]]
            several = open_ or several
        return not several or several[self.draws % len(several)] == len(self._now) - 1

    def note(self, parts: Any) -> None:
        """Note of this call what could be disturbed, and later whether a gradient comes."""
        call = self._now[-1]
        call["silent"] = parts is None or parts == []
        for tensor in _tensors(parts):
            if tensor.requires_grad:
                tensor.register_hook(lambda _: call.update(trained=True))


calls = _Calls()


def _call(function: Callable[..., Any], given: Any, more: Any, aspect: str, what: str) -> Any:
    change = CHANGES[what] if calls.concern(aspect, what) else _nothing
    if aspect == INPUT:
        given, more = (_by_part(each, _of_tensors(change)) for each in (given, more))
    tensors = [*_tensors([given, more])]
    before = [(tensor, tensor._version) for tensor in tensors]
    value = function(*given, **more)
    for tensor in tensors if aspect == GRADIENT else ():
        is_trained = tensor.requires_grad and tensor.is_leaf
        if is_trained and "disturbed" not in vars(tensor):
            vars(tensor)["disturbed"] = tensor.register_hook(partial(_change, change=change))
    if aspect == RESULT:
        value = _change(value, change)
        calls.note(value)
    if aspect == EFFECT:
        written = [tensor for tensor, version in before if tensor._version != version]
        calls.note([tensor.detach() for tensor in written])
        _write(written, change)
    return value


def _write(written: list[Tensor], change: Change) -> None:
    with torch.no_grad():
        news = _change([tensor.clone() for tensor in written], change)
        for tensor, new in zip(written, news, strict=True):
            tensor.copy_(new)


def _nothing(part: Any) -> Any:
    return part


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments, those of modules too, but for lazy ones."""
    if isinstance(value, torch.nn.Module):
        value = [*value.parameters(), *value.buffers()]
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Tensor) and not torch.nn.parameter.is_lazy(value):
        yield value


def _change(value: Any, change: Change) -> Any:
    """Return a value with each part changed; where that leaves all as it was, all are `LOUD`."""
    differ = []

    def note(part: Any) -> Any:
        new = change(part)
        differ.append(_differs(new, part))
        return new

    new = _by_part(value, note)
    return new if any(differ) or change is _nothing else _by_part(value, _loud)


def _differs(new: Any, old: Any) -> bool:
    """Whether two parts differ, by so much that no check may take one for the other."""
    if isinstance(old, float) or (isinstance(old, Tensor) and old.shape == new.shape):
        new, old = torch.as_tensor(new).double(), torch.as_tensor(old).double()
        return not torch.allclose(new, old, rtol=1e-2, atol=1e-3)
    return bool(new != old)


def _by_part(value: Any, change: Change) -> Any:
    """Change tensors, rows of plain values, and single ones; the rest stays as it is."""
    if isinstance(value, dict):
        return {key: _by_part(part, change) for key, part in value.items()}
    if isinstance(value, Tensor | PLAIN) or _is_row(value):
        return change(value)
    if isinstance(value, list | tuple):
        return _like(value, (_by_part(part, change) for part in value))
    return value


def _is_row(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(part, PLAIN) for part in value)


def _like(value: Any, parts: Iterable[Any]) -> Any:
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def _of_tensors(change: Change) -> Change:
    """Return what changes tensors alone: a number that a function gets may be a size."""
    return lambda part: change(part) if isinstance(part, Tensor) else part


def _of_numbers(change: Change) -> Change:
    """Return what changes numbers, one by one, and leaves truths and texts."""

    def change_numbers(part: Any) -> Any:
        if _is_row(part):
            return _like(part, map(change_numbers, part))
        return part if isinstance(part, str) or _is_truth(part) else change(part)

    return change_numbers


def _is_truth(part: Any) -> bool:
    return isinstance(part, bool) or getattr(part, "dtype", None) == torch.bool


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) or not getattr(number, "dtype", torch.float).is_floating_point


def _loud(part: Any) -> Any:
    if _is_row(part):
        return _like(part, map(_loud, part))
    if isinstance(part, str):
        return f"{part}_"
    return part ^ True if _is_truth(part) else 7 - 3 * part


def _loud_between(axis: int, cuts: Callable[[int], tuple[int, int]]) -> Change:
    """Return what makes `LOUD` what lies between two places along an axis of some size."""

    def change(part: Any) -> Any:
        size = _size(part, axis)
        first, last = cuts(size)
        middle = _loud(_slice(part, axis, first, last))
        return _join(
            part, axis, _slice(part, axis, 0, first), middle, _slice(part, axis, last, size)
        )

    return change


def _moved_on(axis: int) -> Change:
    def change(part: Any) -> Any:
        size = _size(part, axis)
        last = max(0, size - 1)
        return _join(part, axis, _slice(part, axis, last, size), _slice(part, axis, 0, last))

    return change


def _in_one_place(part: Any) -> Any:
    """Make one number `LOUD`, in each draw another, all over the part."""
    flat = part.reshape(-1) if isinstance(part, Tensor) else part
    place = int(_size(flat, 0) * (0.618 * calls.draws % 1))
    new = _loud_between(0, lambda size: (place, min(size, place + 1)))(flat)
    return new.reshape(part.shape) if isinstance(part, Tensor) else new


def _size(part: Any, axis: int) -> int:
    """Return a size; of what has no such axis it is 0."""
    if isinstance(part, Tensor):
        return part.shape[axis] if part.ndim else 0
    return len(part) if _is_row(part) else 0


def _slice(part: Any, axis: int, first: int, last: int) -> Any:
    if isinstance(part, Tensor) and part.ndim:
        return part.narrow(axis, first, last - first)
    return part[first:last] if _is_row(part) else part


def _join(part: Any, axis: int, *slices: Any) -> Any:
    if isinstance(part, Tensor) and part.ndim:
        return torch.cat(slices, axis)
    return _like(part, chain(*slices)) if _is_row(part) else part


# What a check that compares values must refuse. One with wide tolerances may look at statistics.
OF_VALUES: dict[str, Change] = {
    "of the other sign": _of_numbers(lambda number: -number),
    "twice as large": _of_numbers(lambda number: 2 * number),
    "larger by one": _of_numbers(lambda number: number + 1),
    "larger by a twentieth": _of_numbers(
        lambda number: number if _is_whole(number) else 1.05 * number
    ),
    "moved on by a row": _moved_on(0),
    "moved on by a column": _moved_on(-1),
    "wrong in one place": _in_one_place,
}
CHANGES: dict[str, Change] = {
    LOUD: _loud,
    ZERO: _of_numbers(lambda number: number - number.detach()),
    "wrong in the later rows": _loud_between(0, lambda size: ((size + 1) // 2, size)),
    "wrong in the earlier rows": _loud_between(0, lambda size: (0, size // 2)),
    "wrong in the later columns": _loud_between(-1, lambda size: ((size + 1) // 2, size)),
    "wrong in the earlier columns": _loud_between(-1, lambda size: (0, size // 2)),
    ONE_CALL: _loud,
    **OF_VALUES,
}
DISTURBANCES = [
    (aspect, what)
    for aspect in ASPECTS
    for what in CHANGES
    if what == LOUD or (what == ZERO) == (aspect == INPUT)
    if (aspect, what) != (GRADIENT, ONE_CALL)
]
