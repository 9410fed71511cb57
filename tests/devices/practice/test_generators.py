import copy
import pickle

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.devices.practice.generators import PracticeGenerator

pytestmark = pytest.mark.usefixtures("practice")


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
    with pytest.raises(RuntimeError, match="no practice:7, as the number of practice devices is 2"):
        torch.Generator("practice:7")


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
