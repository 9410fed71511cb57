"""What the error says about a file that does not fit a net, and the line that loads it anyway."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arguments import some
from .names import Rename
from .report import EXTRA, KEPT, LEFT_OUT, MISSING, FitReport, Kind, Match, cell, shape_fits

_FEW = 8  # entries of `rename` that are worth writing out
_MOST = 400  # names that are compared with one another
_UNUSED = "unused."  # put before the names of what fits nowhere


def complaint(
    report: FitReport,
    old_names: Mapping[str, str],
    given: Mapping[str, Any],
    fit_again: Callable[[Rename], Sequence[Match]],
) -> str:
    """Return the message with every misfit and, if there is one, the line that loads the file.

    `old_names` are those in the file by those in the net, `given` are the options of the call, and
    `fit_again` tells what would come of another `rename`, with leave to miss and to ignore names.
    """
    misfits = [
        f"  {m.name}: {_text(m.found)} in the file, {_text(m.wanted)} in the net: "
        f"{m.kind.format(tie=m.tie)}"
        for m in report.misfits
    ]
    count = f"{len(misfits)} misfit{'s' if len(misfits) > 1 else ''}"
    head = f"`path` must fit the net, got '{report.path}' with {count}"
    index = _index_beside(report.path)
    if index:
        advice = [f"do load_parameters(net, {index!r}), of which this file is a part"]
    else:
        rename = _other_rename(report, old_names, given["rename"])
        line = _line(report.path, {**given, "rename": rename}, fit_again)
        advice = ["do load the file that belongs to this net", *line]
    return "\n".join([f"{head}; nothing was loaded:", *misfits, *advice])


def _text(kind: Kind | None) -> str:
    return "nothing" if kind is None else cell(kind).text


def _index_beside(path: str) -> str:
    """Return the index of a checkpoint in several files if `path` is one of these."""
    index, found = re.subn(r"-\d+-of-\d+(\.\w+)$", r"\1.index.json", path)
    return index if found and Path(index).is_file() else ""


def _line(
    path: str, options: dict[str, Any], fit_again: Callable[[Rename], Sequence[Match]]
) -> Iterator[str]:
    """Yield the line that loads the file, if it does, and what that means."""
    matches = fit_again(options["rename"])
    if not all(match.fits for match in matches) or all(m.kind in (KEPT, LEFT_OUT) for m in matches):
        return
    kept = [match.name for match in matches if match.kind == KEPT]
    left_out = [match.name for match in matches if match.kind == LEFT_OUT]
    options["allow_missing"], options["ignore_extra"] = bool(kept), bool(left_out)
    said = [f"{name}={value!r}" for name, value in options.items() if value not in (None, False)]
    yield f"or write load_parameters({', '.join(['net', repr(path), *said])})"
    if kept:
        yield f"  it keeps the net's own {some(kept, _FEW)}"
    left_out = [name for name in left_out if not name.startswith(_UNUSED)]
    if left_out:
        yield f"  it does not load {some(left_out, _FEW)}"


def _other_rename(report: FitReport, old_names: Mapping[str, str], rename: Rename) -> Rename:
    """Return the renaming by which most of what is extra becomes what is missing."""
    if callable(rename):
        return rename
    missing = {m.name: m for m in report.misfits if m.kind == MISSING}
    extra = {old_names[m.name]: m for m in report.misfits if m.kind == EXTRA}
    others = [m.name for m in report.misfits if m.kind not in (MISSING, EXTRA)]
    fitting = [old_names[m.name] for m in report.matches if m.fits and m.name in old_names]
    table = {old_names[name]: _UNUSED + name for name in others if name in old_names}
    while len(table) <= _FEW and (votes := _votes(missing, extra)):
        (old, new), _ = votes.most_common(1)[0]
        moved = {name: _moved(name, old, new) for name in extra if _is_under(name, old)}
        moved = {name: target for name, target in moved.items() if target in missing}
        if any(_is_under(name, old) or _is_under(old, name) for name in (*fitting, *table)):
            table.update(moved)
        else:
            table[old] = new
        for name, target in moved.items():
            del extra[name], missing[target]
    return {**(rename or {}), **table} or None if len(table) <= _FEW else rename


def _votes(missing: Mapping[str, Match], extra: Mapping[str, Match]) -> Counter[tuple[str, str]]:
    """Count the pairs of prefixes that would make a name of the file one of the net."""
    if len(missing) > _MOST or len(extra) > _MOST:
        return Counter()
    return Counter(
        _prefixes(name, target)
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
