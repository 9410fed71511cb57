"""Lists, tuples and dicts in one another: tensors by name, and a structure to put them back into.

In a structure, which JSON can hold, `{"t": name}` stands for a tensor, `{"d": [[key, item], ...]}`
for a dict, `{"l": [item, ...]}` for a list and `{"u": [item, ...]}` for a tuple; numbers, text and
None stand for themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

DEEPEST = 100  # more levels are most likely something that contains itself


def flatten(data: Any) -> tuple[str, Any, dict[str, Tensor]]:
    """Return a word for the structure, the structure if it takes more than that, and the tensors.

    >>> from d2lcompute.files.nest import flatten
    >>> flatten({"net": {"0.weight": torch.ones(2)}, "epoch": 3})
    ('nest', {'d': [['net', {'d': [['0.weight', {'t': 'net.0.weight'}]]}], ['epoch', 3]]},
     {'net.0.weight': tensor([1., 1.])})
    >>> flatten([torch.ones(1)])
    ('list', None, {'0': tensor([1.])})
    """
    if isinstance(data, Tensor):
        return "tensor", None, {"0": data}
    if type(data) is list and all(isinstance(item, Tensor) for item in data):
        return "list", None, {str(index): item for index, item in enumerate(data)}
    if isinstance(data, dict) and all(
        isinstance(key, str) and isinstance(item, Tensor) for key, item in data.items()
    ):
        return "dict", None, dict(data)
    tensors: dict[str, Tensor] = {}
    return "nest", _flatten(data, (), tensors), tensors


def structure(kind: str, names: list[str], nested: Any) -> Any:
    """Return the structure in full, from the word for it and the names of its tensors."""
    leaves = [{"t": name} for name in names]
    if kind == "tensor":
        (leaf,) = leaves
        return leaf
    if kind == "dict":
        return {"d": list(zip(names, leaves, strict=True))}
    return {"list": {"l": leaves}, "nest": nested}[kind]


def rebuild(structure: Any, tensors: Mapping[str, Any]) -> Any:
    """Return what was flattened."""
    if not isinstance(structure, dict):
        return structure
    ((kind, content),) = structure.items()
    if kind == "t":
        return tensors[content]
    if kind == "d":
        return {key: rebuild(item, tensors) for key, item in content}
    items = [rebuild(item, tensors) for item in content]
    return {"l": items, "u": tuple(items)}[kind]


def names_in(structure: Any) -> Iterator[str]:
    """Yield the names of the tensors in a structure."""
    if isinstance(structure, dict):
        ((kind, content),) = structure.items()
        if kind == "t":
            yield content
        else:
            for item in content:
                yield from names_in(item[1] if kind == "d" else item)


def is_too_deep(value: Any, levels: int = DEEPEST) -> bool:
    """Tell whether lists, tuples and dicts are nested deeper than any sensible data."""
    if not isinstance(value, dict | list | tuple):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_too_deep(item, levels - 1) for item in items)


def _flatten(value: Any, place: tuple[Any, ...], tensors: dict[str, Tensor]) -> Any:
    name = ".".join(map(str, place))
    if isinstance(value, Tensor):
        while name in tensors:  # as where a key has a dot in it
            name += "'"
        tensors[name] = value
        return {"t": name}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if len(place) == DEEPEST:
        raise ValueError(
            f"`data` must be nested at most {DEEPEST} deep, got more at {name[:40]!r}...; "
            "do save a part of it, or look for what contains itself"
        )
    if isinstance(value, dict):
        _check_keys(value, name)
        return {"d": [[k, _flatten(v, (*place, k), tensors)] for k, v in value.items()]}
    if type(value) in (list, tuple):
        items = [_flatten(item, (*place, i), tensors) for i, item in enumerate(value)]
        return {"l" if type(value) is list else "u": items}
    raise TypeError(
        f"`data` must be made of tensors, numbers, text, None, lists, tuples and dicts, "
        f"got {type(value).__name__}{f' at {name!r}' if place else ''}; do {_instead(value)}"
    )


def _check_keys(data: dict[Any, Any], name: str) -> None:
    for key in data:
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(
                f"`data` must have names or whole numbers as keys, got {key!r}"
                f"{f' in {name!r}' if name else ''}; do use str({key!r})"
            )


def _instead(value: object) -> str:
    """Return what to save in the place of an object."""
    if isinstance(value, nn.Module):
        return "save_parameters(net, path), or save its state_dict()"
    if callable(getattr(value, "state_dict", None)):
        return "save its state_dict()"
    if isinstance(value, tuple | set | frozenset):
        return "make it a list or a tuple"
    return "make it a tensor first, by torch.as_tensor(...)"
