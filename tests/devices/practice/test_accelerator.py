import threading

import pytest
import torch

import d2lcompute as d2c

pytestmark = pytest.mark.usefixtures("practice")

accelerator = torch.accelerator


def test_the_accelerator_is_the_practice_device():
    assert accelerator.current_accelerator() == torch.device("practice")
    assert accelerator.is_available()
    assert accelerator.device_count() == 2
    accelerator.synchronize()
    accelerator.empty_cache()


def test_the_current_device_is_one_in_torch_and_in_practice():
    accelerator.set_device_index(1)
    assert accelerator.current_device_index() == torch.practice.current_device() == 1
    with accelerator.device_index(0):
        assert torch.ones(1, device="practice").device.index == 0
    assert torch.ones(1, device=accelerator.current_accelerator()).device.index == 1
    accelerator.set_device_index("practice:0")
    assert torch.practice.current_device() == 0


def test_each_thread_has_its_own_current_device():
    found = []

    def work():
        found.append(accelerator.current_device_index())
        accelerator.set_device_index(0)

    torch.practice.set_device(1)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert (found, accelerator.current_device_index()) == ([0], 1)
    torch.practice.set_device(0)


def test_memory_is_told_and_reset():
    d2c.practice_gpus(6)
    x = torch.ones(5, device="practice:5")
    stats = accelerator.memory_stats(5)
    assert stats["allocated_bytes.all.current"] == accelerator.memory_allocated(5) == x.nbytes
    accelerator.reset_peak_memory_stats("practice:5")
    assert accelerator.max_memory_allocated(5) == accelerator.memory_reserved(5) == x.nbytes
    accelerator.reset_accumulated_memory_stats(5)
    if hasattr(accelerator, "get_memory_info"):
        free, total = accelerator.get_memory_info(5)
        assert total - free == x.nbytes


def test_the_device_that_goes_is_no_longer_current():
    accelerator.set_device_index(1)
    d2c.practice_gpus(1)
    assert accelerator.current_device_index() == 0
    d2c.practice_gpus(2)
    torch.practice.set_device(0)


def test_what_was_there_before_speaks_again_when_they_are_off():
    d2c.practice_gpus(0)
    before = accelerator.current_accelerator()
    assert before is None or before.type != "practice"
    assert accelerator.device_count() == d2c.num_gpus()
