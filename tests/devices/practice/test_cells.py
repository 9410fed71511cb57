import copy

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("practice")

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
