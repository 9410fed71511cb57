"""Every copy and every read that `watch_transfers` names, held against torch's own word for it.

`torch.cuda.set_sync_debug_mode` is the oracle: on CUDA it stops whatever makes Python wait.
"""

import pytest
import torch
from torch import nn

import d2lcompute as d2c


def seen(act):
    """Return what `act` moved, as (call, source, target, bytes), and whether any of it waits."""
    with d2c.watch_transfers() as transfers:
        act()
    events = transfers.events
    moved = [(e.call, str(e.source), str(e.target), e.bytes) for e in events]
    return moved, any(e.waits for e in events)


@pytest.fixture
def x(device):
    return torch.arange(6.0).reshape(2, 3).to(device)


READS = {
    "item": (lambda x: x[0, 0].item(), 4),
    "float": (lambda x: float(x.sum()), 4),
    "int": (lambda x: int(x.sum()), 4),
    "bool": (lambda x: bool((x > 0).any()), 1),
    "index": (lambda x: range(9)[x.long().sum() - 10], 8),
    "in": (lambda x: 3.0 in x, 1),
    "tolist": (lambda x: x.tolist(), 24),
    "cpu": (lambda x: x.cpu(), 24),
    "to": (lambda x: x.to("cpu", torch.float64), 48),
    "print": (lambda x: repr(x), 24),
    "format": (lambda x: f"{x.sum():.2f}", 4),
    "equal": (lambda x: torch.equal(x, x), 1),
    "allclose": (lambda x: torch.allclose(x, x), 1),
    "x[...]": (lambda x: x[x > 2], 8),
    "nonzero": (lambda x: x.nonzero(), 8),
    "where": (lambda x: torch.where(x > 2), 8),
    "masked_select": (lambda x: x.masked_select(x > 2), 8),
    "unique": (lambda x: x.unique(), 8),
    "bincount": (lambda x: x.long().flatten().bincount(), 8),
    "repeat_interleave": (lambda x: x.repeat_interleave(x[0].long(), dim=1), 8),
    "linalg_inv": (lambda x: torch.linalg.inv(x[:, 1:]), 8),
    "masked_fill": (lambda x: x.masked_fill(x > 2, x[0, 0]), 4),
}


@pytest.mark.parametrize("call", READS)
def test_every_read_of_a_device_is_seen_and_waits(x, waits, call):
    act, size = READS[call]
    assert seen(lambda: act(x)) == ([(call, str(x.device), "cpu", size)], True)
    assert waits(lambda: act(x)) in (True, None)


@pytest.mark.parametrize(
    "act", [lambda x: f"{x}", str, lambda x: str(nn.Parameter(x)), lambda x: repr({"weight": x})]
)
def test_every_way_to_print_reads_the_tensor(x, waits, act):
    assert [size for *_, size in seen(lambda: act(x))[0]] == [24]
    assert waits(lambda: act(x)) in (True, None)


COPIES = {
    "to": (lambda x: torch.ones(3).to(x.device), [12]),
    "tensor": (lambda x: torch.tensor([1, 2], device=x.device), [16]),
    "as_tensor": (lambda x: torch.as_tensor([1.0], device=x.device), [4]),
    "new_tensor": (lambda x: x.new_tensor([1.0], device=x.device), [4]),
    "copy": (lambda x: x.copy_(torch.ones(3)), [24]),
    "x[...]": (lambda x: x[torch.tensor([0, 1])], [16]),
    "x[...] =": (lambda x: x.__setitem__(0, torch.ones(3)), [12]),
    "foreach_copy": (
        lambda x: torch._foreach_copy_([x, x[0]], [torch.ones(2, 3), torch.ones(3)]),
        [24, 12],
    ),
}


@pytest.mark.parametrize("call", COPIES)
def test_every_copy_to_a_device_is_seen_and_waits(x, waits, call):
    act, sizes = COPIES[call]
    assert seen(lambda: act(x)) == ([(call, "cpu", str(x.device), size) for size in sizes], True)
    assert waits(lambda: act(x)) in (True, None)


STAYING = {
    "arithmetic": lambda x: (x @ x.T + torch.tensor(2.0)).relu().norm(),
    "made there": lambda x: torch.full((3,), 2.0, device=x.device),
    "where it is": lambda x: x.to(x.device),
    "a copy beside it": lambda x: d2c.copyto(x, x.device),
    "another type": lambda x: x.half(),
    "a number in a row": lambda x: x.__setitem__(0, 3.0),
    "a number under a mask": lambda x: x.__setitem__(x > 2, 0.0),
    "filled under a mask": lambda x: x.masked_fill(x > 2, torch.tensor(0.0)),
    "an index there": lambda x: x[torch.zeros(2, dtype=torch.long, device=x.device)],
    "a known length": lambda x: x.repeat_interleave(x[0].long(), dim=1, output_size=3),
    "to nowhere": lambda x: (x.to("meta"), torch.ones(2).to("meta")),
    "its metadata": lambda x: (x.shape, len(x), x.device, x.is_contiguous()),
    "iteration": lambda x: sum(x.flatten()),
    "a layer": lambda x: nn.Linear(3, 2, device=x.device)(x).softmax(1),
    "dropout": lambda x: nn.functional.dropout(x),
    "random numbers": lambda x: torch.randn(3, device=x.device),
}


