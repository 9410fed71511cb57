import os
import re
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest
import torch
from boxes import isolation_on, printed, shared_warm_process, warm_kernel
from waiting import PATIENCE, wait_for_the_end_of, wait_until

from d2lcompute.notebooks import warm
from d2lcompute.notebooks.isolation import clean_environment
from d2lcompute.notebooks.kernel import start_kernel
from d2lcompute.notebooks.warm import PRELOAD, ForkedProcess, NotWarmError, WarmProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux only")
PARALLEL = "import torch; (torch.ones(1500, 1500) @ torch.ones(1500, 1500)).trace().item()"


@pytest.fixture
def kernel():
    with warm_kernel() as kernel:
        yield kernel


def threads_of(pid):
    return psutil.Process(pid).num_threads()


def test_a_warm_kernel_is_forked(kernel):
    assert kernel.why_cold is None
    parent = int(printed(kernel.run("import os; os.getppid()")))
    assert psutil.Process(parent).ppid() == os.getpid()


def test_torch_is_there_before_it_is_imported(kernel):
    assert printed(
        kernel.run("import sys; 'torch' in sys.modules, 'd2lcompute' in sys.modules")
    ) == ("(True, True)")


def test_the_warm_process_never_computes_so_its_children_can():
    parents = set()
    for _ in range(2):
        with warm_kernel() as kernel:
            parents.add(int(printed(kernel.run("import os; os.getppid()"))))
            assert printed(kernel.run(PARALLEL, timeout=PATIENCE)) == "2250000.0"
    assert [threads_of(parent) for parent in parents] == [1]


def test_the_warm_process_asks_for_no_accelerator():
    code = f"""
    import importlib, torch
    def touched(*arguments, **options):
        raise AssertionError("a forked kernel could not use the accelerator")
    for name in ("is_available", "device_count", "init", "_lazy_init"):
        setattr(torch.cuda, name, touched)
    for name in ("is_available", "device_count", "current_device_index"):
        setattr(torch.accelerator, name, touched)
    for module in {PRELOAD}:
        importlib.import_module(module)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "draw",
    [
        "import torch; torch.rand(4).tolist()",
        "import numpy; numpy.random.rand(4).tolist()",
        "import random; random.random()",
    ],
)
def test_each_kernel_has_random_numbers_of_its_own(draw):
    found = set()
    for _ in range(2):
        with warm_kernel() as kernel:
            found.add(printed(kernel.run(draw)))
    assert len(found) == 2


def test_workers_of_a_data_loader_run(kernel):
    code = """
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    len(list(DataLoader(TensorDataset(torch.arange(8.)), batch_size=2, num_workers=2)))
    """
    assert printed(kernel.run(textwrap.dedent(code), timeout=PATIENCE)) == "4"


def test_an_interrupt_reaches_a_warm_kernel(kernel):
    code = "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('stopped')"
    with pytest.raises(Exception, match="was interrupted") as caught:
        kernel.run(code, timeout=2)
    assert caught.value.outputs[0].text == "stopped\n"


def test_a_kernel_takes_little_memory_of_its_own(kernel):
    code = "print(open('/proc/self/smaps_rollup').read())"
    lines = printed(kernel.run(code)).splitlines()
    private = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
    assert sum(private) < 50_000


def test_the_kernels_end_with_their_warm_process():
    with WarmProcess() as warm_process, start_kernel(warm_process=warm_process) as kernel:
        pid = int(printed(kernel.run("import os; os.getpid()")))
        warm_process.close()
        wait_for_the_end_of([pid])


def test_everything_ends_with_the_process_that_started_it(tmp_path):
    code = """
    import os, signal
    from d2lcompute.notebooks.kernel import start_kernel
    from d2lcompute.notebooks.warm import WarmProcess
    warm_process = WarmProcess()
    kernel = start_kernel(warm_process=warm_process)
    print(kernel.run("import os; print(os.getppid(), os.getpid())").outputs[0].text, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "TMPDIR": str(tmp_path)},  # where a killed process leaves its files
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    wait_for_the_end_of([int(pid) for pid in done.stdout.split()])


