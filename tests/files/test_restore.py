import copy
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter, is_lazy
from torch.nn.utils import parametrizations
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute import initializers as init


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def same(left, right):
    assert_close(left, right, rtol=0, atol=0)


PAIRS = {
    "linear": (lambda: nn.LazyLinear(4), lambda: nn.Linear(7, 4)),
    "wide": (
        lambda: nn.LazyConvTranspose1d(1, 1, bias=False),
        lambda: nn.ConvTranspose1d(70_000, 1, 1, bias=False),
    ),
    "square": (lambda: nn.LazyLinear(4), lambda: nn.Linear(4, 4)),
    "no bias": (lambda: nn.LazyLinear(4, bias=False), lambda: nn.Linear(7, 4, bias=False)),
    "conv1d": (lambda: nn.LazyConv1d(4, 3), lambda: nn.Conv1d(5, 4, 3)),
    "conv2d": (
        lambda: nn.LazyConv2d(4, (3, 5), groups=2, bias=False),
        lambda: nn.Conv2d(6, 4, (3, 5), groups=2, bias=False),
    ),
    "conv3d": (lambda: nn.LazyConv3d(4, 2), lambda: nn.Conv3d(5, 4, 2)),
    "depthwise": (lambda: nn.LazyConv2d(6, 3, groups=6), lambda: nn.Conv2d(6, 6, 3, groups=6)),
    "transposed": (
        lambda: nn.LazyConvTranspose2d(4, 3, groups=2),
        lambda: nn.ConvTranspose2d(6, 4, 3, groups=2),
    ),
    "transposed1d": (lambda: nn.LazyConvTranspose1d(4, 3), lambda: nn.ConvTranspose1d(6, 4, 3)),
    "transposed3d": (lambda: nn.LazyConvTranspose3d(4, 3), lambda: nn.ConvTranspose3d(6, 4, 3)),
    "norm1d": (lambda: nn.LazyBatchNorm1d(), lambda: nn.BatchNorm1d(9)),
    "norm2d": (lambda: nn.LazyBatchNorm2d(affine=False), lambda: nn.BatchNorm2d(9, affine=False)),
    "norm3d": (
        lambda: nn.LazyBatchNorm3d(track_running_stats=False),
        lambda: nn.BatchNorm3d(9, track_running_stats=False),
    ),
    "instance": (
        lambda: nn.LazyInstanceNorm1d(affine=True, track_running_stats=True),
        lambda: nn.InstanceNorm1d(9, affine=True, track_running_stats=True),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_lazy_layer_is_complete_after_loading(path, name):
    build, sized = PAIRS[name]
    layer, eager = build(), sized()
    d2c.save_parameters(eager, path)
    state = torch.get_rng_state()
    d2c.load_parameters(layer, path)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(layer) is type(eager)
    assert repr(layer) == repr(eager)
    same(dict(layer.state_dict()), dict(eager.state_dict()))
    assert all(p.requires_grad for p in layer.parameters())
    assert not layer._forward_pre_hooks
    copy.deepcopy(layer)


@pytest.mark.parametrize(
    ("lazy", "sized"),
    [
        (nn.LazyLinear(4), nn.Linear(3, 5)),
        (nn.LazyConv2d(4, 3), nn.Conv2d(3, 4, 5)),
        (nn.LazyConv2d(4, 3), nn.Conv1d(3, 4, 3)),
        (nn.LazyConv2d(4, 3, bias=False), nn.Conv2d(3, 5, 3, bias=False)),
    ],
    ids=str,
)
def test_a_lazy_layer_refuses_what_it_never_becomes(path, lazy, sized):
    d2c.save_parameters(sized, path)
    with unchanged(lazy), pytest.raises(d2c.FileError, match="other shape"):
        d2c.load_parameters(lazy, path)


def test_shapes_that_do_not_go_together_are_refused(path):
    data = {**nn.BatchNorm1d(3).state_dict(), "running_var": torch.ones(4)}
    d2c.save(path, dict(data))
    net = nn.LazyBatchNorm1d()
    with unchanged(net), pytest.raises(d2c.FileError, match="shapes that agree"):
        d2c.load_parameters(net, path)
    d2c.save(path, {"weight": torch.ones(4, 3)})
    net = nn.LazyLinear(4)
    with unchanged(net), pytest.raises(d2c.FileError, match="needs all that it has"):
        d2c.load_parameters(net, path, allow_missing=True)


def test_what_was_loaded_is_not_initialized_later(path, capsys):
    class Loud(init.Initializer):
        def _init_weight(self, name, data):
            print("Init", name)
            data.fill_(42)

    d2c.save_parameters(d2c.mlp(3, 2, in_units=4), path)
    net = d2c.mlp(3, 2)
    d2c.initialize(net, Loud(), verbose=True)
    d2c.load_parameters(net, path)
    loaded = copy.deepcopy(net.state_dict())
    net(torch.rand(2, 4))
    same(dict(net.state_dict()), dict(loaded))
    assert capsys.readouterr().out == ""


def test_what_was_loaded_counts_as_initialized(path):
    d2c.save_parameters(d2c.mlp(3, 2, in_units=4), path)
    for net in (d2c.mlp(3, 2), d2c.mlp(3, 2, in_units=4)):
        d2c.load_parameters(net, path)
        loaded = copy.deepcopy(net.state_dict())
        with pytest.warns(UserWarning, match="force_reinit"):
            d2c.initialize(net, init.One())
        same(dict(net.state_dict()), dict(loaded))


def test_what_the_file_lacks_is_still_initialized(path):
    d2c.save(path, {"0.weight": torch.ones(3, 4), "0.bias": torch.ones(3)})
    net = d2c.mlp(3, 2)
    d2c.initialize(net, init.Constant(7))
    d2c.load_parameters(net, path, allow_missing=True)
    net(torch.rand(2, 4))
    same(net[0].weight.detach(), torch.ones(3, 4))
    same(net[2].weight.detach(), torch.full((2, 3), 7.0))


def chain(*layers):
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (nn.LazyLinear, nn.LazyLinear),
        (lambda n: nn.Linear(n, n), nn.LazyLinear),
        (nn.LazyLinear, lambda n: nn.Linear(n, n)),
    ],
    ids=["both lazy", "second lazy", "first lazy"],
)
@pytest.mark.parametrize("names", [("0", "1"), ("0.weight", "1.weight")], ids=str)
def test_tied_layers_are_completed_whichever_is_lazy(path, first, second, names):
    net = chain(nn.Linear(4, 4), nn.Linear(4, 4))
    d2c.tie(net, *names)
    d2c.save_parameters(net, path)
    twin = chain(first(4), second(4))
    d2c.tie(twin, *(names if isinstance(twin[1], nn.LazyLinear) else names[::-1]))
    d2c.load_parameters(twin, path)
    assert repr(twin) == repr(net)
    assert d2c.tied_groups(twin) == d2c.tied_groups(net)
    X = torch.rand(2, 4)
    same(twin(X), net(X))
    twin(X).sum().backward()
    assert len(list(twin.parameters())) == len(list(net.parameters()))


