import pytest
import torch
from torch import nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("practice")


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
