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


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adadelta", "Rprop"]
)
@pytest.mark.parametrize("foreach", [True, False])
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


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
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
