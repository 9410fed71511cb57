"""Layers, parameters and buffers that `forward` makes, and those that it gives a shape."""

import gc

import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

import d2lcompute as d2c

X = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A layer, and in `forward` whatever else."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)


class OnFirstCall(Net):
    """Make a layer, a parameter, a buffer and a block in the first call."""

    def forward(self, X):
        X = self.a(X).relu()
        if not hasattr(self, "fc"):
            self.fc = nn.Linear(X.shape[1], 2)
            self.w = nn.Parameter(torch.randn(2, 2) * 0.1)
            self.register_buffer("b", torch.zeros(2))
            self.act = nn.ReLU()
        return self.act(self.fc(X) @ self.w + self.b)


class Nested(Net):
    """Make a block with lazy layers in it."""

    def forward(self, X):
        if not hasattr(self, "head"):
            self.head = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 2))
        return self.head(self.a(X))


class Growing(Net):
    """Fill lists of layers and of parameters."""

    def __init__(self):
        super().__init__()
        self.layers, self.scales = nn.ModuleList(), nn.ParameterList()

    def forward(self, X):
        for index in range(3):
            if len(self.layers) <= index:
                self.layers.append(nn.Linear(4, 4, bias=False))
                self.scales.append(nn.Parameter(torch.ones(4)))
            X = self.layers[index](X) * self.scales[index]
        return self.a(X)


class Inner(Net):
    """Hold a net that makes its layers itself."""

    def __init__(self):
        super().__init__()
        self.inner = OnFirstCall()

    def forward(self, X):
        return self.a(X), self.inner(X)


class Replaced(Net):
    """Make the same layer again in each call."""

    def forward(self, X):
        self.a = nn.Linear(4, 8)
        return self.a(X)


MADE = {
    OnFirstCall: ("fc", "w", "b", "act"),
    Nested: ("head",),
    Growing: ("layers.0", "scales.0", "layers.1", "scales.1", "layers.2", "scales.2"),
    Inner: ("inner.fc", "inner.w", "inner.b", "inner.act"),
    Replaced: (),
}


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("given", [X, tuple(X.shape)], ids=["values", "shapes"])
def test_what_forward_makes_has_its_name_and_its_parameters(kind, given):
    net = kind()
    with unchanged(net):
        first = d2c.trace(net, given)
    net(X)
    later = d2c.trace(net, given)
    seen = [
        [(c.name, c.label, c.inputs, c.outputs, c.parameters, c.parameter_count) for c in report]
        for report in (first, later)
    ]
    assert seen[0] == seen[1]
    assert first.calls[0].parameter_count == sum(p.numel() for p in net.parameters())
    assert (first.unused, first.peak, first.kept) == (later.unused, later.peak, later.kept)
    assert (first.registered, later.registered) == (MADE[kind], ())


@pytest.mark.parametrize("kind", MADE)
def test_every_look_leaves_the_net_without_it_and_says_so(kind):
    net = kind()
    names = ", ".join(MADE[kind])
    with unchanged(net):
        for look in (d2c.trace, d2c.draw, d2c.diagnose, d2c.infer_shapes, d2c.materialize):
            look(net, X)
        said = f"made in forward, and gone from the net again: {names}"
        for look in (d2c.trace, d2c.draw, d2c.infer_shapes) if names else ():
            assert said in repr(look(net, X))


def test_a_lazy_net_is_sized_and_does_not_keep_what_forward_makes():
    net = nn.Sequential(nn.LazyLinear(4), OnFirstCall())
    report = d2c.materialize(net, X)
    assert [row.name for row in report.rows] == ["0.weight", "0.bias"]
    assert report.registered == ("1.fc", "1.w", "1.b", "1.act")
    assert set(dict(net[1].named_parameters())) == {"a.weight", "a.bias"}


def test_a_layer_that_each_call_makes_and_forgets_is_a_stranger_without_steps_of_its_making():
    class Forgetful(Net):
        def forward(self, X):
            return nn.Linear(8, 2)(self.a(X))

    report = d2c.trace(Forgetful(), X)
    assert [call.label for call in report] == ["Forgetful", "a", "?1"]
    assert "not registered" in repr(report)
    assert report.calls[0].parameter_count == 40


