"""Run in a process of its own: practice devices that are off leave torch as it was before them."""

import warnings
from importlib import import_module

import torch


def replaced():
    """What is replaced while practice devices are on, as it is now."""
    return {
        "Generator": torch.Generator,
        "compile": torch._TorchCompileInductorWrapper.__call__,
        "scatter": getattr(torch._C, "_scatter", None),
        "methods": [vars(torch.Tensor).get(name) for name in ("new", "new_tensor")],
        "lists": import_module("torch.optim.optimizer")._get_foreach_kernels_supported_devices,
        "shares": torch.UntypedStorage._share_fd_cpu_,
        "threads": torch._C._is_multithreading_enabled(),
    }


def answers():
    """What torch says of the accelerator, or the error that it raises."""
    asked, found = torch.accelerator, {}
    for name, ask in {
        "which": asked.current_accelerator,
        "available": asked.is_available,
        "count": asked.device_count,
        "synchronize": asked.synchronize,
        "empty": asked.empty_cache,
        "current": asked.current_device_index,
        "choose": lambda: asked.set_device_index(0),
        "memory": asked.memory_allocated,
        "peak": asked.max_memory_allocated,
        "reset": asked.reset_peak_memory_stats,
        "pin": lambda: torch.ones(2).pin_memory().is_pinned(),
        "draw": lambda: torch.rand(2, generator=torch.Generator().manual_seed(0)).tolist(),
    }.items():
        found[name] = refusal(ask)
    return found


def refusal(ask):
    """The answer, or the first line of the error."""
    try:
        return ask()
    except RuntimeError as error:
        return str(error).splitlines()[0]


def main():
    warnings.simplefilter("error")
    own, said = replaced(), answers()
    import d2lcompute as d2c

    for _ in range(2):
        d2c.practice_gpus(2)
        net = torch.nn.Linear(3, 2).to("practice:1")
        net(torch.ones(1, 3, device="practice:1")).sum().backward()
        assert all(replaced()[name] != own[name] for name in own), replaced()
        assert answers()["count"] == 2
        d2c.practice_gpus(3)
        d2c.practice_gpus(0)
        assert replaced() == own, replaced()
        assert answers() == said, answers()
    assert torch.UntypedStorage(4).nbytes() == 4
    assert "no practice:0" in refusal(lambda: torch.UntypedStorage(4, device="practice:0"))
    net = torch.nn.Linear(3, 2)
    net(torch.ones(2, 3)).sum().backward()
    data = torch.utils.data.TensorDataset(torch.ones(2))
    assert [len(batch) for (batch,) in torch.utils.data.DataLoader(data, 2)] == [2]


if __name__ == "__main__":
    main()
