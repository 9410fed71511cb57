"""Saving and loading a net of 1 GB; loading from memory that the system holds, and from disk."""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
import xxhash
from torch.distributed import checkpoint

import d2lcompute as d2c

from .harness import Case, Target, limit, ours, peer
from .nets import wide

FORMATS = "ours", "safetensors", "torch"
WHY = {
    "warm": "checking takes a third; the rest is as long as torch takes to copy a mapped file",
    "cold": "from a disk, all wait for it",
}
BESIDE = "the new file is written beside the old one, not into it: a crash leaves one of them"


def cases(quick):
    net = wide(2, 64) if quick else wide()
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, name) for name in (*FORMATS, "checkpoint", "limit")}
        yield saving(net, paths)
        yield loading("warm", net, paths)
        if hasattr(os, "posix_fadvise"):
            yield loading("cold", net, paths, fresh=partial(forget, paths))


def saving(net, paths):
    path = paths["safetensors"]
    data = bytes(sum(p.nbytes for p in net.parameters()))
    return Case(
        "save 1 GB",
        (
            ours("save_parameters", lambda: d2c.save_parameters(net, paths["ours"])),
            peer("safetensors", lambda: save_safetensors(net, path)),
            peer("safetensors, fsync", lambda: synced(save_safetensors(net, path))),
            peer("safetensors, fsync, rename", lambda: replaced(net, path)),
            peer("torch.save", lambda: torch.save(net.state_dict(), paths["torch"])),
            peer("distributed checkpoint", lambda: save_checkpoint(net, paths)),
            limit("write, fsync", lambda: write(data, paths["limit"])),
        ),
        (
            Target("save_parameters", 1.1, "safetensors, fsync, rename"),
            Target("save_parameters", 1.1, "safetensors, fsync", why=BESIDE),
            Target("save_parameters", 1.1, "write, fsync", why=BESIDE),
        ),
        headline="save 1 GB",
        heavy=True,
    )


def loading(temperature, net, paths, fresh=None):
    path = paths["ours"]

    def way(make, name, run):
        return make(name, (lambda _: run()) if fresh else run, fresh=fresh)

    limits = {
        "read": lambda: read(path),
        "read, checksum": lambda: xxhash.xxh3_64_digest(read(path)),
    }
    return Case(
        f"load 1 GB, {temperature}",
        (
            way(ours, "load_parameters", lambda: d2c.load_parameters(net, path)),
            way(peer, "torch.load", lambda: load_torch(net, paths["torch"])),
            way(peer, "torch.load, mmap", lambda: load_torch(net, paths["torch"], mmap=True)),
            way(peer, "safetensors", lambda: load_safetensors(net, paths["safetensors"])),
            way(peer, "distributed checkpoint", lambda: load_checkpoint(net, paths)),
            *(way(limit, name, run) for name, run in limits.items()),
        ),
        (
            Target("load_parameters", 0.2, "torch.load", why=WHY[temperature]),
            Target("load_parameters", 1.5, "safetensors"),
        ),
        headline=f"load 1 GB, {temperature} cache",
        heavy=True,
    )


def save_safetensors(net, path):
    safetensors.torch.save_file(net.state_dict(), path)
    return path


def save_checkpoint(net, paths):
    checkpoint.save(net.state_dict(), checkpoint_id=paths["checkpoint"], no_dist=True)


def synced(path):
    with path.open("rb") as file:
        os.fsync(file.fileno())


def replaced(net, path):
    """Keep the old file until the new one is on the disk, as ours does."""
    temporary = path.with_suffix(".new")
    synced(save_safetensors(net, temporary))
    temporary.replace(path)


def write(data, path):
    with path.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())


def read(path):
    with path.open("rb", buffering=0) as file:
        return file.read()


def load_torch(net, path, **options):
    net.load_state_dict(torch.load(path, **options))


def load_safetensors(net, path):
    net.load_state_dict(safetensors.torch.load_file(path))


def load_checkpoint(net, paths):
    state = net.state_dict()
    checkpoint.load(state, checkpoint_id=paths["checkpoint"], no_dist=True)
    net.load_state_dict(state)


def forget(paths):
    """Ask the system to drop what it holds of the files in memory."""
    for top in paths.values():
        for path in [top, *top.glob("*")]:
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
