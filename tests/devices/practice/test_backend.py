import pytest
import torch

import d2lcompute as d2c

pytestmark = pytest.mark.usefixtures("practice")


def test_torch_finds_the_module_of_the_device():
    assert torch.get_device_module("practice") is torch.practice
    assert torch.practice.is_available()
    assert torch.practice.is_initialized()
    assert torch.practice.device_count() == 2
    assert torch.practice.get_device_name(1) == "practice accelerator 1, computed by the CPU"


def test_the_current_device_is_what_practice_alone_means():
    assert torch.ones(1, device="practice").device == torch.device("practice:0")
    torch.practice.set_device("practice:1")
    assert torch.practice.current_device() == 1
    assert torch.ones(1, device="practice").device == torch.device("practice:1")
    with torch.practice.device(0):
        assert torch.empty_strided((1,), (1,), device="practice").device.index == 0
    assert torch.practice.current_device() == 1
    torch.practice.set_device(torch.device("practice:0"))


def test_a_device_that_is_none_of_ours_is_refused():
    with pytest.raises(ValueError, match="Expected a practice device, but got: cpu"):
        torch.practice.synchronize("cpu")
    for ask in (torch.practice.set_device, torch.practice.memory_allocated, torch.practice.device):
        with pytest.raises(RuntimeError, match="no practice:2, as the number of practice devices"):
            ask(2)


def test_memory_is_told_in_all_the_ways_of_cuda():
    d2c.practice_gpus(6)
    x = torch.ones(5, device="practice:5")
    practice = torch.practice
    assert practice.memory_allocated(5) == practice.memory_reserved("practice:5") == x.nbytes
    assert practice.max_memory_reserved(5) == practice.max_memory_allocated(x.device) >= x.nbytes
    practice.empty_cache()
    practice.synchronize()
    assert practice.memory_allocated(5) == x.nbytes


def test_random_states_are_read_and_restored():
    practice = torch.practice
    states = practice.get_rng_state_all()
    first = torch.rand(2, device="practice:1")
    practice.set_rng_state_all(states)
    assert torch.equal(first, torch.rand(2, device="practice:1"))
    practice.set_rng_state(states[1], "practice:1")
    assert torch.equal(first, torch.rand(2, device="practice:1"))
    practice.seed()
    assert practice.initial_seed() == practice.initial_seed()
    practice.manual_seed(4)
    assert practice.initial_seed() == 4
    practice.manual_seed_all(5)
    with practice.device(1):
        assert practice.initial_seed() == 5
