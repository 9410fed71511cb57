"""Under which names a file holds what a net asks for: checkpoints, prefixes, wrappers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from torch import Tensor

from ..arguments import some
from ..tables import listed
from ..words.language import _, ngettext
from .report import AnyPath, FileError, FileReport, Part, Rename, refusal

# What torch.compile, FSDP and activation checkpointing put into the names of what they wrap.
_WRAPPERS = "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."


class Found(NamedTuple):
    """The entries of a file under the names that a net has for them, and where they were found.

    `old_names` are the names in the file, by those in the net.
    """

    entries: dict[str, Any]
    old_names: dict[str, str]
    notes: tuple[str, ...]
    place: str
    hits: int


def check_rename(rename: object) -> None:
    """Raise `TypeError` if `rename` maps no names."""
    if rename is None or callable(rename):
        return
    if not isinstance(rename, Mapping):
        got = type(rename).__name__
    elif not all(isinstance(name, str) for pair in rename.items() for name in pair):
        got = repr(dict(rename))
    else:
        return
    raise TypeError(
        f"`rename` must be a dict from names to names or a function, got {got}; "
        "do rename={'name in the file': 'name in the net'}"
    )


def find(path: AnyPath, value: Any, wanted: Set[str], rename: Rename = None) -> Found:
    """Return what a file holds for a net that saves the names `wanted`.

    A checkpoint may hold several dicts of tensors: the one with most of the names is meant.
    """
    states = dict(_states(value))
    if not states and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        states = {"": value}
    if not states:
        reason = f"it holds a {type(value).__name__}"
        raise refusal(path, reason, wanted="hold tensors by name", mend="do load(path)")
    tried = []
    for place, entries in (*states.items(), ("", _together(states))):
        try:
            tried.append(_tried(place, entries, _renamed(entries, rename), wanted))
        except ValueError as error:
            problem = error
    if not tried:
        raise problem
    best = max(tried, key=lambda one: (one.hits, 0 if one.hits else len(one.entries)))
    rivals = [one for one in tried if one.hits == best.hits > 0 and one.place]
    if best.place and len(rivals) > 1:
        raise _several(path, rivals)
    return best._replace(notes=(*_whereabouts(best.place, value), *best.notes))


def _whereabouts(place: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Yield where in a checkpoint the tensors were, and what else is there."""
    if not place:
        return
    others = [f"`{key}`" for key in value if key != place.split(".")[0]]
    if others:
        beside = listed(others, 6)
        yield _("taken from `{place}`, beside {others}", place=place[:-1], others=beside)
    else:
        yield _("taken from `{place}`", place=place[:-1])


def _states(value: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the dicts of tensors in a checkpoint, and where they are; not those of optimizers."""
    if not isinstance(value, dict) or "param_groups" in value:
        return
    if not all(isinstance(key, str) for key in value):
        return
    if any(isinstance(item, Tensor) for item in value.values()):
        yield place, value
    for key, item in value.items():
        yield from _states(item, f"{place}{key}.")


def _together(states: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return all in one, so that a net may be made of several, and `rename` name one of them."""
    return {
        place + name: item
        for place, entries in states.items()
        for name, item in entries.items()
        if len(states) == 1 or isinstance(item, Tensor)
    }


def _renamed(entries: Mapping[str, Any], rename: Rename) -> dict[str, str]:
    """Return the names in the file by their new ones."""
    change = _by_prefix(entries, rename) if isinstance(rename, Mapping) else rename
    renamed: dict[str, str] = {}
    for old in entries:
        new = old if change is None else change(old)
        if not isinstance(new, str) or new in renamed:
            raise ValueError(
                f"`rename` must give each name one of its own, got {new!r} for {old!r}; "
                "do give another name"
            )
        renamed[new] = old
    return renamed


def _by_prefix(names: Mapping[str, Any], rename: Mapping[str, str]) -> Callable[[str], str]:
    """Return the function that changes whole names, and the names of modules before them."""
    table = {old.rstrip("."): new.rstrip(".") for old, new in rename.items()}
    used = set()

    def change(name: str) -> str:
        parts = name.split(".")
        for end in range(len(parts), -1, -1):
            old = ".".join(parts[:end])
            if old in table:
                used.add(old)
                return ".".join(([table[old]] if table[old] else []) + parts[end:])
        return name

    changed = {name: change(name) for name in names}
    unknown = [old for old in rename if old.rstrip(".") not in used]
    if unknown:
        raise ValueError(
            f"`rename` must map names that the file has, or prefixes of them, "
            f"got {', '.join(map(repr, unknown))}; do choose among {some([*map(repr, names)], 20)}"
        )
    return changed.__getitem__


def _tried(
    place: str, entries: Mapping[str, Any], renamed: Mapping[str, str], wanted: Set[str]
) -> Found:
    """Let entries have the net's names where only wrappers make a difference."""
    bare = {_bare(name): name for name in wanted}
    old_names: dict[str, str] = {}
    changed = []
    for name, old in renamed.items():
        mine = name if name in wanted else bare.get(_bare(name), name)
        if mine != name and mine not in renamed and mine not in old_names:
            changed.append((name, mine))
            name = mine
        old_names[name] = old
    found = {name: entries[old] for name, old in old_names.items()}
    notes = (_without(changed),) if changed else ()
    return Found(found, old_names, notes, place, len(found.keys() & wanted))


def _without(changed: list[tuple[str, str]]) -> str:
    (old, new), *_more = changed
    return ngettext(
        "{old} is {new}, without what DataParallel or torch.compile adds to names",
        "{old} is {new} and so on, {n:,} names without what DataParallel or torch.compile adds",
        len(changed),
        old=f"`{old}`",
        new=f"`{new}`",
    )


def _bare(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    while name.startswith("module."):  # of DataParallel
        name = name.removeprefix("module.")
    return name


def _several(path: AnyPath, rivals: list[Found]) -> FileError:
    names = [one.place[:-1] for one in rivals]
    sizes = [sum(getattr(item, "nbytes", 0) for item in one.entries.values()) for one in rivals]
    parts = tuple(map(Part, names, sizes))
    return FileError(
        f"`path` must hold the tensors of one net, got '{path}' with several: "
        f"{', '.join(names)}; nothing was loaded, do choose one, the first by "
        f"load_parameters(net, {str(path)!r}, rename={{{names[0]!r}: ''}}, ignore_extra=True)",
        FileReport(str(path), parts, "several with the names of the net", refused=True),
    )