@pytest.mark.parametrize("name", PAIRS)
def test_a_lazy_layer_that_torch_left_incomplete_is_completed(path, name):
    build, sized = PAIRS[name]
    layer, eager = build(), sized()
    layer.load_state_dict(sized().state_dict())
    assert type(layer) is not type(eager)
    d2c.save_parameters(eager, path)
    d2c.load_parameters(layer, path)
    assert repr(layer) == repr(eager)
    same(dict(layer.state_dict()), dict(eager.state_dict()))


def test_every_lazy_layer_of_torch_is_among_these():
    lazy = {getattr(nn, name) for name in dir(nn) if name.startswith("Lazy")}
    assert {type(build()) for build, _ in PAIRS.values()} | {
        nn.LazyInstanceNorm2d, nn.LazyInstanceNorm3d
    } == lazy  # fmt: skip


class Doubling(nn.LazyLinear):
    """A lazy layer that learns in its own way: its weight is as wide as two inputs."""

    cls_to_become = None

    def initialize_parameters(self, X):
        if self.has_uninitialized_params():
            self.weight.materialize((self.out_features, 2 * X.shape[-1]))
            self.bias.materialize((self.out_features,))

    def forward(self, X):
        return nn.functional.linear(torch.cat([X, X], -1), self.weight, self.bias)