def test_what_forward_makes_of_the_data_stays_in_the_flow():
    class Stateful(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("state", torch.zeros(3, 8))

        def forward(self, X):
            self.state = self.a(X) + self.state
            if not hasattr(self, "mean"):
                self.register_buffer("mean", self.state.mean(0))
            return self.state - self.mean

    report = d2c.trace(Stateful(), X)
    assert [call.label for call in report] == ["Stateful", "a", "+", "mean", "-"]
    assert [call.sources for call in report][1:] == [(0,), (1, None), (2,), (2, 3)]
    assert report.registered == ("mean",)


def test_nothing_looks_at_registrations_after_a_pass():
    d2c.trace(OnFirstCall(), X)
    gc.collect()
    modules = nn.modules.module
    assert not modules._global_parameter_registration_hooks
    assert not modules._global_module_registration_hooks
    assert not modules._global_buffer_registration_hooks


# ------------------------------------------------------------- lazy layers as other libraries have


class Hooked(nn.Module):
    """A layer whose size -1 is learned in a hook of its own."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.bias = nn.Parameter(torch.zeros(outputs))
        if inputs > 0:
            self.weight = nn.Parameter(torch.empty(outputs, inputs))
            self.reset_parameters()
        else:
            self.weight = UninitializedParameter()
            self._hook = self.register_forward_pre_hook(self.learn)

    def reset_parameters(self):
        nn.init.kaiming_uniform_(self.weight)
        self.bias.data.uniform_(-0.1, 0.1)

    @torch.no_grad()
    def learn(self, module, inputs):
        if isinstance(self.weight, UninitializedParameter):
            self.inputs = inputs[0].shape[-1]
            self.weight.materialize((self.outputs, self.inputs))
            self.reset_parameters()
        self._hook.remove()
        del self._hook

    def forward(self, X):
        return F.linear(X, self.weight, self.bias)


class InForward(nn.Module):
    """A layer that learns its size, and takes its first values, while it computes."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.weight = UninitializedParameter()

    def forward(self, X):
        if isinstance(self.weight, UninitializedParameter):
            with torch.no_grad():
                self.weight.materialize((X.shape[-1], self.outputs))
                nn.init.normal_(self.weight)
        return X @ self.weight


class Mixed(nn.modules.lazy.LazyModuleMixin, nn.Module):
    """A layer of torch's own protocol that stays of its class."""

    cls_to_become = None

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs
        self.weight = UninitializedParameter()

    def initialize_parameters(self, X):
        if self.has_uninitialized_params():
            with torch.no_grad():
                self.weight.materialize((X.shape[-1], self.outputs))
                nn.init.normal_(self.weight)

    def forward(self, X):
        return X @ self.weight


FOREIGN = {
    "hooked": lambda: nn.Sequential(Hooked(-1, 3), nn.ReLU(), Hooked(-1, 2)),
    "in forward": lambda: nn.Sequential(InForward(3), nn.ReLU(), InForward(2)),
    "mixed": lambda: nn.Sequential(Mixed(3), nn.ReLU(), Mixed(2)),
}
foreign = pytest.mark.parametrize("build", FOREIGN.values(), ids=FOREIGN)


@foreign
def test_a_lazy_layer_of_another_library_is_looked_at_like_a_sized_one(build):
    lazy, sized = build(), build()
    sized(X)
    with unchanged(lazy):
        for given in (X, tuple(X.shape)):
            one, other = d2c.trace(lazy, given), d2c.trace(sized, given)
            assert [c.label for c in one] == [c.label for c in other]
            assert [c.parameters for c in one] == [c.parameters for c in other]
            assert (one.peak, one.kept, one.unused) == (other.peak, other.kept, ())
            assert "again" not in repr(one)
            assert one.calls[0].parameter_count == sum(p.numel() for p in sized.parameters())
        learned = {row.name: row.shape for row in d2c.infer_shapes(lazy, (3, 4)).rows}
        assert d2c.diagnose(lazy, X).findings == ()
    assert learned == {n: tuple(p.shape) for n, p in sized.named_parameters() if "weight" in n}
    assert d2c.pending(lazy) == ["0.weight", "2.weight"]
    states = {row.name: row.state for row in d2c.describe(lazy)}
    assert states["0.weight"] == states["2.weight"] == "lazy"


@foreign
def test_a_lazy_layer_of_another_library_is_sized_as_by_its_first_pass(build):
    nets = []
    for learn in (lambda net: net(X), lambda net: d2c.materialize(net, X)):
        net = build()
        torch.manual_seed(0)
        learn(net)
        nets.append(net)
    torch.testing.assert_close(nets[0].state_dict(), nets[1].state_dict())
    assert d2c.pending(nets[1]) == []
    torch.testing.assert_close(nets[0](X), nets[1](X))


@foreign
@pytest.mark.parametrize("learn", [d2c.materialize, lambda net, X: net(X)])
def test_a_lazy_layer_of_another_library_gets_the_values_that_were_ordered(build, learn, capsys):
    net = build()
    d2c.initialize(net, d2c.initializers.Constant(2.0), verbose=True)
    said = capsys.readouterr().out
    learn(net, X)
    assert all((p == 2).all() for n, p in net.named_parameters() if "weight" in n)
    assert (said + capsys.readouterr().out).count("0.weight") == 1
    with torch.no_grad():
        net[0].weight.fill_(3)
    net(X)
    assert (net[0].weight == 3).all()


@foreign
def test_a_lazy_layer_of_another_library_is_loaded_and_saved(build, tmp_path):
    net, other = build(), build()
    net(X)
    d2c.save_parameters(net, tmp_path / "net")
    assert d2c.load_parameters(other, tmp_path / "net").loaded
    torch.testing.assert_close(other(X), net(X))


@foreign
def test_a_pass_that_fails_takes_back_what_a_lazy_layer_of_another_library_has_learned(build):
    net = nn.Sequential(build(), nn.Linear(5, 2))
    with unchanged(net), pytest.raises(RuntimeError, match=r"'1' \(Linear\) fails on \(3, 2\)"):
        d2c.materialize(net, X)


def test_what_a_dry_run_gives_a_lazy_layer_first_stays_and_what_the_pass_writes_does_not():
    net = nn.Sequential(Hooked(-1, 3), nn.LazyBatchNorm1d())
    net[0].bias.data.fill_(7)
    with d2c.lazy.dry_run(net):
        net(X)
    assert (net[0].bias < 7).all()
    assert (net[1].running_mean == 0).all()
    assert net[1].num_batches_tracked == 0
    before = net[0].bias.clone()
    with d2c.lazy.dry_run(net), torch.no_grad():
        net[0].bias.fill_(5)
    torch.testing.assert_close(net[0].bias, before)
