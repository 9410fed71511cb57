import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from waiting import PATIENCE

import d2lcompute as d2c

OLD, NEW = torch.zeros(1000), torch.ones(1000)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.safetensors"


@pytest.fixture
def umask():
    """Set the umask for one test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o7777


def only(path):
    """Whether nothing but `path` is in its folder: no temporary file was left."""
    return [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_saves_killed_at_random_moments_leave_the_old_file_or_the_new_one():
    script = Path(__file__).parents[1] / "helpers" / "killed_saves.py"
    result = subprocess.run(
        [sys.executable, script, "40"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    inside = re.match(r"40 kills, (\d+) of them inside a save", result.stdout)
    assert int(inside.group(1)) > 5


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_a_new_file_has_the_permissions_that_the_umask_gives(path, umask, mask):
    umask(mask)
    d2c.save(path, NEW)
    assert mode(path) == 0o666 & ~mask


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o666])
def test_an_old_file_keeps_its_permissions(path, umask, kept):
    d2c.save(path, OLD)
    path.chmod(kept)
    umask(0o077)
    d2c.save(path, NEW)
    assert mode(path) == kept
    assert_close(d2c.load(path), NEW)


def test_a_read_only_file_is_not_replaced(path, monkeypatch):
    d2c.save(path, OLD)
    monkeypatch.setattr(os, "access", lambda target, how: how != os.W_OK)  # root may write to all
    with pytest.raises(PermissionError, match="it is read-only; nothing was changed"):
        d2c.save(path, NEW)
    assert_close(d2c.load(path), OLD)
    assert only(path)


def test_a_symbolic_link_stays_and_its_target_is_replaced(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    d2c.save(link, OLD)
    d2c.save(link, NEW)
    assert link.is_symlink()
    assert not path.is_symlink()
    assert_close(d2c.load(path), NEW)


def test_paths_may_be_relative_long_or_of_any_alphabet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("x", "./y", "名", "a b\n", "n" * 255):
        d2c.save(name, NEW)
        assert_close(d2c.load(name), NEW)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder that exists, got '.*/a/b/x': there is no"):
        d2c.save(tmp_path / "a" / "b" / "x", NEW)
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"there is no folder '.*/file'"):
        d2c.save(tmp_path / "file" / "x", NEW)


def test_what_is_no_file_is_left_alone(tmp_path):
    with pytest.raises(IsADirectoryError, match="it is a folder; nothing was changed"):
        d2c.save(tmp_path, NEW)
    with pytest.raises(OSError, match="it is a device, a pipe or a socket"):
        d2c.save("/dev/null", NEW)
    assert Path("/dev/null").is_char_device()


def test_a_full_disk_leaves_the_old_file(path, monkeypatch):
    d2c.save(path, OLD)

    def fail(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=r"enough room, got .*, [\d,]+ bytes free; nothing") as caught:
        d2c.save(path, NEW)
    assert caught.value.errno == errno.ENOSPC
    assert_close(d2c.load(path), OLD)
    assert only(path)


def test_a_write_that_fails_halfway_leaves_the_old_file(path):
    d2c.save(path, OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large; nothing was changed"):
            d2c.save(path, torch.ones(1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_close(d2c.load(path), OLD)
    assert only(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_whatever_stops_a_save_leaves_the_old_file(path, monkeypatch, error):
    d2c.save(path, OLD)

    def stop(tensor):
        raise error

    monkeypatch.setattr(torch.Tensor, "resolve_conj", stop)
    with pytest.raises(error):
        d2c.save(path, NEW)
    monkeypatch.undo()
    assert_close(d2c.load(path), OLD)
    assert only(path)


def test_a_folder_that_cannot_be_synchronized_is_no_error(path, monkeypatch):
    synchronize = os.fsync

    def refuse(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, "Invalid argument")
        synchronize(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    d2c.save(path, NEW)
    assert_close(d2c.load(path), NEW)


def test_the_file_and_then_its_folder_reach_the_disk_before_a_save_returns(path, monkeypatch):
    steps = []
    synchronize, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda d: (steps.append("fsync"), synchronize(d)))
    monkeypatch.setattr(Path, "replace", lambda *a: (steps.append("rename"), replace(*a)))
    d2c.save(path, NEW)
    assert steps == ["fsync", "rename", "fsync"]


def test_saving_does_not_copy_all_of_the_tensors(path, monkeypatch):
    alive = []
    contiguous = torch.Tensor.contiguous
    monkeypatch.setattr(
        torch.Tensor, "contiguous", lambda t: alive.append(contiguous(t)) or alive[-1]
    )
    tensors = [torch.ones(10), torch.ones(10)]
    d2c.save(path, tensors)
    assert {t.data_ptr() for t in alive} == {t.data_ptr() for t in tensors}