def test_what_cannot_be_imported_is_told_and_the_kernel_is_cold():
    with (
        WarmProcess(preload=("no_such_module",)) as warm_process,
        start_kernel(warm_process=warm_process) as kernel,
    ):
        assert "no_such_module" in kernel.why_cold
        assert printed(kernel.run("6 * 7")) == "42"


@pytest.mark.parametrize(
    "module",
    [
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()",
        "import torch\ntorch.ones(1500, 1500) @ torch.ones(1500, 1500)",
    ],
)
def test_an_import_that_leaves_threads_running_is_refused(tmp_path, module):
    if "torch" in module and torch.get_num_threads() == 1:
        pytest.skip("torch computes with one thread here")
    (tmp_path / "busy.py").write_text(module)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    warming_up = WarmProcess(preload=("busy",), environment=environment)
    with warming_up as warm_process, start_kernel(warm_process=warm_process) as kernel:
        assert re.search(r"importing busy leaves \d+ threads running", kernel.why_cold)


def test_a_warm_process_that_was_killed_is_told_and_the_kernel_is_cold():
    with WarmProcess(preload=("json",)) as warm_process:
        warm_process._process.kill()
        with start_kernel(warm_process=warm_process) as kernel:
            assert "the warm process" in kernel.why_cold
            assert printed(kernel.run("6 * 7")) == "42"


def test_a_kernel_that_could_not_be_asked_for_starts_cold(monkeypatch):
    send, sent = warm.socket.send_fds, []

    def fail_once(*arguments):
        sent.append(arguments)
        if len(sent) == 1:
            raise OSError("too many are on their way")
        return send(*arguments)

    monkeypatch.setattr(warm.socket, "send_fds", fail_once)
    with WarmProcess(("torch",), clean_environment()) as process:
        boxed = start_kernel(isolation_on("namespaces"), process)
        with boxed as kernel:
            assert "too many are on their way" in kernel.why_cold
            assert printed(kernel.run("1 + 1")) == "2"


def test_a_variable_that_was_read_already_is_no_longer_ours_to_set():
    wanted = {**shared_warm_process().environment, "OMP_NUM_THREADS": "7"}
    with pytest.raises(NotWarmError, match="another OMP_NUM_THREADS"):
        shared_warm_process().fork({"environment": wanted}, None)


def test_without_linux_there_is_no_warm_process(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(NotWarmError, match="on Linux only, this is darwin"):
        WarmProcess()


def test_a_forked_process_is_like_a_popen():
    sleeper = subprocess.Popen(["sleep", "1000"])
    process = ForkedProcess(sleeper.pid, os.pidfd_open(sleeper.pid))
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    process.kill()  # has ended: touches nobody
    assert sleeper.wait() == -signal.SIGTERM


@pytest.mark.parametrize("more", [True, False])
def test_what_can_wait_is_imported_only_if_more_kernels_come(tmp_path, monkeypatch, more):
    asked, imported = tmp_path / "asked", tmp_path / "imported"
    wait = f"import os, time\nwhile not os.path.exists({str(asked)!r}): time.sleep(0.01)"
    (tmp_path / "one_that_waits.py").write_text(wait)
    (tmp_path / "one_that_can_wait.py").write_text(f"open({str(imported)!r}, 'w').close()")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with WarmProcess(("one_that_waits", "one_that_can_wait"), environment) as warm_process:
        warm_process.more = more
        receive = warm_process._receive
        monkeypatch.setattr(warm_process, "_receive", lambda: (asked.touch(), receive())[1])
        for _ in range(2):
            with start_kernel(warm_process=warm_process) as kernel:
                assert kernel.why_cold is None
        if more:
            wait_until(imported.exists, "the second import")
        assert imported.exists() == more
