"""What arguments must be: one error for each that is not, which names it and says what to do."""

from __future__ import annotations

import errno
import functools
import inspect
import math
import operator
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import nn

Made = TypeVar("Made", bound=Callable[..., Any])

LAST_DEVICE = 127  # torch keeps a device's number in a signed byte, and takes 200 for another one
_LARGEST = 2**63 - 1  # of torch's integers
_LONGEST = 80
_FILES = "save(path, data), load(path), save_parameters(net, path)"


def positive(name: str, value: Any) -> int:
    """Return `value` as an int, or say which argument must be a positive integer.

    >>> from d2lcompute.arguments import positive
    >>> positive("units", 0)
    Traceback (most recent call last):
    ValueError: `units` must be a positive integer, got 0; do units=256
    """
    return integer(name, value, 1, _LARGEST, do=f"{name}=256", what="a positive integer")


def integer(
    name: str,
    value: Any,
    least: int | None = None,
    most: int | None = None,
    *,
    do: str,
    what: str = "",
) -> int:
    """Return `value` as an int, or say between which bounds an argument must be.

    >>> from d2lcompute.arguments import integer
    >>> integer("count", 3, 0, 2, do="practice_gpus(2)")
    Traceback (most recent call last):
    ValueError: `count` must be an integer from 0 to 2, got 3; do practice_gpus(2)

    Raises `TypeError` for what is no integer, and `ValueError` for one out of bounds.
    """
    low = "" if least is None else f" from {least}"
    high = "" if most is None else f" to {most}"
    message = f"`{name}` must be {what or f'an integer{low}{high}'}, got {shown(value)}; do {do}"
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(message) from None
    if isinstance(value, bool | torch.Tensor):
        raise TypeError(message)
    if (least is not None and number < least) or (most is not None and number > most):
        raise ValueError(message)
    return number


def number(name: str, value: Any, least: float | None = None, *, do: str) -> None:
    """Say of an argument that it must be a finite number, and how large at least.

    >>> from d2lcompute.arguments import number
    >>> number("sigma", -1, 0, do="Normal(0.01)")
    Traceback (most recent call last):
    ValueError: `sigma` must be a number, 0 or more, got -1; do Normal(0.01)

    Raises `TypeError` for what is no real number, and `ValueError` for one that does not suit.
    """
    bound = "" if least is None else f", {least} or more"
    message = f"`{name}` must be a number{bound}, got {shown(value)}; do {do}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(message)
    if not math.isfinite(value) or (least is not None and value < least):
        raise ValueError(message)


def flag(name: str, value: Any) -> bool:
    """Return `value`, or say which argument must be True or False; 1 and None may be a mistake."""
    if not isinstance(value, bool):
        raise TypeError(f"`{name}` must be True or False, got {shown(value)}; do {name}=True")
    return value


def as_generator(value: Any) -> torch.Generator | None:
    """Return `value`, or say that `generator` must be one of torch's."""
    if value is not None and not isinstance(value, torch.Generator):
        raise TypeError(
            f"`generator` must be a torch.Generator, got {shown(value)}; "
            f"do torch.Generator().manual_seed(0)"
        )
    return value


def as_module(name: str, value: Any) -> nn.Module:
    """Return `value`, or say which argument must be a module."""
    if not isinstance(value, nn.Module):
        got = shown(value) if isinstance(value, type) else type(value).__name__
        raise TypeError(f"`{name}` must be an nn.Module, got {got}; do pass the net object itself")
    return value


def function(name: str, value: Any, *, of: str, do: str) -> None:
    """Say of an argument that it must be a function of one thing, such as of the output.

    >>> from d2lcompute.arguments import function
    >>> function("change", 3, of="the output", do="torch.zeros_like")
    Traceback (most recent call last):
    TypeError: `change` must be a function of the output, got 3; do torch.zeros_like
    """
    message = f"`{name}` must be a function of {of}, got {{}}; do {do}"
    if not callable(value):
        raise TypeError(message.format(shown(value)))
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # functions written in C have none
        return
    try:
        signature.bind(None)
    except TypeError:
        raise TypeError(message.format(f"a function of {signature}")) from None


def one_of(
    name: str,
    value: Any,
    known: Iterable[str],
    *,
    what: str,
    see: str = "",
    near: Sequence[str] = (),
) -> str:
    """Return `value` if it is among those that are known, or say which of them are near it.

    >>> from d2lcompute.arguments import one_of
    >>> one_of("mode", "fan_inn", ["fan_in", "fan_out"], what="a mode")
    Traceback (most recent call last):
    ValueError: `mode` must be a mode, got 'fan_inn'; do choose one such as 'fan_in', 'fan_out'

    `see` is a call that shows all of them. What is known to be `near` is offered first.
    """
    names = list(known)
    if isinstance(value, str) and value in names:
        return value
    near = list(dict.fromkeys([*near, *get_close_matches(str(value), names, cutoff=0.0)]))[:3]
    such = f"choose one such as {', '.join(map(repr, near))}" if near else "add some: there is none"
    all_ = f", or {see} to see all" if see else ""
    kind = ValueError if isinstance(value, str) else TypeError
    raise kind(f"`{name}` must be {what}, got {shown(value)}; do {such}{all_}")