def test_a_subclass_that_learns_in_its_own_way_gets_its_values_and_no_wrong_size(path):
    d2c.save_parameters(nn.Linear(6, 2), path)
    net = Doubling(2)
    d2c.load_parameters(net, path)
    assert net.in_features == 0
    assert net(torch.rand(4, 3)).shape == (4, 2)


class LazyPair(LazyModuleMixin, nn.Module):
    """A lazy layer of another library: two inputs, whose sizes no single guess explains."""

    cls_to_become = None

    def __init__(self):
        super().__init__()
        self.weight = UninitializedParameter()

    def initialize_parameters(self, left, right):
        if self.has_uninitialized_params():
            self.weight.materialize((left.shape[-1], right.shape[-1]))
            nn.init.ones_(self.weight)

    def forward(self, left, right):
        return left @ self.weight @ right.T


def test_a_lazy_layer_of_another_library_completes_itself(path):
    d2c.save(path, {"weight": torch.rand(3, 5)})
    net = LazyPair()
    d2c.load_parameters(net, path)
    assert not is_lazy(net.weight)
    net(torch.rand(2, 3), torch.rand(2, 5))
    same(net.weight.detach(), d2c.load(path)["weight"])


def test_a_lazy_parameter_outside_of_a_lazy_layer_is_filled(path):
    net = nn.Module()
    net.weight = UninitializedParameter()
    d2c.save(path, {"weight": torch.rand(3)})
    d2c.load_parameters(net, path)
    same(net.weight.detach(), d2c.load(path)["weight"])


# all or nothing


def test_loading_writes_in_place_so_that_autograd_and_views_notice(path):
    net = nn.Linear(3, 1)
    d2c.save_parameters(net, path)
    places = [p.data_ptr() for p in net.parameters()]
    loss = net(torch.rand(2, 3, requires_grad=True)).sum()
    d2c.load_parameters(net, path)
    assert [p.data_ptr() for p in net.parameters()] == places
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_frozen_parameters_stay_frozen_and_modes_stay(path):
    net = nn.Sequential(nn.Linear(3, 3), nn.LazyLinear(2, bias=False)).eval()
    net[0].requires_grad_(False)
    net[1].weight = UninitializedParameter(requires_grad=False)
    d2c.save_parameters(nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2, bias=False)), path)
    d2c.load_parameters(net, path)
    assert not any(p.requires_grad for p in net.parameters())
    assert not any(module.training for module in net.modules())


def test_ctrl_c_while_values_are_written_leaves_no_half_and_is_heard_afterwards(path, monkeypatch):
    def build():
        return nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2), nn.LazyBatchNorm1d())

    net, full = build(), build()
    full(torch.rand(3, 2))
    d2c.save_parameters(full, path)
    write = torch._foreach_copy_

    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGINT)
        write(*args)

    # What runs in the background of a shell ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(torch, "_foreach_copy_", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            d2c.load_parameters(net, path)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    same(dict(net.state_dict()), dict(full.state_dict()))
    assert d2c.pending(net) == []


