import re
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

pytestmark = pytest.mark.usefixtures("practice")

X = torch.arange(1.0, 13).view(3, 4) / 7
OPERATORS = {
    "numbers": lambda x: (x * 2 + 1, 1 / x, x**2, x.copysign(-1.0), torch.remainder(x, 2), 2 - x),
    "reductions": lambda x: (x.sum(), x.mean(0), x.std(), x.max(1), x.norm(), x.logsumexp(0)),
    "products": lambda x: (x @ x.mT, torch.einsum("ij,ik->jk", x, x), x.mT @ x),
    "lists": lambda x: (
        torch.cat([x, x]),
        torch.stack([x, x]),
        *x.split(2),
        *torch._foreach_add([x], 1),
    ),
    "indices": lambda x: (
        x[x > 1],
        x.gather(1, x.argsort()),
        x.nonzero(),
        x.unique(),
        x[[2, 0], 1],
    ),
    "layers": lambda x: (F.layer_norm(x, (4,)), F.softmax(x, 1), F.gelu(x), F.one_hot(x.long())),
    "images": lambda x: (F.conv2d(x[None, None], x[None, None, :2, :2]), F.max_pool1d(x[None], 2)),
    "linear algebra": lambda x: torch.linalg.qr(x),
    "losses": lambda x: (F.cross_entropy(x, x.argmax(1)), F.huber_loss(x, x + 1), F.kl_div(x, x)),
    "made like": lambda x: (
        x.new_ones(2),
        torch.zeros_like(x),
        torch.full_like(x, 3),
        x.new_tensor([1]),
    ),
    "windows": lambda x: torch.hann_window(4, device=x.device) * x,
    "counting": lambda x: (
        torch.arange(5, device=x.device),
        torch.linspace(0, 1, 3, device=x.device),
    ),
    "random": lambda x: (
        torch.rand(3, device=x.device),
        F.dropout(x),
        torch.randperm(5, device=x.device),
    ),
    "python": lambda x: (
        x.tolist(),
        x[0, 0].item(),
        len(x),
        bool(x.all()),
        f"{x[0, 0]:.3f}",
        1.0 in x,
    ),
}


def flat(value):
    return [x for item in value for x in flat(item)] if isinstance(value, tuple | list) else [value]


@pytest.mark.filterwarnings("ignore:reduction. 'mean'")
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_give_what_the_cpu_gives_bit_for_bit(name):
    torch.manual_seed(3)
    expected = flat(OPERATORS[name](X.clone()))
    torch.manual_seed(3)
    for got, wanted in zip(flat(OPERATORS[name](X.to("practice:1"))), expected, strict=True):
        if isinstance(wanted, torch.Tensor):
            assert got.device == torch.device("practice:1")
            torch.testing.assert_close(got.cpu(), wanted, rtol=0, atol=0)
        else:
            assert got == wanted


def test_outputs_are_written_where_out_says():
    x = torch.arange(3.0, device="practice:0")
    out = torch.empty(6, device="practice:0")[::2]
    assert torch.add(x, x, out=out) is out
    assert out.tolist() == [0, 2, 4]
    values, indices = (
        torch.empty(0, device="practice:0"),
        torch.empty(0, device="practice:0").long(),
    )
    torch.sort(x, descending=True, out=(values, indices))
    assert (values.tolist(), indices.tolist()) == ([2, 1, 0], [2, 1, 0])
    assert torch.mul(x, 2, out=x) is x
    assert torch.rand(2, 2, out=x[:0].clone()).shape == (2, 2)


def test_an_output_of_another_shape_is_resized_with_torchs_warning():
    x = torch.arange(3.0, device="practice:0")
    with pytest.warns(UserWarning, match="An output with one or more elements was resized"):
        out = torch.add(x, x, out=torch.ones(1, device="practice:0"))
    assert out.tolist() == [0, 2, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.add(x, x, out=torch.empty(0, device="practice:0"))


ALIKE_IN_LISTS = ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Rprop"]


@pytest.mark.parametrize(
    ("name", "foreach"),
    [(name, True) for name in ALIKE_IN_LISTS]
    + [(name, None) for name in (*ALIKE_IN_LISTS, "Adamax", "ASGD", "NAdam", "RAdam")],
)
def test_optimizers_take_the_steps_of_the_cpu(name, foreach):
    weights = []
    for device in ("cpu", "practice:1"):
        weight = nn.Parameter(torch.tensor([1.0, -2.0, 3.0], device=device))
        optimizer = getattr(torch.optim, name)([weight], lr=0.1, foreach=foreach)
        for _ in range(3):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
        weights.append(weight.detach().cpu())
    torch.testing.assert_close(*weights, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "Adagrad"])
def test_fused_optimizers_and_lbfgs_run(name):
    weight = nn.Parameter(torch.ones(3, device="practice:0"))
    (weight**2).sum().backward()
    getattr(torch.optim, name)([weight], lr=0.1, fused=True).step()
    assert (weight < 1).all()
    optimizer = torch.optim.LBFGS([weight])

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert weight.abs().max() < 1e-3


def test_gradients_of_gradients_and_functional_transforms_work():
    x = torch.arange(3.0, device="practice:1", requires_grad=True)
    (first,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert second.tolist() == [0, 6, 12]
    x = x.detach()
    assert torch.func.hessian(lambda a: (a**3).sum())(x).diagonal().tolist() == [0, 6, 12]
    assert torch.func.vmap(lambda a: a * 2)(x).tolist() == [0, 2, 4]
    assert torch.func.jvp(torch.square, (x,), (torch.ones_like(x),))[1].tolist() == [0, 2, 4]


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpoints_repeat_their_dropout(reentrant):
    net = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)).to("practice:1")
    x = torch.randn(4, 8, device="practice:1", requires_grad=True)
    torch.manual_seed(0)
    torch.utils.checkpoint.checkpoint(net, x, use_reentrant=reentrant).sum().backward()
    found, x.grad = x.grad, None
    torch.manual_seed(0)
    net(x).sum().backward()
    torch.testing.assert_close(found.cpu(), x.grad.cpu(), rtol=0, atol=0)


class Listening(TorchFunctionMode):
    def __init__(self):
        self.heard = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.heard.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_what_the_cpu_does_within_is_not_overheard():
    loss = nn.Linear(3, 2).to("practice:0")(torch.ones(1, 3, device="practice:0")).sum()
    with Listening() as mode:
        loss.backward()
    assert mode.heard == ["backward"]


class Tagged(torch.Tensor):
    pass


def test_tensors_of_a_subclass_stay_so():
    x = torch.ones(2, device="practice:0").as_subclass(Tagged)
    assert type(x + 1) is Tagged
    assert (x + 1).tolist() == [2, 2]


def test_an_error_of_the_cpu_comes_through_and_changes_nothing():
    x = torch.ones(2, 3, device="practice:0")
    with pytest.raises(IndexError, match="Dimension out of range"):
        x.sum(5)
    with pytest.raises(RuntimeError, match="must match the size of tensor b"):
        x.add_(torch.ones(2, 2, device="practice:0"))
    assert x.sum() == 6


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
    "fill under a mask": lambda x, z: x.masked_fill(x > 0, torch.tensor(1.0)),
    "lists of copies": lambda x, z: torch._foreach_copy_([x], [z]),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_real_devices_take_from_the_cpu_these_take(case):
    ALLOWED[case](torch.ones(2, 2, device=A), torch.ones(2, 2))
