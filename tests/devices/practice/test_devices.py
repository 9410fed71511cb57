"""What a practice device has lent out is counted, and each has a stream of random numbers."""

import copy
import gc
import os
import pickle
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import d2lcompute as d2c
from d2lcompute.devices.practice.devices import Memory, PracticeGenerator, physical_memory

COUNT = 8  # the last two are used by no other test, so that nothing of theirs lives there


@pytest.fixture(autouse=True)
def many(practice):
    d2c.practice_gpus(COUNT)
    yield
    gc.collect()


def allocated(index):
    return torch.accelerator.memory_allocated(index)


def test_bytes_are_counted_once_and_given_back_at_once():
    x = torch.ones(10, 10, device="practice:7")
    views = [x[0], x.view(-1), x.t(), x.detach(), x.view(torch.int32)]
    assert (allocated(6), allocated(7)) == (0, 400)
    del x
    assert allocated(7) == 400
    views.clear()
    assert allocated(7) == 0


def test_what_autograd_keeps_is_counted_until_backward():
    net = nn.Sequential(nn.Linear(10, 10), nn.Sigmoid(), nn.Linear(10, 1)).to("practice:6")
    parameters = 4 * (100 + 10 + 10 + 1)
    assert allocated(6) == parameters
    loss = net(torch.ones(5, 10, device="practice:6")).sum()
    assert allocated(6) > parameters + 4 * 50  # the input and what Sigmoid saved
    loss.backward()
    del loss
    assert allocated(6) == 2 * parameters
    net.zero_grad()
    net.cpu()
    assert allocated(6) == 0


def test_cycles_are_freed_by_the_garbage_collector():
    loop = [torch.ones(100, device="practice:6")]
    loop.append(loop)
    del loop
    gc.collect()
    assert allocated(6) == 0


def test_the_peak_remembers_what_was_freed():
    torch.practice.reset_peak_memory_stats(6)
    x = torch.ones(100, device="practice:6")
    del x
    y = torch.ones(10, device="practice:6")
    assert (
        torch.practice.max_memory_allocated(6) == torch.accelerator.max_memory_allocated(6) == 400
    )
    torch.accelerator.reset_peak_memory_stats(6)
    assert torch.practice.max_memory_allocated(6) == y.nbytes


def test_a_full_device_says_so_with_the_numbers():
    d2c.practice_gpus(COUNT, memory=4096)
    x = torch.ones(512, device="practice:7")
    message = (
        r"practice out of memory. Tried to allocate 2\.50 KiB. practice:7 has a total capacity of "
        r"4\.00 KiB of which 2\.00 KiB is free. 2\.00 KiB is allocated by PyTorch\."
    )
    for attempt in (
        lambda: torch.ones(640, device="practice:7"),
        lambda: torch.ones(640).to("practice:7"),
        lambda: torch.cat([x, x[:128]]),
        lambda: x[:0].resize_(0).resize_(640),
    ):
        with pytest.raises(torch.OutOfMemoryError, match=message):
            attempt()
    assert allocated(7) == 2048
    assert torch.ones(640, device="practice:6").sum() == 640
    assert torch.practice.mem_get_info("practice:7") == (2048, 4096)


def test_more_than_the_machine_has_is_refused_before_it_is_asked():
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 3725290\.30 GiB"):
        torch.empty(10**15, device="practice:6")
    with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate 3725290\.30 GiB"):
        torch.empty_strided((10**15,), (1,), device="practice:6")


def test_a_limit_below_what_is_in_use_lets_that_live():
    x = torch.ones(100, device="practice:6")
    d2c.practice_gpus(COUNT, memory=100)
    assert torch.practice.mem_get_info(6) == (0, 100)
    assert x.add_(1)[0].cpu() == 2
    with pytest.raises(torch.OutOfMemoryError, match="of which 0 bytes is free"):
        x + 1
    assert torch.empty(0, device="practice:6").shape == (0,)  # nothing fits always
    d2c.practice_gpus(COUNT)
    assert (x + 1).sum() == 300


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=30))
def test_the_account_is_exact_whatever_is_made_and_freed(steps):
    kept = []
    for frees, size in steps:
        if frees and kept:
            kept.pop(size % len(kept))
        else:
            kept.append(torch.empty(size, dtype=torch.int16, device="practice:7"))
        assert allocated(7) == sum(x.nbytes for x in kept)


def test_threads_do_not_confuse_the_account():
    def work():
        for _ in range(200):
            torch.ones(8, device="practice:6").add(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert allocated(6) == 0


def test_freeing_in_the_midst_of_lending_is_safe():
    memory = Memory(0)
    memory.changes.extend([-3, -4])
    memory.lend(10)
    assert (memory.allocated(), memory.peak()) == (3, 3)


def test_a_machine_that_does_not_tell_its_memory_has_no_limit(monkeypatch):
    assert 0 < physical_memory() < sys.maxsize
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert physical_memory() == sys.maxsize


def draws(device, generator=None):
    return [
        torch.rand(3, device=device, generator=generator),
        torch.randn(3, device=device, generator=generator),
        torch.randperm(5, device=device, generator=generator),
        torch.empty(3, device=device).bernoulli_(0.5, generator=generator),
        torch.poisson(torch.full((3,), 2.0, device=device), generator=generator),
        torch.ones(4, device=device).multinomial(2, generator=generator),
    ]


def equal(first, second):
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(first, second, strict=True))


