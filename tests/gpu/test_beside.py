"""Practice devices on a machine that has a real one: neither gets in the other's way."""

import itertools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def practice(real):
    yield d2c.practice_gpus(2)
    d2c.practice_gpus(0)


def test_the_real_one_goes_on_by_its_name(real, practice):
    X = torch.ones(4, 3, device=real)
    net = nn.Linear(3, 1).to(real)
    optimizer = torch.optim.Adam(net.parameters())
    net(X).sum().backward()
    optimizer.step()
    assert_close(net.weight.grad.cpu(), torch.full((1, 3), 4.0))
    torch.get_device_module(real).synchronize()


def test_the_practice_ones_are_the_accelerator_until_they_are_off(real, practice):
    assert torch.accelerator.current_accelerator().type == "practice"
    assert d2c.try_all_gpus() == practice
    d2c.practice_gpus(0)
    assert torch.accelerator.current_accelerator().type == real.type
    assert d2c.gpu() == real
    torch.accelerator.synchronize()
    before = torch.accelerator.memory_allocated()
    X = torch.zeros(1000, device=d2c.gpu())
    assert torch.accelerator.memory_allocated(X.device) > before


def test_tensors_cross_from_one_to_the_other_and_back(real, practice):
    X = torch.randn(5, 4)
    with d2c.watch_transfers() as transfers:
        back = X.to(real).to(practice[1]).to(real).cpu()
    assert_close(back, X, rtol=0, atol=0)
    places = [X.device, real, practice[1], real, X.device]
    crossed = [(e.source, e.target) for e in transfers.events]
    assert crossed == list(itertools.pairwise(places))


def test_they_do_not_mix(real, practice):
    there, here = torch.ones(2, 2, device=real), torch.ones(2, 2, device=practice[0])
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        there + here
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        here @ there


def test_a_net_may_be_spread_over_both(real, practice):
    first, second = nn.Linear(3, 4).to(real), nn.Linear(4, 2).to(practice[0])
    second(first(torch.ones(2, 3, device=real)).to(practice[0])).sum().backward()
    assert first.weight.grad.device == real
    assert second.weight.grad.device == practice[0]


def test_random_numbers_of_the_real_one_are_its_own(real, practice):
    module = torch.get_device_module(real)
    before = module.get_rng_state()
    torch.rand(10, device=practice[0])
    nn.functional.dropout(torch.ones(10, device=practice[1]))
    assert torch.equal(module.get_rng_state(), before)
    assert torch.Generator(real).device.type == real.type
