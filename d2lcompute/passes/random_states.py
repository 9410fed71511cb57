"""Random streams: one for each name, and the global ones as they were found."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch


def stream(seed: int, name: str, device: torch.device) -> torch.Generator:
    """Return a generator that depends on nothing but its arguments.

    >>> from d2lcompute.passes.random_states import stream
    >>> draws = [torch.rand((), generator=stream(0, name, d2c.cpu())) for name in "aab"]
    >>> draws[0] == draws[1], draws[0] == draws[2]
    (tensor(True), tensor(False))
    """
    try:
        generator = torch.Generator(device)
    except RuntimeError:  # a device without a generator of its own draws from the CPU's
        generator = torch.Generator()
    digest = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=4).digest()
    # The CPU's generator reads no more than 32 bits of its seed.
    return generator.manual_seed(int.from_bytes(digest, "little"))


@contextmanager
def random_states_kept(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Give the CPU and `devices` back the random states that they have now."""
    modules = [(torch.get_device_module(d), d) for d in devices if d.type not in ("cpu", "meta")]
    states = [(m, m.get_rng_state(d), d) for m, d in modules if hasattr(m, "get_rng_state")]
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)
        for module, value, device in states:
            module.set_rng_state(value, device)


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let what draws without a generator draw from `generator`, on its device and on the CPU."""
    device = generator.device
    seed = int(torch.randint(2**32, (), generator=generator, device=device))
    with random_states_kept([device]):
        torch.default_generator.manual_seed(seed)
        if device.type != "cpu":
            state = torch.Generator(device).manual_seed(seed).get_state()
            torch.get_device_module(device).set_rng_state(state, device)
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Make a factorization reproducible: its last bits depend on how many threads it runs on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
