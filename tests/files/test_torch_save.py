import contextlib
import os
import random
import tarfile
import warnings
import zipfile

import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pt"


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


class Trap:
    """Leave a mark in the current folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def same(left, right):
    assert_close(left, right, rtol=0, atol=0)


def test_a_state_dict_from_torch_save_is_loaded(net, path):
    torch.save(net.state_dict(), path)
    for clone in (
        nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.LazyLinear(2)),
    ):
        d2c.load_parameters(clone, path)
        same(dict(clone.state_dict()), dict(net.state_dict()))


def test_the_content_counts_and_not_the_name(path):
    path = path.with_suffix(".safetensors")
    torch.save({"x": torch.ones(2)}, path)
    same(d2c.load(path), {"x": torch.ones(2)})


def test_ties_survive_a_file_of_torch_save(net, path):
    net.append(nn.Linear(2, 4)).append(nn.Linear(4, 2))
    d2c.tie(net, "2", "4")
    torch.save(net.state_dict(), path)
    assert {match.outcome for match in d2c.load_parameters(net, path).matches} == {"fits"}
    d2c.untie(net, "4")
    outcome = d2c.load_parameters(net, path).matches[-2].outcome
    assert outcome == "fits, but is tied to 2.weight in the file only"


def test_the_archive_and_its_crcs_are_reported(path):
    torch.save({"x": torch.ones(2, 3)}, path)
    report = d2c.verify(path)
    assert report.protected
    assert {"net/data.pkl": True, "net/data/0": True}.items() <= {
        part.name: part.checksum.startswith("crc32:") for part in report.parts
    }.items()
    assert "bytes are under a CRC" in repr(report)


def test_no_flipped_byte_changes_what_is_loaded(path):
    data = {"weight": torch.randn(20, 30), "bias": torch.arange(7), "flag": torch.tensor(True)}
    torch.save(data, path)
    raw = path.read_bytes()
    draw = random.Random(0)
    missed = 0
    for position in sorted(draw.randrange(len(raw)) for _ in range(1000)):
        flipped = bytearray(raw)
        flipped[position] ^= draw.randrange(1, 256)
        path.write_bytes(flipped)
        with contextlib.suppress(d2c.FileError):
            same(d2c.load(path), data)
            missed += 1
    assert missed < 500  # in padding, times and what else the archive holds twice


def test_a_flipped_value_is_named_where_torch_loads_it(net, path):
    torch.save(net.state_dict(), path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(net[0].weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(raw)
    assert torch.load(path, weights_only=True).keys() == net.state_dict().keys()
    with unchanged(net), pytest.raises(d2c.FileError, match=r"`net/data/0` in it changed since"):
        d2c.load_parameters(net, path)


def test_a_file_cut_at_any_place_is_found(net, path):
    torch.save(net.state_dict(), path)
    raw = path.read_bytes()
    draw = random.Random(0)
    for end in [1, 4, 5, *(draw.randrange(len(raw)) for _ in range(200)), len(raw) - 1]:
        path.write_bytes(raw[:end])
        with unchanged(net), pytest.raises(d2c.FileError, match=r"cut short|damaged zip archive"):
            d2c.load_parameters(net, path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Trap(), r"loading `posix.mkdir` could run code"),
        ({"weight": torch.ones(2), "trap": Trap()}, r"loading `posix.mkdir` could run code"),
        (nn.Linear(5, 4), r"loading `torch.nn.modules.linear.Linear` could run code"),
    ],
    ids=["a trap", "a trap among tensors", "a net"],
)
def test_what_is_no_state_dict_is_refused_and_runs_no_code(net, path, monkeypatch, data, message):
    monkeypatch.chdir(path.parent)
    torch.save(data, path)
    with unchanged(net), pytest.raises(d2c.FileError, match=message):
        d2c.load_parameters(net, path)
    assert not (path.parent / "sprung").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_no_trap_springs_even_if_its_owner_is_trusted_elsewhere(path, monkeypatch, zipped):
    monkeypatch.chdir(path.parent)
    torch.save({"trap": Trap()}, path, _use_new_zipfile_serialization=zipped)
    for verb in (d2c.load, d2c.verify):
        with pytest.raises(d2c.FileError, match=r"could run code"):
            verb(path)
    assert not (path.parent / "sprung").exists()


def test_older_and_other_archives_give_one_clear_error(net, path):
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(
        d2c.FileError, match=r"looks like a pickle.*weights_only=True.* converts it"
    ):
        d2c.load(path)
    torch.save(torch.load(path, weights_only=True), path)
    d2c.load_parameters(net, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(net[0]).save(path)
    with pytest.raises(d2c.FileError, match="it is a TorchScript archive"):
        d2c.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    with pytest.raises(d2c.FileError, match=r"torch\.load cannot read it"):
        d2c.load(path)
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "sys_info")
    with pytest.raises(d2c.FileError, match="damaged, or it is another kind of file"):
        d2c.load(path)


def test_a_checkpoint_comes_back_as_it_was_saved(net, path):
    data = {"model": net.state_dict(), "epoch": 3, "betas": (0.9, 0.99), 5: [torch.ones(1)]}
    torch.save(data, path)
    loaded = d2c.load(path)
    assert loaded["epoch"], loaded["betas"] == (3, (0.9, 0.99))
    same(dict(loaded["model"]), dict(net.state_dict()))
    same(loaded[5], data[5])
    assert d2c.load(path, device="meta")["model"]["0.weight"].is_meta


def test_parameters_come_back_as_tensors_without_gradient(net, path):
    torch.save(dict(net.named_parameters()), path)
    assert not any(tensor.requires_grad for tensor in d2c.load(path).values())


def test_what_contains_itself_is_refused(path):
    data = {"x": torch.ones(1)}
    data["again"] = data
    torch.save(data, path)
    with pytest.raises(d2c.FileError, match="nested too deeply, or contains itself"):
        d2c.load(path)
