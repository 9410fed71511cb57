"""What the error says about a file that does not fit a net, and the line that loads it anyway."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..tables import listed
from .report import FitReport, Kind, Match, cell, shape_fits

_FEW = 8  # entries of `rename` that are worth writing out
_MOST = 400  # names that are compared with one another


def complaint(report: FitReport, old_names: Mapping[str, str], given: Mapping[str, object]) -> str:
    """Return the message with every misfit and, as far as there is one, the line to write.

    `old_names` are those in the file by those in the net, `given` are the options of the call.
    """
    misfits = [
        f"  {m.name}: {_text(m.found)} in the file, {_text(m.wanted)} in the net: "
        f"{m.kind.format(tie=m.tie)}"
        for m in report.misfits
    ]
    count = f"{len(misfits)} misfit{'s' if len(misfits) > 1 else ''}"
    head = f"`path` must fit the net, got '{report.path}' with {count}"
    index = _index_beside(report.path)
    advice = (
        [f"do load_parameters(net, {index!r}), of which this file is a part"]
        if index
        else ["do load the file that belongs to this net", *_line(report, old_names, dict(given))]
    )
    return "\n".join([f"{head}; nothing was loaded:", *misfits, *advice])


def _text(kind: Kind | None) -> str:
    return "nothing" if kind is None else cell(kind).text


def _index_beside(path: str) -> str:
    """Return the index of a checkpoint in several files if `path` is one of these."""
    index, found = re.subn(r"-\d+-of-\d+(\.\w+)$", r"\1.index.json", path)
    return index if found and Path(index).is_file() else ""


def _line(
    report: FitReport, old_names: Mapping[str, str], given: dict[str, object]
) -> Iterator[str]:
    missing = {m.name: m for m in report.misfits if m.kind == "missing"}
    extra = {m.name: m for m in report.misfits if m.kind == "extra"}
    others = [m.name for m in report.misfits if m.name not in missing and m.name not in extra]
    rename: Any = given["rename"]
    if not callable(rename):
        fitting = [old_names[m.name] for m in report.matches if m.fits and m.name in old_names]
        table = _suggested(missing, extra, old_names, fitting)
        table.update({old_names[name]: f"unused.{name}" for name in others if name in old_names})
        if len(table) > _FEW or not (fitting or len(table) > len(others)):
            return
        given["rename"] = {**(rename or {}), **table} or None
    elif others:
        return
    if missing or others:
        given["allow_missing"] = True
    if extra or others:
        given["ignore_extra"] = True
    options = [f"{name}={value!r}" for name, value in given.items() if value not in (None, False)]
    yield f"or write load_parameters({', '.join(['net', repr(report.path), *options])})"
    if missing or others:
        yield f"  it keeps the net's own {listed([*missing, *others], _FEW)}"
    if extra:
        yield f"  it does not load {listed([*extra], _FEW)}"


def _suggested(
    missing: dict[str, Match],
    extra: dict[str, Match],
    old_names: Mapping[str, str],
    fitting: Iterable[str],
) -> dict[str, str]:
    """Return the renaming by which most of what is extra becomes what is missing.

    What was found a place is taken out of `missing` and `extra`.
    """
    table: dict[str, str] = {}
    if len(missing) > _MOST or len(extra) > _MOST:
        return table
    while votes := _votes(missing, extra, old_names):
        (old, new), _ = votes.most_common(1)[0]
        moved = {
            name: _moved(old_names[name], old, new)
            for name in extra
            if _is_under(old_names[name], old)
        }
        moved = {name: target for name, target in moved.items() if target in missing}
        also_there = any(_is_under(name, old) for name in fitting)
        if also_there or any(_is_under(one, old) or _is_under(old, one) for one in table):
            table.update({old_names[name]: target for name, target in moved.items()})
        else:
            table[old] = new
        for name, target in moved.items():
            del extra[name], missing[target]
    return table


def _votes(
    missing: Mapping[str, Match], extra: Mapping[str, Match], old_names: Mapping[str, str]
) -> Counter[tuple[str, str]]:
    """Count the pairs of prefixes that would make a name of the file one of the net."""
    return Counter(
        _prefixes(old_names[name], target)
        for name, match in extra.items()
        for target, other in missing.items()
        if name.rpartition(".")[2] == target.rpartition(".")[2]
        and shape_fits(match.found, other.wanted)
    )


def _prefixes(old: str, new: str) -> tuple[str, str]:
    """Return what is before the end that two names share."""
    left, right = old.split("."), new.split(".")
    while left and right and left[-1] == right[-1]:
        left.pop()
        right.pop()
    return ".".join(left), ".".join(right)


def _is_under(name: str, prefix: str) -> bool:
    return not prefix or name == prefix or name.startswith(f"{prefix}.")


def _moved(name: str, old: str, new: str) -> str:
    rest = name if not old else name[len(old) + 1 :]
    return f"{new}.{rest}" if new else rest
