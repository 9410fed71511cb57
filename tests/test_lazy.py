import pytest
import torch
from fingerprint import fingerprint, unchanged
from hypothesis import given
from hypothesis import strategies as st
from nets import CHAPTER, WELL_KNOWN
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter, is_lazy

import d2lcompute as d2c
from d2lcompute import firstpass
from d2lcompute import initializers as init
from d2lcompute.lazy import dry_run, meta_twin


class Scribbler(nn.Module):
    """Write to whatever a forward pass can reach."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
        self.embedding = nn.Embedding(5, 3, max_norm=0.1)
        self.register_buffer("cache", torch.zeros(2, 3))
        self.total = torch.zeros(())
        self.calls = 0
        self.seen = []

    def forward(self, X):
        self.calls += 1
        self.new = X
        self.seen.append(X.shape)
        self.total += 1
        self.cache[:] = X
        self.cache = self.cache + 1
        self.inner[0].requires_grad_(False)
        self.inner[2].eval()
        self.register_forward_hook(print)
        return self.inner(X + self.embedding(torch.tensor([0, 1]))) + torch.rand(())


def test_dry_run_leaves_no_trace():
    net = Scribbler()
    with unchanged(net), dry_run(net):
        torch.set_grad_enabled(False)
        net(torch.rand(2, 3))
    assert net.calls == 0
    assert net.seen == []
    assert net.total == 0


def test_dry_run_leaves_no_trace_when_the_block_raises():
    net = Scribbler()
    with (
        unchanged(net),
        pytest.raises(RuntimeError, match="must match the existing size"),
        dry_run(net),
    ):
        net(torch.rand(4, 7))


def test_dry_run_keeps_the_gradients_that_were_there():
    net = nn.Linear(3, 1)
    net(torch.ones(1, 3)).sum().backward()
    kept = net.weight.grad
    with unchanged(net), dry_run(net):
        assert net.weight.grad is None
        net(torch.rand(2, 3)).sum().backward()
        assert net.weight.grad is not None
    assert net.weight.grad is kept


def test_dry_run_lends_a_tied_buffer_as_one():
    net = nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm1d(3))
    net[1].running_mean = net[0].running_mean
    with dry_run(net):
        assert net[1].running_mean is net[0].running_mean


def test_a_lazy_layer_learns_its_shape_in_a_dry_run_and_nothing_else():
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())
    with dry_run(net):
        net(torch.rand(2, 3))
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    torch.testing.assert_close(net[1].state_dict(), twin[1].state_dict())
    assert [vars(m).keys() for m in net] == [vars(m).keys() for m in twin]
    assert not net[1]._forward_pre_hooks


@given(plans(lazy=False))
def test_dry_run_leaves_no_trace_on_any_net(plan):
    net = plan.build()
    with unchanged(net), dry_run(net):
        (net(plan.inputs()).sum() + torch.zeros((), requires_grad=True)).backward()


def everything(net):
    names = dict(net.named_parameters(remove_duplicate=False))
    return {**names, **dict(net.named_buffers(remove_duplicate=False))}


@given(plans(aliases=True))
def test_meta_twin_has_the_structure_and_no_data(plan):
    net = plan.build()
    with unchanged(net):
        twin = meta_twin(net)
    ours, theirs = everything(net), everything(twin)
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert tensor.device.type == "meta"
        assert type(tensor) is type(ours[name])
        assert (tensor.dtype, tensor.requires_grad) == (ours[name].dtype, ours[name].requires_grad)
        assert is_lazy(tensor) or tensor.shape == ours[name].shape
    ties = [
        [a is b for b in tensors.values()] for tensors in (ours, theirs) for a in tensors.values()
    ]
    assert ties[: len(ours)] == ties[len(ours) :]
    assert [type(m) for m in net.modules()] == [type(m) for m in twin.modules()]


def test_meta_twin_moves_tensors_in_attributes_too():
    net = nn.Linear(2, 2)
    net.constant = torch.ones(3)
    net.nested = {"a": [torch.ones(1), (net.weight, 7)]}
    net.activation = net(torch.ones(2, 2))
    twin = meta_twin(net)
    assert twin.constant.is_meta
    assert twin.nested["a"][0].is_meta
    assert twin.nested["a"][1] == (twin.weight, 7)
    assert twin.activation.is_meta
    assert net.constant.device.type == net.weight.device.type == "cpu"


def test_meta_twin_shares_no_container_with_the_net():
    net = Scribbler()
    meta_twin(net).seen.append(1)
    assert net.seen == []


def test_meta_twin_of_a_net_too_large_for_any_memory():
    with torch.device("meta"):
        net = nn.Sequential(*[nn.Linear(10**6, 10**6) for _ in range(7)])
    assert sum(p.numel() for p in meta_twin(net).parameters()) > 7e12


def test_meta_twin_of_a_deep_net():
    net = nn.Linear(2, 2)
    for _ in range(500):
        net = nn.Sequential(net)
    assert next(meta_twin(net).parameters()).is_meta


def test_meta_twin_of_recurrent_and_parametrized_layers_runs():
    weight_norm = nn.utils.parametrizations.weight_norm
    net = nn.Sequential(weight_norm(nn.Linear(3, 4)), nn.LSTM(4, 5, 2))
    output, _ = meta_twin(net)(torch.empty(2, 7, 3, device="meta"))
    assert output.shape == (2, 7, 5)


def every_lazy_layer():
    return nn.Sequential(
        nn.LazyConv2d(4, 3),
        nn.LazyBatchNorm2d(),
        nn.Dropout2d(),
        nn.LazyConvTranspose2d(3, 2),
        nn.LazyInstanceNorm2d(affine=True),
        nn.Flatten(),
        nn.LazyLinear(5),
        nn.Dropout(0.3),
        nn.Linear(5, 6),
        nn.LazyBatchNorm1d(),
        nn.LazyLinear(2, bias=False),
        nn.Dropout(),
    )


class SizesItself(nn.Module):
    """A lazy module that knows nothing of torch's mixin."""

    def __init__(self, units):
        super().__init__()
        self.units = units
        self.weight = UninitializedParameter()
        self.offsets = nn.ParameterList([UninitializedParameter()])

    def forward(self, X):
        if is_lazy(self.weight):
            self.weight.materialize((self.units, X.shape[-1]))
            nn.init.ones_(self.weight)
            self.offsets[0].materialize((self.units,))
            nn.init.ones_(self.offsets[0])
        return F.linear(X, self.weight, self.offsets[0])


