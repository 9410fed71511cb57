import linecache
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c

CPU = torch.device("cpu")


def seen(act):
    """Return what `act` moved, as (call, source, target, bytes)."""
    with d2c.watch_transfers() as transfers:
        act()
    return [(e.call, str(e.source), str(e.target), e.bytes) for e in transfers.events]


@pytest.fixture
def x(practice):
    return torch.arange(6.0).reshape(2, 3).to(practice[1])


IN, OUT = ("cpu", "practice:1"), ("practice:1", "cpu")

READS = {
    "item": (lambda x: x[0, 0].item(), 4),
    "float": (lambda x: float(x.double().sum()), 8),
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
}


@pytest.mark.parametrize("call", READS)
def test_every_read_of_a_device_is_seen(x, call):
    act, size = READS[call]
    assert seen(lambda: act(x)) == [(call, *OUT, size)]


@pytest.mark.parametrize(
    "act", [lambda x: f"{x}", str, lambda x: str(nn.Parameter(x)), lambda x: repr({"weight": x})]
)
def test_every_way_to_print_reads_the_tensor(x, act):
    assert [size for *_, size in seen(lambda: act(x))] == [24]


COPIES = {
    "to": (lambda x: torch.ones(3).to(x.device), [(*IN, 12)]),
    "tensor": (lambda x: torch.tensor([1, 2], device=x.device), [(*IN, 16)]),
    "as_tensor": (lambda x: torch.as_tensor([1.0], device=x.device), [(*IN, 4)]),
    "new_tensor": (lambda x: x.new_tensor([1.0], device=x.device), [(*IN, 4)]),
    "copy": (lambda x: x.copy_(torch.ones(3)), [(*IN, 24)]),
    "x[...]": (lambda x: x[torch.tensor([0, 1])], [(*IN, 16)]),
    "x[...] =": (lambda x: x.__setitem__(0, torch.ones(3)), [(*IN, 12)]),
    "foreach_copy": (
        lambda x: torch._foreach_copy_([x, x[0]], [torch.ones(2, 3), torch.ones(3)]),
        [(*IN, 24), (*IN, 12)],
    ),
}


@pytest.mark.parametrize("call", COPIES)
def test_every_copy_between_devices_is_seen(x, call):
    act, crossings = COPIES[call]
    assert seen(lambda: act(x)) == [(call, *crossing) for crossing in crossings]


STAYING = {
    "arithmetic": lambda x: (x @ x.T + torch.tensor(2.0)).relu().norm(),
    "made there": lambda x: torch.full((3,), 2.0, device=x.device),
    "where it is": lambda x: x.to(x.device),
    "a copy beside it": lambda x: d2c.copyto(x, x.device),
    "another type": lambda x: x.double(),
    "a number in": lambda x: x.__setitem__((0, 0), 3.0),
    "a number under a mask": lambda x: x.__setitem__(x > 2, 0.0),
    "an index there": lambda x: x[torch.zeros(2, dtype=torch.long, device=x.device)],
    "a known length": lambda x: x.repeat_interleave(x[0].long(), dim=1, output_size=3),
    "to nowhere": lambda x: (x.to("meta"), torch.ones(2).to("meta")),
    "its metadata": lambda x: (x.shape, len(x), x.device, x.is_contiguous()),
    "iteration": lambda x: sum(x.flatten()),
}


@pytest.mark.parametrize("act", STAYING.values(), ids=STAYING)
def test_what_stays_on_a_device_is_no_transfer(x, act):
    assert seen(lambda: act(x)) == []


def test_between_two_accelerators_python_does_not_wait(x, practice):
    with d2c.watch_transfers() as transfers:
        x.to(practice[0])
        x.to("cpu", non_blocking=True)
        x.cpu()
    assert [event.waits for event in transfers.events] == [False, False, True]


@given(shape=st.lists(st.integers(0, 4), max_size=3))
def test_work_on_the_cpu_is_no_transfer(shape):
    X = torch.rand(shape)

    def act():
        X.sum().item(), X.tolist(), X.cpu(), X[X > 0.5], repr(X), torch.tensor([1.0]), X.to("cpu")

    assert seen(act) == []


def test_moving_a_net_moves_each_parameter_and_buffer(practice):
    net = d2c.FixedHiddenMLP(4)
    assert seen(lambda: net.to(practice[1])) == [("to", *IN, s) for s in (64, 16, 64)]


def test_a_loop_in_a_block_of_ours_shows_at_the_line_that_calls_it(practice):
    net = d2c.FixedHiddenMLP().to(practice[1])
    X = torch.ones(2, 20, device=practice[1])
    with d2c.watch_transfers() as transfers:
        net(X)
    assert transfers.count > 0
    assert {event.code for event in transfers.events} == {"net(X)"}


