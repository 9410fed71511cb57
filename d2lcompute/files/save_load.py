"""Saving and loading: tensors, what is made of them, and the parameters of nets."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..arguments import as_device, check_path, flag
from .fit import fit
from .format import write
from .names import check_rename, find
from .read import read
from .report import AnyPath, FileError, FileReport, FitReport, Match, Rename, complaint
from .restore import restore, state_of


def save(path: AnyPath, data: Any) -> None:
    """Save a tensor, a list or dict of tensors, or what is nested of these and of numbers and text.

    >>> X, y = torch.arange(4), torch.zeros(4)
    >>> d2c.save("X.safetensors", X)
    >>> d2c.load("X.safetensors")
    tensor([0, 1, 2, 3])
    >>> d2c.save("both.safetensors", {"X": X, "y": y})
    >>> d2c.load("both.safetensors")["y"]
    tensor([0., 0., 0., 0.])

    So is all that it takes to go on with a training later:

    >>> net = d2c.mlp(256, 10, in_units=20)
    >>> optimizer = torch.optim.Adam(net.parameters())
    >>> state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    >>> d2c.save("epoch3.safetensors", state)
    >>> state = d2c.load("epoch3.safetensors")
    >>> _ = net.load_state_dict(state["net"])
    >>> optimizer.load_state_dict(state["optimizer"])

    `path` names the file; it holds the old content or the new one at any moment, never a part. A
    symbolic link stays one; what has a second name, by a hard link, keeps the old content there.
    Values, shapes and dtypes are kept, of any shape and device; what is not: the device,
    `requires_grad`, and that a view is part of another tensor. A tensor that comes twice is saved
    once, and loaded as one. Lists, tuples and dicts (with names or whole numbers as keys) come back
    as such, and so do numbers, text and None in them.

    The file is in the safetensors format, with a checksum for each tensor. Raises `TypeError` for
    other data, `FileError` for tensors without values, and `OSError` if the file cannot be written.
    Source: D2L 6.6 / zh 5.5
    """
    write(path, data)


def load(
    path: AnyPath,
    device: torch.device | str | None = None,
    *,
    names: str | Iterable[str] | None = None,
) -> Any:
    """Load what `save` saved, in the same structure.

    >>> d2c.save("list.safetensors", [torch.ones(2, 3), torch.tensor(True)])
    >>> ones, yes = d2c.load("list.safetensors")
    >>> ones.shape, yes
    (torch.Size([2, 3]), tensor(True))
    >>> d2c.save("dict.safetensors", {"X": torch.arange(3), "y": torch.zeros(1000, 1000)})
    >>> d2c.load("dict.safetensors", names="X")
    tensor([0, 1, 2])

    `path` may also be a file from `save_parameters`, a safetensors file of another library, the
    index of a checkpoint in several files (all of these give a dict) or a torch.save file: only
    tensors, and what is made of them, are read from it, never code. `device` is where the tensors
    go, the CPU by default. `names` are keys of the dict in the file: one gives what is under it,
    several give a dict of these. The rest is not read; a torch.save file is, for its checksums.

    Raises `FileError` if the file is damaged or holds anything else, and `OSError` if it cannot
    be read. Source: D2L 6.6 / zh 5.5
    """
    keys = _keys(names)
    place = as_device("device", "cpu" if device is None else device)
    value = read(path, keys).value
    copies: dict[int, Tensor] = {}

    def copy(tensor: Tensor) -> Tensor:
        if id(tensor) not in copies:
            plain = tensor.detach()
            copies[id(tensor)] = plain if plain.is_meta else plain.to(place, copy=True)
        return copies[id(tensor)]

    loaded = tree_map_only(Tensor, copy, value)
    return loaded[names] if isinstance(names, str) else loaded


def save_parameters(net: nn.Module, path: AnyPath) -> None:
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
    there or the new one, whole (and perhaps a `.d2lcompute-*.tmp` beside it, to be deleted). As by
    `save`, a symbolic link stays one, and a hard link to the file that was there is cut: that name
    keeps the old content. A tied parameter is saved once, under the first of its names; the
    metadata holds the ties, the version of torch and a checksum for each tensor.

    Raises `FileError` if a parameter is lazy or on the meta device, `TypeError` if the net saves
    what `save` does not, and `OSError` if the file cannot be written. Source: D2L 6.6 / zh 5.5
    """
    write(path, state_of(net), "net")


def verify(path: AnyPath) -> FileReport:
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
    d2lcompute.FileError: ... the values of `bias` were changed since it was saved...

    `path` names a file from `save` or `save_parameters`, a torch.save file, which holds CRCs that
    torch itself does not read, or a safetensors file of another library, which holds none: then
    the report says that values are not protected.

    Raises `FileError` that names what is damaged, and `OSError` if the file cannot be read.
    Source: D2L 6.6 / zh 5.5
    """
    contents = read(path)
    return FileReport(os.fspath(path), tuple(contents.parts), contents.note)


def load_parameters(
    net: nn.Module,
    path: AnyPath,
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

    `path` names a file from `save_parameters`, a safetensors file of another library, the index of
    a checkpoint in several files, or a torch.save file of a `state_dict` or of a checkpoint around
    one; no code in it ever runs, and its checksums are verified. Names that DataParallel or
    torch.compile changed are known again. Lazy layers learn their shapes from the file. Tied
    parameters stay tied, and one of their names in the file is enough. Floating-point numbers are
    converted to the net's dtype, and the report counts those that are others then.

    `allow_missing` lets names that only the net has keep their values (a tied one is not missing),
    `ignore_extra` leaves out what only the file has. `rename` maps names in the file, or what they
    begin with, to names in the net: a dict, such as `{"output": "out"}` for `output.weight`, or a
    function of the name. `device` is where the net is moved; by default each value goes where its
    parameter is.

    Returns a report with a row for each name. Raises `FileError` that names everything that does
    not fit or is damaged, with the line to write if there is one, and `OSError` if the file cannot
    be read. Source: D2L 6.6 / zh 5.5
    """
    check_path(path)
    flags = {
        "allow_missing": flag("allow_missing", allow_missing),
        "ignore_extra": flag("ignore_extra", ignore_extra),
    }
    check_rename(rename)
    place = None if device is None else as_device("device", device)
    value, targets = read(path).value, state_of(net)
    found = find(path, value, targets.keys(), rename)
    fitting = fit(net, targets, found.entries, **flags)
    report = FitReport(os.fspath(path), fitting.matches, True, found.notes)
    if report.misfits:

        def fit_again(rename: Rename) -> tuple[Match, ...]:
            found = find(path, value, targets.keys(), rename)
            return fit(net, targets, found.entries, **dict.fromkeys(flags, True)).matches

        given = {"rename": rename, **flags, "device": place and str(place)}
        said = complaint(report, found.old_names, given, fit_again)
        raise FileError(said, replace(report, loaded=False))
    restore(net, fitting.values, fitting.lessons, place)
    return report


def _keys(names: object) -> list[str] | None:
    if names is None:
        return None
    keys = list(names) if isinstance(names, Iterable) and not isinstance(names, str) else [names]
    if not all(isinstance(key, str) for key in keys):
        raise TypeError(
            f"`names` must be a name or several, got {names!r}; do names=['0.weight', '0.bias']"
        )
    return [str(key) for key in keys]