def guided(surplus: str = "", **guesses: str) -> Callable[[Made], Made]:
    """Decorate a function or a class, so that what people write by habit gets an error that helps.

    >>> from d2lcompute.arguments import guided
    >>> @guided("normal(0.01)", std="sigma=0.01")
    ... def normal(sigma): ...
    >>> normal(std=0.01)
    Traceback (most recent call last):
    TypeError: `std` must be left out of normal(sigma), got 0.01; do sigma=0.01

    `guesses` maps arguments that there are elsewhere to what to do here; `surplus` is what to do
    if there are too many without a name.
    """

    def decorate(made: Made) -> Made:
        run: Any = vars(made)["__init__"] if isinstance(made, type) else made
        own = [p for p in inspect.signature(run).parameters.values() if p.name != "self"]
        places = [p for p in own if p.kind is not p.KEYWORD_ONLY]
        most = len(places) + isinstance(made, type)
        call = f"{made.__name__}({', '.join(p.name for p in own)})"

        @functools.wraps(run)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for name in kwargs:
                if name in guesses:
                    raise TypeError(
                        f"`{name}` must be left out of {call}, got {shown(kwargs[name])}; "
                        f"do {guesses[name]}"
                    )
            if surplus and len(args) > most:
                few = " and ".join(f"`{p.name}`" for p in places)
                raise TypeError(
                    f"{few} must be all that {call} gets without a name, got {shown(args[most])} "
                    f"besides; do {surplus}"
                )
            return run(*args, **kwargs)

        if not isinstance(made, type):
            return cast(Made, checked)
        type.__setattr__(made, "__init__", checked)
        return made

    return decorate


def shown(value: Any) -> str:
    """Return a value as an error shows it, in one short line."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, torch.Tensor):
        return "a tensor"
    if isinstance(value, nn.Module):
        return type(value).__name__
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def accelerator_index(name: str, value: Any, *, do: str) -> int:
    """Return the number of an accelerator, whether there is one of that number or not."""
    return integer(name, value, 0, LAST_DEVICE, do=do)


def as_device(name: str, value: Any, *, do: str = "try_gpu()") -> torch.device:
    """Return a device or its name as a device that this machine has, or say what it must be.

    >>> from d2lcompute.arguments import as_device
    >>> as_device("device", "gpu")
    Traceback (most recent call last):
    ValueError: `device` must be a device or its name, such as 'cpu' or 'cuda:0', got 'gpu'; do
    try_gpu()

    Raises `TypeError` for what is neither, and `ValueError` for a name that torch does not know and
    for a device that is not there.
    """
    wanted = f"`{name}` must be a device or its name, such as 'cpu' or 'cuda:0', got"
    if not isinstance(value, str | torch.device):
        raise TypeError(f"{wanted} {shown(value)}; do {do}")
    try:
        device = torch.device(value)
    except RuntimeError:
        raise ValueError(f"{wanted} {value!r}; do {do}") from None
    if device.index is not None and not 0 <= device.index <= LAST_DEVICE:
        raise ValueError(f"{wanted} {value!r}, and {LAST_DEVICE} is the last number; do {do}")
    try:
        torch.empty(0, device=device)
    except (AssertionError, ImportError, RuntimeError) as error:
        problem = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(
            f"`{name}` must be a device of this machine, got {str(device)!r} ({problem}); do {do}"
        ) from None
    return device


def check_path(path: object, *, do: str = _FILES) -> None:
    """Raise an error if `path` cannot name a file, most likely since arguments are swapped."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"`path` must be the name of a file, got {type(path).__name__}; do {do}")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ValueError(
            f"`path` must be the name of a file, got {os.fspath(path)!r}; do give another name"
        )


@contextmanager
def written(path: str | os.PathLike[str], *, do: str = _FILES) -> Iterator[Path]:
    """Give the file that is written to, links followed, and say of an error what it is about."""
    check_path(path, do=do)
    target = Path(os.path.realpath(path))
    try:
        yield target
    except OSError as error:
        raise _cannot_write(path, target, error) from error


def _cannot_write(path: str | os.PathLike[str], target: Path, error: OSError) -> OSError:
    wanted, reason, mend = "be a file that can be written", error.strerror, "give another path"
    if not target.parent.is_dir():
        wanted, reason = "lie in a folder that exists", f"there is no folder '{target.parent}'"
        mend = "make the folder first or mend the path"
    elif error.errno == errno.ENOSPC:
        wanted = "lie on a disk with enough room"
        reason = f"{reason}, {shutil.disk_usage(target.parent).free:,} bytes free"
        mend = "make room or give another path"
    return OSError(
        error.errno,
        f"`path` must {wanted}, got '{os.fspath(path)}': {reason}; nothing was changed, do {mend}",
    )


def some(names: Sequence[str], most: int) -> str:
    """Return names for an error, which is English in every language: the first `most` of many.

    >>> from d2lcompute.arguments import some
    >>> some(["a", "b", "c"], 1)
    'a and 2 more'
    """
    hidden = len(names) - most
    return f"{', '.join(names[:most])} and {hidden:,} more" if hidden > 0 else ", ".join(names)