def test_a_handler_of_the_users_own_gets_the_ctrl_c(path, monkeypatch):
    net, heard = nn.Linear(2, 2), []
    d2c.save_parameters(net, path)
    write = torch._foreach_copy_
    monkeypatch.setattr(
        torch, "_foreach_copy_", lambda *a: (os.kill(os.getpid(), signal.SIGINT), write(*a))
    )
    before = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        d2c.load_parameters(net, path)
        assert heard == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_load_in_a_thread_works_as_elsewhere(path):
    net, twin = nn.Linear(2, 2), nn.LazyLinear(2)
    d2c.save_parameters(net, path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(d2c.load_parameters, twin, path).result()
    same(dict(twin.state_dict()), dict(net.state_dict()))


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, RuntimeError])
def test_whatever_fails_before_the_first_value_is_written_leaves_the_net_as_it_was(
    path, monkeypatch, error
):
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2), nn.LazyBatchNorm1d(), d2c.dense(2))
    d2c.initialize(net, init.Constant(3))
    d2c.tie(net, "1", "3")
    full = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    d2c.tie(full, "1", "3")
    d2c.save_parameters(full, path)

    def fail(*args):
        raise error("not today")

    monkeypatch.setattr(torch, "_foreach_copy_", fail)
    with unchanged(net), pytest.raises(error, match="not today"):
        d2c.load_parameters(net, path)
    monkeypatch.undo()
    net(torch.rand(3, 2))
    same(net[1].weight.detach(), torch.full((2, 2), 3.0))


class Moody(nn.Module):
    """Load its second tensor only in a good mood."""

    def __init__(self, mood="good"):
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.second = nn.Linear(2, 2)
        self.third = nn.LazyLinear(2)
        self.second.register_load_state_dict_pre_hook(self.hook)
        self.mood = mood

    def hook(self, module, state_dict, prefix, *rest):
        if self.mood == "bad":
            raise RuntimeError("not today")
        if self.mood == "forgetful":
            state_dict[f"{prefix}memory"] = state_dict.pop(f"{prefix}bias")


@pytest.mark.parametrize(
    ("mood", "error", "message"),
    [
        ("bad", RuntimeError, "not today"),
        ("forgetful", ValueError, r"asks for others: second.bias, second.memory"),
    ],
)
def test_a_net_whose_own_loading_fails_is_left_as_it_was(path, mood, error, message):
    net = Moody()
    net.third = nn.Linear(2, 2)
    d2c.save_parameters(net, path)
    net = Moody(mood)
    before = copy.deepcopy(dict(net.first.state_dict()))
    with pytest.raises(error, match=message):
        d2c.load_parameters(net, path)
    same(dict(net.first.state_dict()), before)
    assert is_lazy(net.third.weight)


class Greedy(nn.Module):
    """Write into other layers, attributes and gradients while it is loaded, and then fail."""

    def __init__(self, error):
        super().__init__()
        self.first, self.second, self.error = nn.Linear(2, 2), nn.BatchNorm1d(2), error
        self.seen = []
        self.second.register_load_state_dict_pre_hook(self.hook)

    def hook(self, *args):
        if self.error:
            with torch.no_grad():
                self.second.running_mean.fill_(7)
            self.seen.append(1)
            self.first.weight = nn.Parameter(torch.ones(2, 2))
            self.first.bias.data = torch.ones(2)
            self.second.note = "was here"
            self.eval()
            raise self.error("not today")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_all_that_a_nets_own_code_did_before_it_failed_is_undone(path, error):
    d2c.save_parameters(Greedy(None), path)
    net = Greedy(error)
    state, held = copy.deepcopy(dict(net.state_dict())), list(map(id, net.parameters()))
    attributes = [sorted(vars(module)) for module in net.modules()]
    with pytest.raises(error, match="not today"):
        d2c.load_parameters(net, path)
    same(dict(net.state_dict()), state)
    assert list(map(id, net.parameters())) == held
    assert [sorted(vars(module)) for module in net.modules()] == attributes
    assert net.training
    assert net.seen == []


class Renaming(nn.Linear):
    """Save under other names than the attributes', and know them again when loading."""

    def __init__(self):
        super().__init__(2, 3)
        self.register_state_dict_post_hook(self.outward)
        self.register_load_state_dict_pre_hook(self.inward)

    @staticmethod
    def outward(module, state_dict, prefix, metadata):
        state_dict[f"{prefix}kernel"] = state_dict.pop(f"{prefix}weight")

    @staticmethod
    def inward(module, state_dict, prefix, *rest):
        state_dict[f"{prefix}weight"] = state_dict.pop(f"{prefix}kernel")