def test_what_backward_moves_shows_at_the_line_that_calls_it(practice):
    w = torch.ones(3, requires_grad=True)
    loss = (w.to(practice[1]) * 2).sum()
    with d2c.watch_transfers() as transfers:
        loss.backward()
    assert [(e.call, e.bytes, e.code) for e in transfers.events] == [
        ("backward", 12, "loss.backward()")
    ]


def test_inference_mode_hides_nothing(x):
    with torch.inference_mode():
        assert seen(lambda: x.cpu()) == [("cpu", *OUT, 24)]
        assert seen(lambda: torch.allclose(x, x)) == [("allclose", *OUT, 1)]


def test_the_results_are_those_without_the_watch(x):
    with d2c.watch_transfers():
        watched = x[x > 2].cpu(), x.tolist(), repr(x), (x @ x.T).cpu()
    assert_close(watched[0], x[x > 2].cpu())
    assert watched[1:3] == (x.tolist(), repr(x))
    assert_close(watched[3], (x @ x.T).cpu())


def test_a_watch_within_a_watch_sees_its_part(x):
    with d2c.watch_transfers() as outer:
        x.cpu()
        with d2c.watch_transfers() as inner:
            x.sum().item()
    assert [event.call for event in outer.events] == ["cpu", "item"]
    assert [event.call for event in inner.events] == ["item"]


def test_nothing_is_left_behind_even_by_an_error(x):
    item = torch.Tensor.item
    with pytest.raises(ZeroDivisionError, match="division"), d2c.watch_transfers() as transfers:
        1 / int(x[0, 0].item())
    assert torch._C._len_torch_dispatch_stack() == torch._C._len_torch_function_stack() == 0
    assert torch.Tensor.item is item
    x.cpu()
    assert transfers.count == 1


def test_a_callable_without_a_name_is_watched_too(x):
    class Read:
        def __call__(self, x):
            if torch.overrides.has_torch_function_unary(x):
                return torch.overrides.handle_torch_function(self, (x,), x)
            return x.cpu()

    assert seen(lambda: Read()(x)) == [("to", *OUT, 24)]


def test_a_call_that_fails_moved_nothing(x):
    def act():
        with pytest.raises(TypeError, match="to numpy"):
            x.numpy()

    assert seen(act) == []


def run_as(file, source, **names):
    linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
    try:
        exec(compile(source, file, "exec"), names)
    finally:
        del linecache.cache[file]


SOURCE = "total = 0.0\nfor _ in range(1_000):\n    total += X.sum().item()\nprint(X)\nY = X.cpu()\n"


def test_the_table_counts_by_line(x, golden, capsys):
    with d2c.watch_transfers() as transfers:
        run_as("/home/me/train.py", SOURCE, X=x)
    assert (transfers.count, transfers.bytes) == (1_002, 4_048)
    assert "<td" in transfers._repr_html_()
    golden(repr(transfers))


@pytest.mark.parametrize("file", ["/tmp/ipykernel_7/123.py", "<ipython-input-3-0f>"])
def test_the_table_is_the_same_in_every_run_of_a_notebook(x, file, capsys):
    with d2c.watch_transfers() as transfers:
        run_as(file, SOURCE, X=x)
    assert [event.place for event in transfers.events[-2:]] == ["cell:4", "cell:5"]
    assert transfers.events[-1].code == "Y = X.cpu()"


def test_a_long_line_is_cut_in_the_table_alone(x):
    source = f"X.cpu(){' ' * 5}# {'very ' * 20}long"
    with d2c.watch_transfers() as transfers:
        run_as("train.py", source, X=x)
    assert transfers.events[0].code == source
    assert "very ver..." in repr(transfers)


def test_a_prompt_without_source_still_has_a_place(x):
    with d2c.watch_transfers() as transfers:
        exec(compile("X.cpu()", "<stdin>", "exec"), {"X": x})
    assert (transfers.events[0].place, transfers.events[0].code) == ("<stdin>:1", "")


def test_an_empty_report_says_so():
    with d2c.watch_transfers() as transfers:
        torch.rand(3).sum().item()
    assert "nothing crossed between devices" in repr(transfers)


def test_watching_does_not_load_torchs_compiler():
    code = (
        "import sys, torch, d2lcompute as d2c\n"
        "with d2c.watch_transfers(): torch.rand(3).cpu().sum().item()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
def test_a_real_accelerator_is_watched():
    w = torch.ones(3, requires_grad=True)
    with d2c.watch_transfers() as transfers:
        X = w.to(d2c.gpu())
        loss = X[X > 0].sum()
        loss.item()
        loss.backward()
        repr(X)
    assert [(event.call, event.bytes) for event in transfers.events] == [
        ("to", 12),
        ("x[...]", 8),
        ("item", 4),
        ("backward", 12),
        ("print", 12),
    ]
    assert transfers.events[3].code == "loss.backward()"
