import copy
import io
import pickle
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from waiting import PATIENCE

import d2lcompute as d2c

pytestmark = pytest.mark.usefixtures("practice")


def mlp():
    return nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.1), nn.Linear(36, 10),
    )  # fmt: skip


def losses(make, shape, device, steps=5):
    """The losses of a few steps of training, from the same seed on every device."""
    torch.manual_seed(1)
    X, y = torch.randn(shape), torch.randint(10, (shape[0],))
    net = make()
    net(X)
    net.load_state_dict({k: torch.full_like(v, 0.01) for k, v in net.state_dict().items()})
    net.to(device)
    optimizer = torch.optim.Adam(net.parameters(), foreach=True)
    torch.manual_seed(2)
    found = []
    for _ in range(steps):
        loss = F.cross_entropy(net(X.to(device)), y.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def test_devices_come_in_the_number_that_is_asked_for():
    assert d2c.practice_gpus(3) == [torch.device("practice", i) for i in range(3)]
    assert d2c.num_gpus() == torch.accelerator.device_count() == torch.practice.device_count() == 3
    assert d2c.try_all_gpus() == d2c.practice_gpus(3)
    assert d2c.try_gpu(2) == torch.device("practice:2")
    assert d2c.try_gpu(3) == torch.device("cpu")


def test_none_switches_them_off_and_some_on_again():
    x = torch.ones(2, device="practice:1")
    assert d2c.practice_gpus(0) == []
    assert not torch.accelerator.is_available()
    assert not torch.practice.is_available()
    assert d2c.try_all_gpus() == [d2c.cpu()]
    with pytest.raises(RuntimeError, match=r"no practice:1, as the number of practice devices is"):
        x + 1
    d2c.practice_gpus(2)
    assert (x + 1).tolist() == [2, 2]


def test_a_torch_that_lacks_what_a_device_needs_is_told_so_before_anything_changes():
    code = """
import os, sys, torch, d2lcompute as d2c
real = torch.accelerator.current_accelerator()
for lack in (
    "sys.modules['torch.utils.backend_registration'] = None",
    "del torch._C._construct_storage_from_data_pointer",
    "del torch._C._acc",
):
    if os.fork():
        assert os.wait()[1] == 0
        continue
    exec(lack)
    try:
        d2c.practice_gpus(2)
    except RuntimeError as error:
        print(error)
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
    assert torch.accelerator.current_accelerator() == real and torch.Generator is torch._C.Generator
    break
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert len(told) == 3
    for line in told:
        assert line.startswith("practice_gpus needs a torch in which Python can make a device")
        assert f"got {torch.__version__} (" in line
        assert "; do pip install" in line


def test_the_device_of_another_package_is_not_pushed_aside(monkeypatch):
    monkeypatch.setattr(torch._C, "_get_privateuse1_backend_name", lambda: "npu")
    with pytest.raises(RuntimeError, match="'npu' has it; do practice_gpus"):
        d2c.practice_gpus(2)
    monkeypatch.undo()


def test_the_cells_of_the_section_run():
    X = torch.ones(2, 3, device=d2c.try_gpu())
    Y = torch.rand(2, 3, device=d2c.try_gpu(1))
    assert repr(X) == "tensor([[1., 1., 1.],\n        [1., 1., 1.]], device='practice:0')"
    Z = X.to(d2c.try_gpu(1))
    torch.testing.assert_close((Y + Z).cpu(), Y.cpu() + 1)
    assert Z.to(d2c.try_gpu(1)) is Z
    net = nn.Sequential(nn.LazyLinear(1)).to(device=d2c.try_gpu())
    assert net(X).device == net[0].weight.data.device == X.device


def test_the_error_when_devices_mix_is_torchs():
    X, Z = torch.ones(2, 3, device="practice:0"), torch.ones(2, 3, device="practice:1")
    message = "Expected all tensors to be on the same device, but found at least two devices, "
    with pytest.raises(RuntimeError, match=message + "practice:0 and practice:1!"):
        X + Z
    with pytest.raises(RuntimeError, match="but got mat1 is on cpu, different from other tensors"):
        nn.Linear(3, 1).to("practice:0")(Z.cpu())


def test_numpy_is_refused_in_torchs_words():
    with pytest.raises(TypeError, match="can't convert practice:1 device type tensor to numpy"):
        torch.ones(2, device="practice:1").numpy()
    assert torch.ones(2, device="practice:1").numpy(force=True).tolist() == [1, 1]


@pytest.mark.parametrize(("make", "shape"), [(mlp, (16, 20)), (lenet, (4, 1, 8, 8))])
def test_training_gives_the_losses_of_the_cpu_bit_for_bit(make, shape):
    assert losses(make, shape, "practice:1") == losses(make, shape, "cpu")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lazy_net_learns_its_shapes_on_the_device(moment):
    net = mlp()
    if moment == "before":
        net.to("practice:1")
    else:
        net(torch.ones(2, 20))
        net.to("practice:1")
    assert net(torch.ones(2, 20, device="practice:1")).shape == (2, 10)
    assert {p.device for p in net.parameters()} == {torch.device("practice:1")}
    assert all(type(p) is nn.Parameter for p in net.parameters())


@pytest.mark.parametrize("layer", [nn.LazyLinear, nn.LazyConv1d, nn.LazyBatchNorm1d])
def test_lazy_layers_are_moved_before_they_know_their_shapes(layer):
    sizes = {nn.LazyLinear: (8,), nn.LazyConv1d: (8, 1), nn.LazyBatchNorm1d: ()}[layer]
    net = layer(*sizes).to("practice:0").to("practice:1")
    shape = (3, 5) if layer is nn.LazyLinear else (3, 4, 5)
    assert net(torch.randn(shape, device="practice:1")).device == torch.device("practice:1")
    assert net.weight.device == torch.device("practice:1")


def test_lazy_layers_are_born_on_a_device():
    net = nn.LazyLinear(8, device="practice:1")
    assert net.weight.device == torch.device("practice:1")
    assert net(torch.ones(2, 3, device="practice:1")).shape == (2, 8)


def test_moving_keeps_parameters_ties_and_optimizers():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.to("practice:0").to("practice:1").cpu().to("practice:1")
    assert net[0].weight is net[1].weight is optimizer.param_groups[0]["params"][0]
    net(torch.ones(2, 3, device="practice:1")).sum().backward()
    optimizer.step()
    assert net[0].weight.grad.device == torch.device("practice:1")


def test_a_net_may_be_spread_over_devices():
    first, second = nn.Linear(3, 4).to("practice:0"), nn.Linear(4, 2).to("practice:1")
    second(first(torch.ones(2, 3, device="practice:0")).to("practice:1")).sum().backward()
    assert first.weight.grad.device == torch.device("practice:0")
    assert second.weight.grad.device == torch.device("practice:1")
    norm = nn.utils.clip_grad_norm_([*first.parameters(), *second.parameters()], 0.1)
    assert norm.device == torch.device("practice:0")


@pytest.mark.parametrize("location", [None, "cpu", "practice:0", "practice:1"])
def test_files_load_where_they_are_told_to(location):
    saved = {"weight": torch.randn(3, 2, device="practice:1"), "step": torch.tensor(3)}
    saved["view"] = saved["weight"][1:]
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    loaded = torch.load(file, map_location=location)
    assert loaded["weight"].device == torch.device(location or "practice:1")
    torch.testing.assert_close(loaded["weight"].cpu(), saved["weight"].cpu())
    loaded["view"].zero_()
    assert loaded["weight"][1:].count_nonzero() == 0


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_a_net_share_nothing_with_it(duplicate):
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).to("practice:1")
    net[0].bias.grad = torch.ones(2, device="practice:1")
    clone = duplicate(net)
    for old, new in zip(net.state_dict().values(), clone.state_dict().values(), strict=True):
        assert new.device == old.device
        torch.testing.assert_close(new.cpu(), old.cpu())
        assert new.data_ptr() != old.data_ptr()


def test_our_own_files_and_copies_know_the_devices(tmp_path):
    net = nn.Linear(3, 2).to("practice:1")
    d2c.save_parameters(net, tmp_path / "net")
    other = nn.Linear(3, 2)
    d2c.load_parameters(other, tmp_path / "net")
    torch.testing.assert_close(other.weight, net.weight.cpu())
    d2c.load_parameters(net, tmp_path / "net")
    assert net.weight.device == torch.device("practice:1")
    assert d2c.copyto(net.weight, "practice:1") is not net.weight


def test_other_threads_train_on_any_device():
    import threading

    found = []

    def work():
        net = nn.Linear(3, 2).to("practice:1")
        net(torch.ones(1, 3, device="practice:1")).sum().backward()
        found.append(net.weight.grad.device)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [torch.device("practice:1")]


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_is_refused_with_the_way_out():
    data = torch.utils.data.TensorDataset(torch.ones(4, 1, device="practice:0"))
    loader = torch.utils.data.DataLoader(data, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(RuntimeError, match="Cannot use practice devices in a forked subprocess"):
        next(iter(loader))


@pytest.mark.parametrize("strategy", sorted(mp.get_all_sharing_strategies()))
def test_a_process_that_starts_afresh_gets_no_tensor_of_theirs(strategy):
    """As the workers of a DataLoader do on Windows, macOS and from Python 3.14 on."""
    before = mp.get_sharing_strategy()
    mp.set_sharing_strategy(strategy)
    try:
        with pytest.raises(
            RuntimeError, match="Leave the data of a DataLoader on the CPU, and move"
        ):
            ForkingPickler.dumps(torch.ones(4, device="practice:0"))
        assert ForkingPickler.dumps(torch.ones(4)) is not None
    finally:
        mp.set_sharing_strategy(before)


@pytest.mark.filterwarnings("ignore:The argument 'device' of Tensor")
def test_data_of_the_cpu_loads_in_workers_and_as_pinned():
    data = torch.utils.data.TensorDataset(torch.arange(4.0))
    for options in ({"num_workers": 1}, {"pin_memory": True}):
        batches = [b.to("practice:0") for (b,) in torch.utils.data.DataLoader(data, 2, **options)]
        assert torch.cat(batches).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_net_compiles_without_generated_code(backend):
    net, X = nn.Linear(3, 2).to("practice:1"), torch.ones(2, 3, device="practice:1")
    torch.testing.assert_close(torch.compile(net, backend=backend)(X), net(X))


def test_switched_off_they_leave_torch_as_it_was():
    script = Path(__file__).parents[2] / "helpers" / "practice_off.py"
    subprocess.run([sys.executable, script], check=True, timeout=PATIENCE)


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": "2"}, {"memory": -1}])
def test_a_wrong_argument_changes_nothing(wrong):
    with pytest.raises((TypeError, ValueError), match="must be"):
        d2c.practice_gpus(**wrong)
    assert d2c.num_gpus() == 2
    assert torch.practice.mem_get_info()[1] > 2**20
