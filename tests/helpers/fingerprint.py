"""What a report must leave as it was: compare the fingerprint before and after."""

import contextlib
import random
from collections import UserDict, deque
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.parameter import is_lazy

from d2lcompute.parameters.names import slots, walk


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


def state(value):
    """What can be seen of a value: a tensor's bits, a container's content, a generator's state."""
    if isinstance(value, torch.Tensor):
        kind = id(value), bits(value), value.requires_grad, value.is_leaf
        return *kind, bits(value.grad) if value.is_leaf and not is_lazy(value) else None
    if isinstance(value, dict | UserDict):
        return id(value), [(key, state(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | set | deque):
        return type(value), [state(item) for item in value]
    if isinstance(value, torch.Generator):
        return bytes(value.get_state().numpy())
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    is_data = hasattr(value, "__dataclass_fields__") or isinstance(value, SimpleNamespace)
    return (id(value), state(vars(value))) if is_data else value


def attributes(module):
    """What a module holds beside parameters, buffers, modules and hooks."""
    own = vars(torch.nn.Module())
    return {name: state(value) for name, value in vars(module).items() if name not in own}


def fingerprint(net):
    """Everything observable about `net` and the process's random and grad state."""
    tensors = [(name, tensor) for name, _, _, tensor, _ in slots(net)]
    modules = list(walk(net))
    return {
        "tensors": [(name, id(t), bits(t), t.requires_grad) for name, t in tensors],
        "gradients": [(name, bits(t.grad)) for name, t in tensors if not is_lazy(t)],
        "modes": [(name, type(m), m.training, hooks(m)) for name, m in modules],
        "global hooks": global_hooks(),
        "attributes": [(sorted(vars(m)), attributes(m)) for _, m in modules],
        "random": bytes(torch.get_rng_state().numpy()),
        "Python's random": random.getstate(),
        "numpy's random": repr(np.random.get_state()),
        "grad mode": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
    }


@contextlib.contextmanager
def unchanged(net, inputs=()):
    """Fail if the block changes anything about `net` or `inputs`, also when it raises."""
    before = {**fingerprint(net), "inputs": state(list(inputs))}
    try:
        yield
    finally:
        after = {**fingerprint(net), "inputs": state(list(inputs))}
        for key in before:
            assert after[key] == before[key], f"{key} changed"
