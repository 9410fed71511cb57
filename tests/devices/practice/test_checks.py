import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("practice")

TWO = "Expected all tensors to be on the same device, but found at least two devices, {} and {}!"
ONE = (
    "Expected all tensors to be on the same device, but got {} is on {}, different from other "
    "tensors on {} (when checking argument in method wrapper_practice_{})"
)
INDICES = "indices should be either on cpu or on the same device as the indexed tensor ({})"
A, B, C = "practice:0", "practice:1", "cpu"
REFUSED = {
    "sum of two": (lambda x, y, z: x + y, TWO.format(A, B)),
    "sum with the cpu": (lambda x, y, z: z + x, TWO.format(A, C)),
    "in place": (lambda x, y, z: z.add_(x), TWO.format(A, C)),
    "number of another": (lambda x, y, z: x * y[0, 0], TWO.format(A, B)),
    "number for the cpu": (lambda x, y, z: z * y[0, 0], TWO.format(B, C)),
    "output": (lambda x, y, z: torch.add(x, x, out=z), TWO.format(A, C)),
    "list": (lambda x, y, z: torch._foreach_add([x, x], [x, z]), TWO.format(A, C)),
    "loss": (lambda x, y, z: F.mse_loss(x, z), TWO.format(A, C)),
    "product": (lambda x, y, z: x @ z, ONE.format("mat2", C, A, "mm")),
    "layer": (
        lambda x, y, z: nn.Linear(2, 1, device=A)(z),
        ONE.format("mat1", C, A, "addmm"),
    ),
    "stack": (lambda x, y, z: torch.cat([x, y]), ONE.format("tensors", B, A, "cat")),
    "classes": (
        lambda x, y, z: F.cross_entropy(x, z.argmax(1)),
        ONE.format("target", C, A, "nll_loss_forward"),
    ),
    "words": (
        lambda x, y, z: F.embedding(z.long(), x),
        ONE.format("index", C, A, "index_select"),
    ),
    "image": (
        lambda x, y, z: nn.Conv1d(2, 1, 1, device=A)(z),
        "Input type (torch.FloatTensor) and weight type (torch.practice.FloatTensor) should be "
        "the same",
    ),
    "image of another": (
        lambda x, y, z: nn.Conv1d(2, 1, 1, device=A)(y),
        ONE.format("weight", A, B, "convolution"),
    ),
    "indices of another": (lambda x, y, z: x[y.argmax(1)], INDICES.format(A)),
    "indices for the cpu": (lambda x, y, z: z[y.argmax(1)], INDICES.format(C)),
    "values put": (lambda x, y, z: x.__setitem__(x > 0, z[0]), TWO.format(A, C)),
    "attention": (
        lambda x, y, z: F.scaled_dot_product_attention(x, x, z),
        "Expected query, key, and value to have the same device type, but got query.device: "
        "practice:0 key.device: practice:0 and value.device: cpu instead.",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mixing_devices_is_refused_in_torchs_words(case):
    act, message = REFUSED[case]
    x, y, z = (torch.ones(2, 2, device=device) for device in (A, B, C))
    with pytest.raises(RuntimeError, match=re.escape(message)):
        act(x, y, z)
    assert [t.sum().item() for t in (x, y, z)] == [4, 4, 4]


ALLOWED = {
    "number": lambda x, z: x + torch.tensor(2.0),
    "number in place": lambda x, z: x.mul_(torch.tensor(2.0)),
    "number put": lambda x, z: x.__setitem__(0, torch.tensor(3.0)),
    "number under a mask": lambda x, z: x.__setitem__(x > 0, torch.tensor(3.0)),
    "choice": lambda x, z: torch.where(x > 0, x, torch.tensor(0.0)),
    "indices": lambda x, z: x[z.argmax(1)],
    "mask": lambda x, z: x[z > 0],
    "indices put": lambda x, z: x.__setitem__(z.argmax(1), 1.0),
    "row put": lambda x, z: x.__setitem__(0, z[0]),
    "copy": lambda x, z: z.copy_(x),
    "fill": lambda x, z: x.fill_(torch.tensor(1.0)),
    "lists of copies": lambda x, z: torch._foreach_copy_([x], [z]),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_real_devices_take_from_the_cpu_these_take(case):
    ALLOWED[case](torch.ones(2, 2, device=A), torch.ones(2, 2))
