import asyncio

import psutil
import pytest
from boxes import printed, shared_warm_process, warm_kernel
from waiting import PATIENCE

from d2lcompute.notebooks.cell import (
    CellTimeoutError,
    KernelDiedError,
    NotebookTimeoutError,
    OutputLimitError,
    ProtocolError,
)
from d2lcompute.notebooks.clock import Clock
from d2lcompute.notebooks.isolation import Limits
from d2lcompute.notebooks.kernel import start_kernel

IGNORES_INTERRUPTS = """
import time
while True:
    try:
        time.sleep(0.01)
    except BaseException:
        pass
"""
INTERRUPTS_LATE = """
import time
kernel = get_ipython().kernel
interrupt = kernel._send_interrupt_children
def late():
    time.sleep(1)
    interrupt()
kernel._send_interrupt_children = late
"""


@pytest.fixture(scope="module")
def kernel():
    with warm_kernel() as kernel:
        yield kernel


@pytest.fixture
def own_kernel():
    with warm_kernel(Limits(output_mb=1)) as kernel:
        yield kernel


def test_a_cell_shows_what_it_prints_and_its_value(kernel):
    result = kernel.run("print('a'); print('b'); 6 * 7")
    assert [output.output_type for output in result.outputs] == ["stream", "execute_result"]
    assert printed(result) == "a\nb\n42"
    assert 0 < result.seconds < 60


def test_the_clock_of_a_notebook_runs_while_its_cells_do():
    with warm_kernel(Limits(seconds=50)) as kernel:
        assert kernel.spent == 0
        taken = [kernel.run("1 + 1").seconds for _ in range(2)]
        assert kernel.spent == pytest.approx(sum(taken))


def test_an_update_replaces_what_a_display_shows(kernel):
    show = "from IPython.display import display\nbar = display(1, display_id=True)\n"
    outputs = kernel.run(show + "display(2); bar.update(3)").outputs
    assert [output.data["text/plain"] for output in outputs] == ["3", "2"]


def test_a_cell_sees_the_cells_before_it(kernel):
    kernel.run("x = 41")
    assert printed(kernel.run("x + 1")) == "42"


def test_a_semicolon_hides_the_value(kernel):
    assert kernel.run("6 * 7;").outputs == ()


def test_an_exception_is_told_and_shown(kernel):
    result = kernel.run("print('before'); 1 / 0")
    assert (result.error.name, result.error.text) == ("ZeroDivisionError", "division by zero")
    assert result.error.traceback[-1].endswith("division by zero")
    assert [output.output_type for output in result.outputs] == ["stream", "error"]


def test_an_unknown_magic_is_an_error(kernel):
    assert kernel.run("%no_such_magic").error.name == "UsageError"


def test_a_cell_that_asks_for_input_fails(kernel):
    assert kernel.run("input()").error.name == "StdinNotImplementedError"


def test_a_figure_is_shown(kernel):
    figure = kernel.run("import matplotlib.pyplot as plt; plt.plot([1, 2]);").outputs[0]
    assert set(figure.data) == {"text/plain", "image/png"}


def test_an_interrupted_kernel_goes_on(kernel):
    with pytest.raises(CellTimeoutError, match="longer than 2 s and was interrupted") as caught:
        kernel.run("y = 1\nprint('here', flush=True)\nwhile True: y += 1", timeout=2)
    assert caught.value.outputs[0].text == "here\n"
    assert printed(kernel.run("y > 1")) == "True"


def test_an_interrupt_that_comes_late_reaches_no_other_cell(own_kernel):
    own_kernel.run(INTERRUPTS_LATE)
    with pytest.raises(CellTimeoutError, match="longer than 1 s and was interrupted"):
        own_kernel.run("time.sleep(1.1)", timeout=1)
    assert own_kernel.run("time.sleep(1.5)").error is None


def test_what_was_sent_in_time_counts_however_late_it_is_read(kernel, monkeypatch):
    class Late(Clock):
        def elapsed(self):
            kernel._poller.poll(500)  # the reader is not there before something waits
            return 1e9

    monkeypatch.setattr("d2lcompute.notebooks.kernel.Clock", Late)
    assert printed(kernel.run("print(1)\n2", timeout=1)) == "1\n2"


def test_a_kernel_that_ignores_the_interrupt_is_ended(own_kernel):
    with pytest.raises(CellTimeoutError, match="ignored the interrupt"):
        own_kernel.run(IGNORES_INTERRUPTS, timeout=0.3)
    assert not own_kernel.is_alive()
    with pytest.raises(KernelDiedError, match="has ended"):
        own_kernel.run("1")


