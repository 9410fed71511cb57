"""Section 6 on an accelerator: a file knows no devices, and is read straight to one."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


def tied_net(lazy):
    linear = nn.LazyLinear if lazy else lambda units: nn.Linear(2 if units == 4 else 4, units)
    net = nn.Sequential(linear(4), nn.LazyBatchNorm1d() if lazy else nn.BatchNorm1d(4))
    net.append(nn.Linear(4, 4) if not lazy else nn.LazyLinear(4))
    d2c.tie(net, "0.bias", "2.bias")
    return net.eval()


def test_a_net_goes_through_a_file_to_any_device(tmp_path, device):
    net, path, X = tied_net(lazy=False).to(device), tmp_path / "net", torch.rand(4, 2)
    d2c.save_parameters(net, path)
    for target in (None, device):
        lazy = tied_net(lazy=True)
        d2c.load_parameters(lazy, path, device=target)
        assert d2c.device_of(lazy) == (target or d2c.cpu())
        assert d2c.tied_groups(lazy) == [("0.bias", "2.bias")]
        assert_close(lazy(X.to(target or "cpu")).cpu(), net(X.to(device)).cpu())
    d2c.load_parameters(net, path)
    assert d2c.device_of(net) == device
    assert d2c.device_of(d2c.load(path)["0.bias"]) == d2c.cpu()
    assert d2c.device_of(d2c.load(path, device)["0.bias"]) == device
    d2c.verify(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_of_the_device_are_saved_and_loaded_there_bit_for_bit(tmp_path, device, dtype):
    X = torch.arange(12, device=device).view(3, 4).to(dtype)
    d2c.save(tmp_path / "x", {"whole": X, "turned": X.T, "part": X[1:, ::2]})
    loaded = d2c.load(tmp_path / "x", device)
    assert {x.device for x in loaded.values()} == {device}
    for name, wanted in {"whole": X, "turned": X.T, "part": X[1:, ::2]}.items():
        assert torch.equal(loaded[name], wanted)


def test_what_is_loaded_takes_the_memory_of_the_file_and_no_more(tmp_path, device):
    d2c.save(tmp_path / "x", {"a": torch.zeros(1000, 1000), "b": torch.zeros(500, 1000)})
    before = torch.accelerator.memory_allocated(device)
    loaded = d2c.load(tmp_path / "x", device)
    taken = torch.accelerator.memory_allocated(device) - before
    assert loaded["b"].shape == (500, 1000)
    assert 6_000_000 <= taken < 8_200_000  # a device gives memory in blocks


def test_each_tensor_crosses_over_once(tmp_path, device):
    d2c.save_parameters(d2c.mlp(8, 1, in_units=4), tmp_path / "net")
    net = d2c.mlp(8, 1, in_units=4).to(device)
    with d2c.watch_transfers() as transfers:
        d2c.load_parameters(net, tmp_path / "net")
    assert transfers.bytes == sum(p.nbytes for p in net.parameters())
    assert {(e.source, e.target) for e in transfers.events} == {(d2c.cpu(), device)}