def test_a_net_with_names_of_its_own_saves_and_loads(path):
    net, twin = nn.Sequential(Renaming()), nn.Sequential(Renaming())
    d2c.save_parameters(net, path)
    assert set(d2c.load(path)) == {"0.kernel", "0.bias"}
    d2c.load_parameters(twin, path)
    same(twin[0].weight.detach(), net[0].weight.detach())


@pytest.mark.parametrize(
    "build",
    [
        lambda: parametrizations.weight_norm(nn.Linear(3, 4)),
        lambda: parametrizations.spectral_norm(nn.Linear(3, 4)),
        lambda: parametrizations.orthogonal(nn.Linear(3, 3)),
        lambda: nn.LSTM(3, 4, num_layers=2, bidirectional=True),
        lambda: nn.MultiheadAttention(4, 2),
        lambda: nn.ParameterDict({"a": nn.Parameter(torch.rand(2))}),
        lambda: nn.EmbeddingBag(5, 2),
        lambda: nn.Sequential(),
    ],
)
def test_nets_with_unusual_state_come_back(path, build):
    net, twin = build(), build()
    d2c.save_parameters(net, path)
    assert d2c.load_parameters(twin, path).misfits == ()
    same(dict(twin.state_dict()), dict(net.state_dict()))


def test_a_move_that_fails_leaves_the_net_where_it_was(path, monkeypatch):
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.LazyLinear(2))
    d2c.save_parameters(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)), path)

    def run_out_of_memory(self, *args):
        self[0].double()
        self[1].double()
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(nn.Sequential, "to", run_out_of_memory)
    with unchanged(net), pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        d2c.load_parameters(net, path, device="cpu")


def test_an_unknown_device_is_an_error_before_anything_changes(path):
    net = nn.Linear(2, 2)
    d2c.save_parameters(net, path)
    with unchanged(net), pytest.raises(ValueError, match="`device` must be a device or its name"):
        d2c.load_parameters(net, path, device="nonsense")


def test_a_tensor_that_torch_cannot_write_stops_the_others_too(path):
    net = nn.Module()
    net.layer = nn.Linear(2, 2)
    net.register_buffer("same", torch.zeros(1).expand(3))
    values = {"layer.weight": torch.ones(2, 2), "layer.bias": torch.ones(2), "same": torch.ones(3)}
    d2c.save(path, values)
    before = copy.deepcopy(net.layer.state_dict())
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        d2c.load_parameters(net, path)
    same(dict(net.layer.state_dict()), dict(before))


def test_no_values_are_lost_on_the_meta_device(path):
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2))
    d2c.save_parameters(d2c.mlp(2, 2, in_units=2), path)
    rename = {"2.weight": "1.weight", "2.bias": "1.bias"}
    with unchanged(net), pytest.raises(ValueError, match=r"got 0\.weight, .* on the meta device"):
        d2c.load_parameters(net, path, rename=rename, device="meta")


def test_a_net_that_is_spread_over_processes_is_refused(path):
    distributed = pytest.importorskip("torch.distributed.tensor")
    mesh_of = torch.distributed.device_mesh.init_device_mesh
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=store)
    try:
        net = nn.Linear(2, 2)
        d2c.save_parameters(net, path)
        whole = distributed.distribute_tensor(net.weight.detach(), mesh_of("cpu", (1,)))
        net.weight = nn.Parameter(whole)
        with pytest.raises(ValueError, match="got weight spread over processes; do load before"):
            d2c.load_parameters(net, path)
        with pytest.raises(d2c.FileError, match=r"got DTensor ones \(weight\)"):
            d2c.save_parameters(net, path)
    finally:
        torch.distributed.destroy_process_group()
