"""What a report must leave as it was: compare the fingerprint before and after."""

import contextlib

import torch
from torch.nn.parameter import is_lazy


def bits(tensor):
    if tensor is None:
        return None
    if is_lazy(tensor):
        return "lazy", str(tensor.device), tensor.dtype
    place = str(tensor.device), tensor.dtype, tuple(tensor.shape), tensor.stride()
    if tensor.device.type == "meta":
        return place
    plain = tensor.detach().cpu().contiguous().view(-1)
    return (*place, tensor._version, bytes(plain.view(torch.uint8).numpy()))


def hooks(module):
    names = [name for name in vars(module) if name.endswith("_hooks")]
    return {name: list(getattr(module, name)) for name in sorted(names)}


def global_hooks():
    """How many hooks of each kind torch holds for all modules."""
    held = vars(torch.nn.modules.module)
    return {n: len(v) for n, v in held.items() if n.startswith("_global_") and hasattr(v, "keys")}


def fingerprint(net):
    """Everything observable about `net` and the process's random and grad state."""
    tensors = [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]
    return {
        "tensors": [(name, id(t), bits(t), t.requires_grad) for name, t in tensors],
        "gradients": [(name, bits(t.grad)) for name, t in tensors if not is_lazy(t)],
        "modes": [(name, type(m), m.training, hooks(m)) for name, m in net.named_modules()],
        "global hooks": global_hooks(),
        "attributes": [sorted(vars(m)) for m in net.modules()],
        "random": bytes(torch.get_rng_state().numpy()),
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
    }


@contextlib.contextmanager
def unchanged(net):
    """Fail if the block changes anything about `net`, also when it raises."""
    before = fingerprint(net)
    try:
        yield
    finally:
        after = fingerprint(net)
        for key in before:
            assert after[key] == before[key], f"{key} changed"