def test_a_seed_repeats_the_numbers_of_every_device():
    torch.manual_seed(3)
    first = [draws("practice:0"), draws("practice:1")]
    torch.manual_seed(3)
    assert equal(first[1], draws("practice:1"))
    assert equal(first[0], draws("practice:0"))
    assert not equal(first[0], draws("practice:0"))


def test_devices_draw_from_streams_of_their_own():
    before, other = torch.get_rng_state(), torch.practice.get_rng_state(1)
    draws("practice:0")
    nn.functional.dropout(torch.ones(100, device="practice:0"))
    nn.init.normal_(torch.empty(3, device="practice:0"))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.practice.get_rng_state(1), other)


def test_a_generator_of_the_device_repeats_its_numbers():
    generator = torch.Generator("practice:1")
    assert generator.device == torch.device("practice:1")
    assert isinstance(generator, torch.Generator)
    first = draws("practice:1", generator.manual_seed(5))
    assert equal(first, draws("practice:1", generator.manual_seed(5)))
    weight = torch.empty(2, device="practice:1")
    nn.init.uniform_(weight, generator=generator.manual_seed(0))
    assert torch.equal(
        weight, torch.rand(2, device="practice:1", generator=generator.manual_seed(0))
    )


def test_generators_keep_their_state_when_copied():
    generator = torch.Generator(torch.device("practice:1")).manual_seed(2)
    draws("practice:1", generator)
    clones = [copy.deepcopy(generator), pickle.loads(pickle.dumps(generator))]
    expected = draws("practice:1", generator)
    for clone in clones:
        assert clone.device == generator.device
        assert equal(expected, draws("practice:1", clone))


def test_other_generators_are_what_they_were():
    generator = torch.Generator()
    assert type(generator) is torch._C.Generator
    assert isinstance(torch.default_generator, torch.Generator)
    assert issubclass(torch._C.Generator, torch.Generator)
    assert torch.rand(2, generator=generator.manual_seed(0)).device == torch.device("cpu")
    assert torch.Generator("practice").device == torch.device("practice:0")


def test_a_generator_of_another_device_is_refused():
    with pytest.raises(RuntimeError, match="Expected a 'practice' device type for generator but f"):
        torch.rand(2, device="practice:0", generator=torch.Generator())
    with pytest.raises(RuntimeError, match="generator on practice:0 but found one on practice:1"):
        torch.rand(2, device="practice:0", generator=torch.Generator("practice:1"))
    with pytest.raises(RuntimeError, match=f"no practice:{COUNT}, as the number of .* is {COUNT}"):
        torch.Generator(f"practice:{COUNT}")


def test_dropout_repeats_and_leaves_the_cpu_alone():
    x, before = torch.ones(1000, device="practice:0"), torch.get_rng_state()
    torch.practice.manual_seed(1)
    first = nn.functional.dropout(x)
    torch.practice.manual_seed(1)
    assert torch.equal(first, nn.functional.dropout(x))
    assert torch.equal(torch.get_rng_state(), before)
    assert 0.4 < first.bool().double().mean().item() < 0.6


@pytest.mark.parametrize("lazy", [False, True])
def test_a_seed_of_ours_gives_the_values_of_the_cpu_though_the_device_draws_others(
    monkeypatch, lazy
):
    """As CUDA does; without this the practice devices draw what the CPU draws."""
    own = torch._C.Generator.manual_seed
    monkeypatch.setattr(PracticeGenerator, "manual_seed", lambda self, seed: own(self, seed + 1))
    nets = [nn.LazyLinear(2) if lazy else nn.Linear(3, 2) for _ in range(2)]
    nets[1].to("practice:1")
    before = torch.practice.get_rng_state(1)
    for net in nets:
        d2c.initialize(net, d2c.initializers.Normal(0.1), seed=1)
    assert torch.equal(torch.practice.get_rng_state(1), before)
    for net in nets:
        net(torch.ones(1, 3, device=net.weight.device))
    assert nets[1].weight.device == torch.device("practice:1")
    torch.testing.assert_close(nets[1].weight.cpu(), nets[0].weight, rtol=0, atol=0)


def test_forked_random_state_covers_the_devices():
    torch.manual_seed(0)
    with torch.random.fork_rng(devices=[0, 1], device_type="practice"):
        inside = torch.rand(2, device="practice:1")
    assert torch.equal(inside, torch.rand(2, device="practice:1"))