@pytest.mark.parametrize("act", STAYING.values(), ids=STAYING)
def test_what_stays_on_a_device_is_no_transfer_and_does_not_wait(x, waits, act):
    assert seen(lambda: act(x)) == ([], False)
    assert waits(lambda: act(x)) in (False, None)


def test_a_number_for_one_element_crosses_over_on_cuda(x, waits):
    """torch makes a tensor of the number, on CUDA alone on the CPU, and copies that."""
    moved, waited = seen(lambda: x.__setitem__((0, 0), 3.0))
    assert moved == ([("x[...] =", "cpu", str(x.device), 4)] if x.is_cuda else [])
    assert waits(lambda: x.__setitem__((0, 0), 3.0)) in (waited, None)


def test_a_tensor_that_fills_under_a_mask_is_read_on_real_devices(x, waits):
    moved, waited = seen(lambda: x.__setitem__(x > 2, x[0, 0]))
    practice = x.device.type == "practice"
    assert moved == ([] if practice else [("x[...] =", str(x.device), "cpu", 4)])
    assert waits(lambda: x.__setitem__(x > 2, x[0, 0])) in (waited, None)


def test_a_copy_that_need_not_wait_does_not(x, waits):
    def act():
        x.to("cpu", non_blocking=True)

    assert seen(act) == ([("to", str(x.device), "cpu", 24)], False)
    assert waits(act) in (False, None)


def test_a_step_of_training_waits_where_its_loss_is_read(device, waits):
    net = d2c.mlp(8, 1, in_units=4).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    X, y = torch.randn(16, 4, device=device), torch.randn(16, 1, device=device)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(X), y)
        loss.backward()
        optimizer.step()
        return loss

    assert seen(step) == ([], False)
    assert waits(step) in (False, None)
    assert seen(lambda: step().item()) == ([("item", str(device), "cpu", 4)], True)
    assert waits(lambda: step().item()) in (True, None)


def test_what_backward_moves_shows_at_the_line_that_calls_it(device):
    w = torch.ones(3, requires_grad=True)
    with d2c.watch_transfers() as transfers:
        X = w.to(device)
        loss = X[X > 0].sum()
        loss.item()
        loss.backward()
        repr(X)
    assert [(event.call, event.bytes) for event in transfers.events] == [
        ("to", 12),
        ("x[...]", 8),
        ("item", 4),
        ("backward", 8),  # the gradient of X[X > 0] asks once more how many there are
        ("backward", 12),
        ("print", 12),
    ]
    assert {e.code for e in transfers.events[3:5]} == {"loss.backward()"}


def test_inference_mode_hides_nothing(x):
    with torch.inference_mode():
        assert seen(lambda: x.cpu())[0] == [("cpu", str(x.device), "cpu", 24)]
        assert seen(lambda: torch.allclose(x, x))[0] == [("allclose", str(x.device), "cpu", 1)]


def test_moving_a_net_moves_each_parameter_and_buffer(device):
    net = d2c.FixedHiddenMLP(4)
    net(torch.ones(2, 4))
    moved, _ = seen(lambda: net.to(device))
    assert moved == [("to", "cpu", str(device), size) for size in (64, 16, 64)]


SUSPECTS = {
    "multinomial": lambda x: x.multinomial(2),
    "multinomial with replacement": lambda x: x.multinomial(2, replacement=True),
    "histc": lambda x: x.histc(4),
    "isin": lambda x: torch.isin(x, x[0]),
    "mode": lambda x: x.mode(),
    "median": lambda x: x.median(),
    "quantile": lambda x: x.quantile(0.5),
    "randperm": lambda x: torch.randperm(9, device=x.device),
    "one_hot": lambda x: nn.functional.one_hot(x.long(), 6),
    "bucketize": lambda x: torch.bucketize(x, x[0]),
    "index_put": lambda x: x.index_put((x.long() % 2,), x[0, 0], accumulate=True),
    "embedding": lambda x: nn.functional.embedding(x.long() % 2, x, max_norm=1.0),
    "svd": torch.linalg.svd,
    "eigh": lambda x: torch.linalg.eigh(x @ x.T),
    "lstsq": lambda x: torch.linalg.lstsq(x.T, x.T),
    "clip_grad_norm": lambda x: nn.utils.clip_grad_norm_(graded(x), 1.0),
    "ctc_loss": lambda x: nn.functional.ctc_loss(
        x.log_softmax(1)[:, None], torch.tensor([[1]], device=x.device), [2], [1]
    ),
}


def graded(x):
    weight = nn.Parameter(x.clone())
    weight.grad = torch.ones_like(x)
    return [weight]


@pytest.mark.parametrize("name", SUSPECTS)
def test_what_is_seen_to_wait_does_wait_and_the_rest_is_noted(x, waits, notice, name):
    """Nobody sees into the operators of a device: what waits there unseen goes into the table."""
    _, seen_to_wait = seen(lambda: SUSPECTS[name](x))
    waited = waits(lambda: SUSPECTS[name](x))
    assert waited is None or waited or not seen_to_wait
    if waited and not seen_to_wait:
        notice(name)