@pytest.mark.parametrize(
    "code",
    [
        "import os; os._exit(3)",
        "import os; os.kill(os.getpid(), 9)",
        "import ctypes; ctypes.string_at(0)",
    ],
)
def test_a_dead_kernel_is_noticed_before_its_time_is_up(own_kernel, code):
    with pytest.raises(
        KernelDiedError, match=r"^the kernel ended$"
    ):  # its code is not ours to know
        own_kernel.run(code, timeout=PATIENCE)


def test_all_cells_together_have_a_limit():
    took_too_long = pytest.raises(NotebookTimeoutError, match=r"notebook took longer than 1.5 s")
    with warm_kernel(Limits(seconds=1.5)) as kernel:
        with took_too_long:
            for _ in iter(int, 1):
                kernel.run("import time; time.sleep(0.2)", timeout=PATIENCE)
        assert not kernel.is_alive()


@pytest.mark.parametrize(
    "code",
    [
        "print('x' * 50_000_000)",
        "while True: print('x' * 1000)",
        "while True: display('x' * 1000)",
        "import os\nwhile True: os.write(1, b'x' * 1000)",
    ],
)
def test_too_much_output_ends_the_kernel(own_kernel, code):
    with pytest.raises(OutputLimitError, match=r"the cell (shows too much|sent more than 1 MB)"):
        own_kernel.run(code, timeout=PATIENCE)
    assert not own_kernel.is_alive()


POURS = """
import os, socket, struct, threading, time
def pour(descriptor, part=struct.pack(">BQ", 3, 500_000) + bytes(500_000)):
    while True:
        left = memoryview(part)
        while left:
            try: left = left[os.write(descriptor, left):]
            except BlockingIOError: pass
for name in os.listdir("/proc/self/fd"):
    try:
        connection = socket.socket(fileno=os.dup(int(name)))
        connection.getpeername()
    except OSError: continue
    threading.Thread(target=pour, args=(connection.detach(),), daemon=True).start()
time.sleep(1000)
"""


def test_a_message_without_an_end_does_not_fill_the_memory(own_kernel, monkeypatch):
    monkeypatch.setattr("d2lcompute.notebooks.kernel.MOST_WAITING", 32 << 20)
    with pytest.raises(OutputLimitError, match="the cell sent more than the grader can hold"):
        own_kernel.run(POURS, timeout=PATIENCE)
    assert not own_kernel.is_alive()


def test_garbage_on_the_wire_ends_the_kernel(own_kernel):
    with pytest.raises(ProtocolError, match="nonsense"):
        own_kernel.run("get_ipython().kernel.iopub_thread.socket.send_multipart([b'a'])", PATIENCE)
    assert not own_kernel.is_alive()


def test_an_ordinary_kernel_needs_nothing_of_linux(monkeypatch):
    monkeypatch.delattr("socket.SOCK_SEQPACKET")
    monkeypatch.setattr("sys.platform", "darwin")
    with start_kernel() as kernel:
        assert kernel.why_cold == "no warm kernel was asked for"
        assert printed(kernel.run("6 * 7")) == "42"


def test_a_closed_kernel_leaves_no_process_and_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with start_kernel() as kernel:
        pid = int(printed(kernel.run("import os; os.getpid()")))
        assert psutil.pid_exists(pid)
        assert list(tmp_path.iterdir())
    assert not psutil.pid_exists(pid)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_can_be_started_from_within_a_notebook():
    async def inside_a_running_loop():
        with warm_kernel() as kernel:
            with pytest.raises(CellTimeoutError):
                kernel.run("while True: x = 1", timeout=0.3)
            return printed(kernel.run("6 * 7"))

    assert asyncio.run(inside_a_running_loop()) == "42"


def test_a_long_name_of_the_temporary_folder_does_no_harm(tmp_path, monkeypatch):
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with start_kernel(warm_process=shared_warm_process()) as kernel:
        assert kernel.why_cold is None
        assert printed(kernel.run("6 * 7")) == "42"


def test_a_trusted_kernel_runs_where_it_is_told(tmp_path):
    (tmp_path / "beside.py").write_text("answer = 42")
    with start_kernel(warm_process=shared_warm_process(), folder=tmp_path) as kernel:
        assert printed(kernel.run("import beside; beside.answer")) == "42"
