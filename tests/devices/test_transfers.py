import linecache
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
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


def test_a_loop_in_a_block_of_ours_shows_at_the_line_that_calls_it(practice):
    net = d2c.FixedHiddenMLP().to(practice[1])
    X = torch.ones(2, 20, device=practice[1])
    with d2c.watch_transfers() as transfers:
        net(X)
    assert transfers.count > 0
    assert {event.code for event in transfers.events} == {"net(X)"}


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
