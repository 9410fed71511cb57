import threading

import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.devices.practice.patches import refusing_to_generate, refusing_to_scatter

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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiling_says_which_backend_to_take():
    net, X = nn.Linear(3, 2).to("practice:1"), torch.ones(4, 3, device="practice:1")
    failed = torch._dynamo.exc.BackendCompilerFailed
    with pytest.raises(failed, match=r'do torch.compile\(net, backend="aot_eager"\)'):
        torch.compile(net)(X)


def test_the_compiler_gets_what_is_on_other_devices():
    seen = []
    compiler = refusing_to_generate(lambda self, model, inputs: seen.append(inputs))
    compiler(None, None, [torch.ones(2), 3])
    assert len(seen) == 1


def test_data_parallel_says_that_it_does_not_run():
    net, X = nn.Linear(3, 2).to("practice:0"), torch.ones(4, 3)
    for batch in (X, X.to("practice:0")):
        with pytest.raises(NotImplementedError, match="DataParallel does not run on practice dev"):
            nn.DataParallel(net, device_ids=[0, 1])(batch)


def test_where_torch_can_scatter_a_batch_it_still_does(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    scatter = refusing_to_scatter(lambda tensor, devices: tensor.chunk(len(devices)))
    assert [len(part) for part in scatter(torch.ones(4), [0, 1])] == [2, 2]
    with pytest.raises(NotImplementedError, match="give each its part of the batch"):
        scatter(torch.ones(4, device="practice:0"), [0, 1])
