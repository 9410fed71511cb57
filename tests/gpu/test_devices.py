"""Section 7 on an accelerator: names, places, copies and what is refused."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


def test_every_way_to_find_the_device_finds_it(device):
    assert d2c.gpu() == d2c.try_gpu() == d2c.try_all_gpus()[0] == device
    assert d2c.num_gpus() == torch.accelerator.device_count() == len(d2c.try_all_gpus())
    assert d2c.try_gpu(d2c.num_gpus()) == d2c.cpu()


def test_tensors_and_nets_live_there(device):
    X = torch.ones(2, 3, device=device)
    assert d2c.device_of(X) == device == d2c.device_of(nn.Linear(2, 3).to(device))
    assert d2c.device_of(nn.LazyLinear(3).to(device)) == device
    placement = d2c.device_of(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).to(device)))
    assert placement.names[device] == ("1.weight", "1.bias")


def test_a_copy_is_one_and_only_made_where_it_is_needed(device):
    X = torch.ones(2, 3, device=device)
    assert d2c.as_in_context(X, device) is X
    copy = d2c.copyto(X, device)
    copy.zero_()
    assert X.sum().item() == 6
    assert_close(d2c.copyto(X, d2c.cpu()), torch.ones(2, 3))
    assert_close(d2c.as_in_context(X, "cpu"), torch.ones(2, 3))


@pytest.mark.parametrize("move", [d2c.copyto, d2c.as_in_context])
def test_a_gradient_comes_back_over_a_copy(device, move):
    X = torch.rand(2, 3, requires_grad=True)
    (move(X, device) * 3).sum().backward()
    assert_close(X.grad, torch.full((2, 3), 3.0))


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool,
     torch.complex64],
)  # fmt: skip
def test_values_come_back_as_they_went(device, dtype):
    if device.type == "mps" and dtype is torch.float64:
        pytest.skip("MPS has no float64")
    X = torch.arange(-3, 4).to(dtype)
    assert_close(d2c.copyto(d2c.copyto(X, device), d2c.cpu()), X, rtol=0, atol=0)


def test_devices_do_not_mix(device):
    there, here = torch.ones(2, 3, device=device), torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        there + here
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        nn.Linear(3, 1).to(device)(here)
    assert (there + torch.tensor(2.0)).sum().item() == 18  # a number of the CPU may take part


def test_numpy_is_refused_in_torchs_words(device):
    X = torch.ones(2, device=device)
    with pytest.raises(TypeError, match=f"can't convert {device} device type tensor to numpy"):
        X.numpy()
    assert X.cpu().numpy().tolist() == X.numpy(force=True).tolist() == [1, 1]


def test_a_net_learns_there_what_it_learns_on_the_cpu(device):
    X = torch.randn(64, 4)
    y = X.sum(1, keepdim=True)

    def train(device):
        torch.manual_seed(0)
        net = d2c.mlp(8, 1, in_units=4).to(device)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        for _ in range(20):
            loss = nn.functional.mse_loss(net(X.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    assert_close(train(device), train("cpu"), rtol=1e-3, atol=1e-5)


def test_a_device_that_is_full_says_so_and_goes_on(device):
    X = torch.ones(100, device=device)
    with pytest.raises(
        torch.OutOfMemoryError,
        match=r"out of memory\. Tried to allocate \S+ GiB.* has a total capacity of .* is free\.",
    ):
        torch.empty(10**15, dtype=torch.uint8, device=device)
    assert (X + 1).sum().item() == 200


def test_memory_is_told_and_given_back(device):
    torch.accelerator.synchronize()
    before = torch.accelerator.memory_allocated(device)
    X = torch.zeros(1000, 1000, device=device)
    during = torch.accelerator.memory_allocated(device)
    del X
    assert 4_000_000 <= during - before < 5_100_000  # a device gives memory in blocks
    assert torch.accelerator.memory_allocated(device) == before


def test_several_devices_are_found_and_hold_a_net_together(device):
    if d2c.num_gpus() < 2:
        pytest.skip("there is one accelerator on this machine")
    first, second = d2c.try_all_gpus()[:2]
    net = nn.Sequential(nn.Linear(3, 4).to(first), nn.Linear(4, 2).to(second))
    with d2c.watch_transfers() as transfers:
        Y = net[1](net[0](torch.ones(2, 3, device=first)).to(second))
    assert [(e.source, e.target, e.waits) for e in transfers.events] == [(first, second, False)]
    Y.sum().backward()
    assert d2c.device_of(net).names[second] == ("1.weight", "1.bias")
    assert net[0].weight.grad.device == first
