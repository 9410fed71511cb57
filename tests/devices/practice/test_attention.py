import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("practice")

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
