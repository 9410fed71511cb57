import sys

import pytest
from boxes import isolation_on, shared_warm_process
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from waiting import PATIENCE

from d2lcompute.notebooks.isolation import Limits
from d2lcompute.notebooks.provisioner import KernelProvisioner

COMMAND = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]


@pytest.fixture
def manager(tmp_path):
    manager = KernelManager(transport="ipc", ip=str(tmp_path / "kernel"))
    manager._kernel_spec = KernelSpec(argv=COMMAND, interrupt_mode="message")
    manager.provisioner = KernelProvisioner(
        kernel_id="test", kernel_spec=manager.kernel_spec, parent=manager
    )
    manager.provisioner.warm_process = shared_warm_process()
    yield manager
    if manager.has_kernel:
        manager.shutdown_kernel(now=True)
    manager.context.destroy(linger=0)


def start(manager):
    manager.start_kernel(env=shared_warm_process().environment)


def value_of(manager, code):
    values = []

    def keep(message):
        if message["msg_type"] == "execute_result":
            values.append(message["content"]["data"]["text/plain"])

    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=PATIENCE)
    client.execute_interactive(code, output_hook=keep, timeout=PATIENCE)
    client.stop_channels()
    return values[0]


def test_any_manager_gets_warm_kernels(manager):
    start(manager)
    assert manager.provisioner.why_cold is None
    assert value_of(manager, "import sys; 'torch' in sys.modules") == "True"


def test_a_warm_kernel_can_be_restarted(manager):
    start(manager)
    first = value_of(manager, "import os; x = os.getpid(); x")
    manager.restart_kernel(now=True)
    assert manager.provisioner.why_cold is None
    assert value_of(manager, "import os; os.getpid()") != first
    assert value_of(manager, "'x' in globals()") == "False"


@pytest.mark.parametrize("now", [True, False])
def test_a_warm_kernel_ends_when_told_to(manager, now):
    start(manager)
    process = manager.provisioner.process
    manager.shutdown_kernel(now=now)
    assert process.poll() == 0


def test_a_manager_can_have_its_kernel_boxed(manager):
    manager.provisioner.box = isolation_on("namespaces").box(Limits())
    start(manager)
    assert value_of(manager, "import os; os.getcwd(), os.getpid()") == "('/tmp', 2)"


def test_the_kernel_of_another_language_is_not_forked(manager):
    arguments = {"env": shared_warm_process().environment}
    manager.provisioner.connection_info = {"key": b""}
    request = manager.provisioner._request(["julia", "kernel.jl"], arguments)
    assert manager.provisioner._fork(["julia", "kernel.jl"], request, None) is None
    assert manager.provisioner.why_cold == "the kernel is not this Python's"