class LooksAtItsInput(LazyModuleMixin, nn.Linear):
    """A lazy layer from elsewhere, whose first values come from its first input."""

    cls_to_become = nn.Linear

    def __init__(self, units):
        super().__init__(0, 0, bias=False)
        self.units = units
        self.weight = UninitializedParameter()

    def reset_parameters(self):
        pass

    def initialize_parameters(self, X):
        if self.has_uninitialized_params():
            with torch.no_grad():
                self.weight.materialize((self.units, X.shape[-1]))
                self.weight.copy_(X.mean(0).expand(self.units, -1))


class Loops(nn.Module):
    """Control flow that reads values, on the way to a lazy layer."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.LazyLinear(4)
        self.out = nn.LazyLinear(2)

    def forward(self, X):
        X = self.hidden(X)
        while X.norm() > 1:
            X = X / 2
        return self.out(X)


class MixesDevices(nn.Module):
    """What a learner writes: constants made on the way, and none of them on the meta device."""

    def __init__(self):
        super().__init__()
        self.layer = nn.LazyLinear(4)
        self.elsewhere = lambda: torch.ones(4, device="cpu")

    def forward(self, X):
        return self.layer(X + torch.ones(X.shape[-1])) * self.elsewhere()


NETS = {
    "every kind": (every_lazy_layer, (8, 3, 16, 16)),
    "sizes itself": (lambda: nn.Sequential(SizesItself(3), nn.LazyLinear(2)), (8, 700)),
    "looks at its input": (lambda: nn.Sequential(nn.Linear(9, 5), LooksAtItsInput(3)), (800, 9)),
    "loops": (Loops, (800, 9)),
    "mixes devices": (MixesDevices, (800, 9)),
    "mixed with sized": (lambda: nn.Sequential(nn.Linear(9, 5), nn.LazyLinear(3)), (800, 9)),
    "used twice": (lambda: nn.Sequential(*[nn.LazyLinear(9)] * 2, nn.LazyLinear(3)), (800, 9)),
    "draws": (lambda: nn.Sequential(nn.LazyLinear(9), nn.RReLU(), nn.LazyLinear(3)), (800, 9)),
}


def copy_of(make, net):
    """Make a twin with the values of `net`, lazy where it is (deepcopy fails on LazyBatchNorm)."""
    twin = make()
    for name, tensor in everything(net).items():
        if not is_lazy(tensor):
            everything(twin)[name].data.copy_(tensor.data)
    return twin


def values(net):
    """The bits of every tensor by name, but not how often it was written to."""
    return {name: bits[:4] + bits[5:] for name, _, bits, _ in fingerprint(net)["tensors"]}


def structure(net):
    parts = fingerprint(net)
    return {
        "parameters": {name: values(net)[name] for name, _ in net.named_parameters()},
        "modes": [(name, kind, training) for name, kind, training, _ in parts["modes"]],
        "hooks": [[*map(len, hooks.values())] for *_, hooks in parts["modes"]],
        "attributes": parts["attributes"],
    }


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("deferred", [False, True])
def test_materialize_gives_what_a_plain_first_pass_gives(name, deferred):
    make, shape = NETS[name]
    plain = make()
    net = copy_of(make, plain)
    X = torch.randn(shape)
    if deferred:
        for each in (plain, net):
            torch.manual_seed(3)
            d2c.initialize(each, init.Uniform(3))
    torch.manual_seed(7)
    plain(X)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    d2c.materialize(net, X)
    assert torch.equal(torch.get_rng_state(), state)
    assert structure(net) == structure(plain)
    assert d2c.pending(net) == []


@pytest.mark.parametrize("name", ["every kind", "mixed with sized", "used twice"])
def test_a_large_batch_is_not_computed(name, monkeypatch):
    make, shape = NETS[name]
    monkeypatch.setattr(firstpass, "perform", None)
    assert d2c.pending(make()) != []
    d2c.materialize(make(), shape)


@given(plans(), st.sampled_from([3, 2500]))
def test_materialize_gives_any_net_what_a_plain_first_pass_gives(plan, batch):
    plain = plan.build()
    net, X = copy_of(plan.build, plain), plan.inputs(batch)
    torch.manual_seed(7)
    plain(X)
    torch.manual_seed(7)
    before, state = values(net), torch.get_rng_state()
    d2c.materialize(net, X)
    after = values(net)
    assert torch.equal(torch.get_rng_state(), state)
    assert structure(net) == structure(plain)
    assert all(after[name] == bits for name, bits in before.items() if bits[0] != "lazy")
    for name, buffer in net.named_buffers():
        if "running_mean" in name or "num_batches" in name:
            assert not buffer.any()


@given(plans())
def test_infer_shapes_touches_nothing_and_is_right(plan):
    net = plan.build()
    lazy = {n for n, t in everything(net).items() if is_lazy(t)}
    with unchanged(net):
        report = d2c.infer_shapes(net, (5, plan.width))
    plain = plan.build()
    output = plain(torch.randn(5, plan.width))
    assert report.output == (tuple(output.shape),)
    assert report.pending == tuple(d2c.pending(plain))
    for row in report.rows:
        assert row.name in lazy
        assert row.shape == tuple(everything(plain)[row.name].shape)


@pytest.mark.parametrize("name", [*CHAPTER, *WELL_KNOWN])
def test_infer_shapes_knows_the_output_of_well_known_nets(name):
    net, inputs = {**CHAPTER, **WELL_KNOWN}[name]()
    expected = firstpass.perform(net, inputs).output
    if name in ("chimera", "FancyMLP", "FixedHiddenMLP"):
        with pytest.raises(RuntimeError, match="if the net reads values"):
            d2c.infer_shapes(net, *inputs)
    else:
        assert d2c.infer_shapes(net, *inputs).output == expected
