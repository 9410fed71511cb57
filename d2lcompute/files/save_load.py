"""Saving and loading: tensors, and the parameters of nets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..parameters.names import entries
from .fit import Rename, fit, rename_all
from .format import write
from .read import read
from .replace import replacing
from .reports import FileReport, FitReport
from .restore import restore

Path = str | os.PathLike[str]


def save(path: Path, data: Tensor | list[Tensor] | dict[str, Tensor]) -> None:
    """Save a tensor, a list of tensors or a dict of tensors.

    >>> X, y = torch.arange(4), torch.zeros(4)
    >>> d2c.save("X.safetensors", X)
    >>> d2c.load("X.safetensors")
    tensor([0, 1, 2, 3])
    >>> d2c.save("both.safetensors", {"X": X, "y": y})
    >>> d2c.load("both.safetensors")["y"]
    tensor([0., 0., 0., 0.])

    `path` names the file; it holds the old content or the new one at any moment, never a part.
    Values, shapes and dtypes are kept, of any shape and device; what is not: the device,
    `requires_grad`, and that a view is part of another tensor. A tensor that comes twice is saved
    once, and loaded as one.

    The file is in the safetensors format, with a checksum for each tensor. Raises `TypeError` for
    other data, and `OSError` if the file cannot be written. Source: D2L 6.6 / zh 5.5
    """
    with replacing(path) as file:
        write(file, *_named(data))


def load(path: Path, device: torch.device | str | None = None) -> Any:
    """Load what `save` saved: a tensor, a list of tensors or a dict of tensors.

    >>> d2c.save("list.safetensors", [torch.ones(2, 3), torch.tensor(True)])
    >>> ones, yes = d2c.load("list.safetensors")
    >>> ones.shape, yes
    (torch.Size([2, 3]), tensor(True))

    `path` may also be a file from `save_parameters`, a safetensors file of another library (both
    give a dict) or a torch.save file of such data: only tensors are read from it, never code.
    `device` is where the tensors go, the CPU by default.

    Raises `ValueError` if the file is damaged or holds anything else, and `OSError` if it cannot
    be read. Source: D2L 6.6 / zh 5.5
    """
    contents = read(path)
    for name, tensor in contents.tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(
                f"`path` must hold tensors alone, got '{os.fspath(path)}' with a "
                f"{type(tensor).__name__} under {name!r}; do torch.load(path, weights_only=True)"
            )
    copies = {id(t): t.to(device or "cpu", copy=True) for t in contents.tensors.values()}
    loaded = {name: copies[id(tensor)] for name, tensor in contents.tensors.items()}
    if contents.kind == "list":
        return list(loaded.values())
    return next(iter(loaded.values())) if contents.kind == "tensor" else loaded


def save_parameters(net: nn.Module, path: Path) -> None:
    """Save the values of a net: its parameters and what else its `state_dict` holds.

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> d2c.save_parameters(net, "mlp.safetensors")
    >>> clone = d2c.mlp(256, 10)
    >>> report = d2c.load_parameters(clone, "mlp.safetensors")
    >>> X = torch.rand(2, 20)
    >>> torch.equal(clone(X), net(X))
    True

    The values are saved, not the net: to load them, build the same net again. `path` names the
    file, which any reader of safetensors reads. A crash at any moment leaves the file that was
    there or the new one, whole (and perhaps a `.d2lcompute-*.tmp` beside it, to be deleted). A tied
    parameter is saved once, under the first of its names; the metadata holds the ties, the version
    of torch and a checksum for each tensor.

    Raises `ValueError` if a parameter is still lazy, `TypeError` if the net saves anything but
    tensors, and `OSError` if the file cannot be written. Source: D2L 6.6 / zh 5.5
    """
    lazy = [entry.name for entry in entries(net) if is_lazy(entry.tensor)]
    if lazy:
        raise ValueError(
            f"`net` must have all of its parameters, got lazy ones ({', '.join(lazy)}) without "
            "shape or values; do materialize(net, X) or one forward pass first"
        )
    state = net.state_dict(keep_vars=True)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"`net` must save nothing but tensors, got a {type(value).__name__} for {name!r}; "
                "do torch.save(net.state_dict(), path), or return a tensor from get_extra_state"
            )
    with replacing(path) as file:
        write(file, "dict", state)


def verify(path: Path) -> FileReport:
    """Read all of a file and hold it against the checksums in it.

    >>> d2c.save_parameters(nn.Linear(20, 256), "linear.safetensors")
    >>> d2c.verify("linear.safetensors")
    linear.safetensors: whole
    part      bytes  checksum
    ------  -------  ---------------------
    header      ...  xxh3:...
    weight   20,480  xxh3:...
    bias      1,024  xxh3:...
    every byte is under one of these checksums
    >>> with open("linear.safetensors", "r+b") as file:
    ...     _ = file.seek(-1, 2), file.write(b"!")
    >>> d2c.verify("linear.safetensors")
    Traceback (most recent call last):
    ValueError: ... the values of `bias` were changed since it was saved...

    `path` names a file from `save` or `save_parameters`, a torch.save file, which holds CRCs that
    torch itself does not read, or a safetensors file of another library, which holds none: then
    the report says that values are not protected.

    Raises `ValueError` that names what is damaged, and `OSError` if the file cannot be read.
    Source: D2L 6.6 / zh 5.5
    """
    contents = read(path)
    return FileReport(os.fspath(path), tuple(contents.parts), contents.note)


def load_parameters(
    net: nn.Module,
    path: Path,
    *,
    allow_missing: bool = False,
    ignore_extra: bool = False,
    rename: Rename = None,
    device: torch.device | str | None = None,
) -> FitReport:
    """Load the values of a net, if all of them fit; if not, the net stays as it was.

    >>> d2c.save_parameters(d2c.mlp(256, 10, in_units=20), "mlp.safetensors")
    >>> d2c.load_parameters(d2c.mlp(256, 10), "mlp.safetensors")
    mlp.safetensors: loaded
    name      in the file        in the net        outcome
    --------  -----------------  ----------------  ---------
    0.weight  (256, 20) float32  (256, ?) float32  fits
    0.bias    (256,) float32     (256,) float32    fits
    2.weight  (10, 256) float32  (10, ?) float32   fits
    2.bias    (10,) float32      (10,) float32     fits

    `path` names a file from `save_parameters`, a safetensors file of another library, or a
    torch.save file of a `state_dict`; no code in it ever runs, and its checksums are verified.
    Lazy layers learn their shapes from the file. Tied parameters stay tied, and one of their names
    in the file is enough. Floating-point numbers are converted to the net's dtype.

    `allow_missing` lets names that only the net has keep their values (a tied one is not missing),
    `ignore_extra` leaves out what only the file has. `rename` maps names in the file to names in
    the net: a dict of those that differ, or a function of the name. `device` is where the net is
    moved; by default each value goes where its parameter is.

    Returns a report with a row for each name. Raises `ValueError` that names everything that does
    not fit or is damaged, and `OSError` if the file cannot be read. Source: D2L 6.6 / zh 5.5
    """
    tensors = rename_all(_read_names(path), rename)
    fitting = fit(net, tensors, allow_missing=allow_missing, ignore_extra=ignore_extra)
    report = FitReport(os.fspath(path), fitting.matches, loaded=True)
    if report.misfits:
        raise ValueError(report.complaint())
    restore(net, fitting.values, fitting.lessons, None if device is None else torch.device(device))
    return report


def compare(net: nn.Module, path: Path) -> FitReport:
    """Report how a file fits a net, and change nothing.

    >>> d2c.save_parameters(nn.Linear(3, 4, bias=False), "small.safetensors")
    >>> d2c.compare(nn.Linear(3, 5), "small.safetensors")
    small.safetensors: does not fit, 2 misfits
    name    in the file     in the net      outcome
    ------  --------------  --------------  -----------
    weight  (4, 3) float32  (5, 3) float32  other shape
    bias    -               (5,) float32    missing

    `net` is any module, `path` what `load_parameters` takes.

    Returns the report of `load_parameters`; its `misfits` are the rows that do not fit. Raises
    `ValueError` if the file is damaged, and `OSError` if it cannot be read.
    Source: D2L 6.6 / zh 5.5
    """
    fitting = fit(net, _read_names(path), allow_missing=False, ignore_extra=False)
    return FitReport(os.fspath(path), fitting.matches, loaded=False)


def _named(data: Any) -> tuple[str, dict[str, Tensor]]:
    if isinstance(data, Tensor):
        kind, tensors = "tensor", {"0": data}
    elif isinstance(data, list):
        kind, tensors = "list", {str(index): item for index, item in enumerate(data)}
    elif isinstance(data, dict):
        kind, tensors = "dict", dict(data)
    else:
        hint = "save_parameters(net, path)" if isinstance(data, nn.Module) else "torch.tensor(data)"
        raise TypeError(
            f"`data` must be a tensor, a list of tensors or a dict of tensors, "
            f"got {type(data).__name__}; do {hint}"
        )
    for name, tensor in tensors.items():
        _check_item(name, tensor)
    return kind, tensors


def _check_item(name: object, tensor: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"`data` must have names as keys, got {name!r}; do use str({name!r})")
    if not isinstance(tensor, Tensor):
        nested = isinstance(tensor, list | tuple | dict)
        hint = "save each level in a file of its own" if nested else "make it a tensor first"
        raise TypeError(
            f"`data` must hold tensors alone, got {type(tensor).__name__} at {name!r}; do {hint}"
        )
    if is_lazy(tensor):
        raise ValueError(
            f"`data` must hold values, got a lazy parameter at {name!r}; "
            "do materialize(net, X) or one forward pass first"
        )


def _read_names(path: Path) -> Mapping[str, Any]:
    contents = read(path)
    if contents.kind != "dict":
        raise ValueError(
            f"`path` must hold tensors by name, got '{os.fspath(path)}' with a {contents.kind}; "
            f"do load(path)"
        )
    nested = [name for name, value in contents.tensors.items() if isinstance(value, dict)]
    if nested:
        raise ValueError(
            f"`path` must hold tensors by name, got '{os.fspath(path)}' with dicts of them: "
            f"{', '.join(nested)}; do torch.load(path, weights_only=True), and save one alone"
        )
    return contents.tensors
