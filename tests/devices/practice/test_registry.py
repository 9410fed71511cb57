"""Operators run on practice devices by the kernels of the CPU, or as accelerators run them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("practice")


@pytest.fixture
def custom():
    with torch.library._scoped_library("practice_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2 if x.is_cpu else 1 / 0, "CPU")
        yield torch.ops.practice_test.twice


def test_an_operator_of_another_library_runs_by_its_cpu_kernel(custom):
    y = custom(torch.ones(2, device="practice:1"))
    assert (y.tolist(), y.device) == ([2, 2], torch.device("practice:1"))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_say_which_layout_works():
    parts = [torch.ones(2, device="practice:0"), torch.ones(3, device="practice:0")]
    with pytest.raises(NotImplementedError, match="take no nested tensors of the strided layout"):
        torch.nested.nested_tensor(parts) * 2
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
    assert (nested * 2).device == torch.device("practice:0")


def test_pinning_gives_a_copy_where_nothing_needs_it():
    x = torch.ones(2)
    pinned = x.pin_memory()
    assert pinned is not x
    assert torch.equal(pinned, x)


def test_a_stream_may_be_named_for_what_it_is_worth():
    x = torch.ones(2, device="practice:1")
    assert x.record_stream(torch.accelerator.current_stream()) is None


def test_meta_and_practice_devices_exchange_shapes():
    net = nn.Linear(3, 2, device="meta").to_empty(device="practice:1")
    assert net.weight.device == torch.device("practice:1")
    assert net.to("meta").weight.is_meta


MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "boolean": {"attn_mask": torch.ones(3, 3).tril().bool()},
    "added": {"attn_mask": torch.linspace(-1, 1, 9).view(3, 3)},
    "scaled": {"scale": 0.3},
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("shape", [(2, 4, 3, 8), (4, 3, 8)])
def test_attention_is_the_cpus_bit_for_bit(mask, shape):
    found = []
    for device in ("cpu", "practice:1"):
        torch.manual_seed(0)
        query, key, value = (torch.randn(shape).to(device).requires_grad_() for _ in range(3))
        moved = {k: v.to(device) if torch.is_tensor(v) else v for k, v in MASKS[mask].items()}
        output = F.scaled_dot_product_attention(query, key, value, **moved)
        gradients = torch.autograd.grad(output.square().sum(), (query, key, value))
        found.append([t.detach().cpu() for t in (output, *gradients)])
    for got, wanted in zip(*found, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)


def test_a_mask_that_learns_gets_its_gradient():
    x = torch.randn(2, 2, 3, 4, device="practice:0")
    mask = torch.zeros(3, 3, device="practice:0", requires_grad=True)
    F.scaled_dot_product_attention(x, x, x, mask).square().sum().backward()
    assert mask.grad.abs().sum() > 0


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_a_transformer_is_the_cpus(training):
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0), 2)
    net.train(training)
    x = torch.randn(3, 2, 8)
    there = copy.deepcopy(net).to("practice:1")
    torch.testing.assert_close(there(x.to("practice:1")).cpu(), net(x), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_an_encoder_takes_padded_batches_in_evaluation():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net, X = nn.TransformerEncoder(layer, 2).eval(), torch.randn(2, 4, 8)
    padded = torch.tensor([[False, False, False, True], [False, False, True, True]])
    with torch.no_grad():
        expected = net(X, src_key_padding_mask=padded)
        found = net.to("practice:1")(
            X.to("practice:1"), src_key_padding_mask=padded.to("practice:1")
        )
    torch.testing.assert_close(found.cpu()[~padded], expected[~padded])


NETS = {
    "lstm": lambda: nn.LSTM(4, 3, 2, bidirectional=True),
    "lstm without bias": lambda: nn.LSTM(4, 3, bias=False),
    "gru": lambda: nn.GRU(4, 3, 2),
    "gru without bias": lambda: nn.GRU(4, 3, bias=False),
    "rnn": lambda: nn.RNN(4, 3, nonlinearity="relu"),
}


def results(net, x):
    output, state = net(x)
    total = output.square().sum() + sum(s.sum() for s in state)
    gradients = torch.autograd.grad(total, list(net.parameters()))
    return [t.detach().cpu() for t in (output, *gradients)]


@pytest.mark.parametrize("name", NETS)
def test_recurrent_nets_and_their_gradients_are_the_cpus(name):
    here = NETS[name]()
    there = copy.deepcopy(here).to("practice:1")
    x = torch.randn(5, 2, 4)
    for got, wanted in zip(results(there, x.to("practice:1")), results(here, x), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_a_cell_steps_and_has_second_gradients(cell):
    net = cell(3, 2).to("practice:0")
    x = torch.randn(4, 3, device="practice:0", requires_grad=True)
    state = net(x)
    output = state[0] if isinstance(state, tuple) else state
    (gradient,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert second.shape == x.shape
    assert second.abs().sum() > 0


def test_sequences_of_several_lengths_are_packed():
    net = nn.LSTM(4, 3)
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(5, 3, 4), [5, 3, 2])
    expected, _ = net(packed)
    found, _ = net.to("practice:1")(packed.to("practice:1"))
    assert found.data.device == torch.device("practice:1")
    assert found.batch_sizes.is_cpu
    torch.testing.assert_close(found.data.cpu(), expected.data)


def test_products_are_low_and_sums_high_in_precision():
    x = torch.randn(4, 4, device="practice:1")
    with torch.autocast("practice", dtype=torch.bfloat16):
        y = F.linear(x, x)
        assert y.dtype is torch.bfloat16
        assert F.softmax(y, 1).dtype is torch.float32
        assert y.sum().dtype is torch.float32
        assert (x + 1).dtype is torch.float32
        assert x.double().mm(x.double()).dtype is torch.float64
        with torch.autocast("practice", enabled=False):
            assert x.mm(x).dtype is torch.float32
    assert x.mm(x).dtype is torch.float32
    torch.testing.assert_close(y, x.bfloat16() @ x.bfloat16().mT)


def test_a_net_trains_under_autocast_with_a_scaler():
    net = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 2)).to(
        "practice:1"
    )
    x, y = torch.randn(16, 4, device="practice:1"), torch.arange(16, device="practice:1") % 2
    optimizer, scaler = torch.optim.SGD(net.parameters(), 0.5), torch.amp.GradScaler("practice")
    losses = []
    for _ in range(30):
        with torch.autocast("practice", dtype=torch.float16):
            loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert net[0].weight.dtype is net[0].weight.grad.dtype is torch.float32


def test_the_cpus_autocast_does_not_reach_the_device():
    x = torch.ones(2, 2, device="practice:0")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert x.mm(x).dtype is torch.float32
        assert x.cpu().mm(x.cpu()).dtype is torch.bfloat16
