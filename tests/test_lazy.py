import threading

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
from d2lcompute import initializers as init
from d2lcompute.lazy import dry_run, meta_twin
from d2lcompute.passes import first_pass as passing


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


def test_meta_twin_keeps_apart_and_together_what_the_net_does():
    net = nn.Linear(2, 2)
    net.one = net.same = []
    net.other, net.back = [], [net]
    twin = meta_twin(net)
    assert twin.one is twin.same is not twin.other
    assert twin.back == [twin]


def test_meta_twin_lets_a_module_say_how_it_is_copied():
    class Counting(nn.Linear):
        def __getstate__(self):
            return {**vars(self), "copies": self.copies + 1}

    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            return self

    net = nn.Sequential(Counting(2, 2), Single(2, 2, device="meta"))
    net[0].copies = 0
    twin = meta_twin(net)
    assert (twin[0].copies, net[0].copies) == (1, 0)
    assert twin[1] is net[1]


def test_meta_twin_shares_what_cannot_be_copied():
    net = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2))
    net.lock, net.generator, net[0].own = threading.Lock(), torch.Generator(), [torch.ones(3)]
    twin = meta_twin(net)
    assert (twin.lock, twin.generator) == (net.lock, net.generator)
    assert twin[0].own[0].is_meta
    assert d2c.infer_shapes(net, (2, 3)).output == ((2, 2),)
    d2c.materialize(net, (2000, 3))
    assert d2c.pending(net) == []


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
        "attributes": [names for names, _ in parts["attributes"]],
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
    monkeypatch.setattr(passing, "perform", None)
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
    expected = passing.perform(net, passing.Inputs(inputs, {})).events[0].outputs
    if name in ("chimera", "FancyMLP", "FixedHiddenMLP"):
        with pytest.raises(RuntimeError, match="if the net reads values"):
            d2c.infer_shapes(net, *inputs)
    else:
        assert d2c.infer_shapes(net, *inputs).output == expected


# What the reports say


def test_the_report_as_text(golden):
    net = nn.Sequential(every_lazy_layer(), nn.ModuleDict({"unused": nn.LazyLinear(3)}))
    net[1].forward = lambda X: X
    golden(repr(d2c.infer_shapes(net, (8, 3, 16, 16))))


def test_the_report_of_a_net_that_has_all_its_shapes(golden):
    golden(repr(d2c.infer_shapes(nn.LSTM(3, 4), (7, 2, 3))))
    assert d2c.materialize(nn.Linear(2, 3), "whatever").rows == ()


def test_the_report_as_html():
    assert "<td" in d2c.materialize(nn.LazyLinear(2), (1, 3))._repr_html_()


def test_what_sits_in_a_container_learned_from_what_came_to_the_module_around_it():
    report = d2c.materialize(nn.Sequential(SizesItself(3)), (2, 5))
    assert [(row.name, row.shape, row.inputs) for row in report.rows] == [
        ("0.weight", (3, 5), ((2, 5),)),
        ("0.offsets.0", (3,), ((2, 5),)),
    ]


def test_pending_names_a_tied_parameter_once():
    net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 4), nn.LazyLinear(4, bias=False))
    d2c.tie(net, "0.weight", "2.weight")
    assert d2c.pending(net) == ["0.weight", "0.bias"]
    d2c.materialize(net, (2, 4))
    assert d2c.pending(net) == []
    assert net[0].weight is net[2].weight


@pytest.mark.parametrize("batch", [2, 2000])
def test_a_shape_stands_for_numbers_of_the_type_of_the_net(batch):
    net = nn.Sequential(nn.Linear(3, 4), nn.LazyLinear(2)).double()
    d2c.materialize(net, torch.Size([batch, 3]))
    assert net[1].weight.dtype == torch.float64


def test_inputs_may_be_nested_and_of_other_kinds():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(2)

        def forward(self, states, extra, flag, *, scale=1):
            assert flag == "yes"
            assert extra["mask"].dtype == torch.bool
            return {"out": self.layer(states[0] + states[1]), "rest": [states[0]]}

    mask = torch.ones(2, dtype=torch.bool)
    report = d2c.infer_shapes(Net(), ((2, 3), torch.ones(3)), {"mask": mask}, "yes")
    assert report.output == ((2, 2), (2, 3))


@pytest.mark.parametrize("batch", [2, 2000])
def test_materialize_leaves_its_input_as_it_is(batch):
    X = torch.randn(batch, 3)
    before = X.clone()
    net = nn.Sequential(nn.ReLU(inplace=True), nn.LazyLinear(2), nn.Identity())
    net[2].forward = lambda Y: Y if Y.sum() == 0 else Y * 2
    d2c.materialize(net, X)
    assert torch.equal(X, before)
    assert X._version == 0


@pytest.mark.parametrize("look", [d2c.materialize, d2c.infer_shapes])
def test_inputs_may_be_given_by_name(look):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(2)

        def forward(self, *, X, scale=1.0):
            return scale * self.layer(X)

    assert look(Named(), X=(4, 3), scale=2.0).output == ((4, 2),)
    with pytest.raises(RuntimeError, match=r"got X=\(4, 3\), y=\(1,\): the net itself \(Named\)"):
        look(Named(), X=(4, 3), y=(1,))


@pytest.mark.parametrize("look", [d2c.materialize, d2c.infer_shapes])
def test_a_forward_pass_may_take_gradients(look):
    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LazyLinear(1)

        def forward(self, X):
            X = X.clone().requires_grad_()
            return torch.autograd.grad(self.layer(X).sum(), X)[0]

    assert look(Slope(), (4, 3)).output == ((4, 3),)


def test_an_input_may_be_a_named_tuple():
    net = nn.Sequential(nn.LSTM(3, 4), nn.Identity(), nn.LazyLinear(2))
    net[1].forward = lambda both: both[0].data
    packed = nn.utils.rnn.pack_sequence([torch.ones(900, 3), torch.ones(700, 3)])
    assert d2c.materialize(net, packed).output == ((1600, 2),)


def test_infer_shapes_of_a_net_too_large_for_any_memory():
    net = nn.Sequential(*[nn.LazyLinear(10**6) for _ in range(7)])
    assert d2c.infer_shapes(net, (10**6, 10**6)).rows[-1].shape == (10**6,)


def test_what_was_loaded_into_a_lazy_layer_is_kept_and_the_layer_completed():
    net, sized = nn.Sequential(nn.LazyLinear(3)), nn.Sequential(nn.Linear(2, 3))
    net.load_state_dict(sized.state_dict())
    d2c.materialize(net, (1, 2))
    torch.testing.assert_close(net.state_dict(), sized.state_dict(), rtol=0, atol=0)
    assert type(net[0]) is nn.Linear


@pytest.mark.parametrize("shape", [(2, 3), (2000, 3)])
def test_materialize_runs_what_was_deferred_and_prints_it_once(shape, capsys):
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyLinear(2))
    d2c.initialize(net, init.Constant(2), verbose=True)
    with unchanged(net):
        d2c.infer_shapes(net, shape)
    assert capsys.readouterr().out == ""
    d2c.materialize(net, shape)
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert net[1].weight.eq(2).all()
    assert not net[1]._forward_pre_hooks


# Failures


class Sulks(init.One):
    sulks = True

    def _init_weight(self, name, data, generator=None):
        if Sulks.sulks and data.shape == (2, 4):
            raise ZeroDivisionError("not today")
        super()._init_weight(name, data)


@pytest.mark.parametrize("batch", [2, 2000])
def test_a_pass_that_fails_leaves_the_net_as_it_was(batch):
    net = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d(), nn.Dropout(), nn.Linear(5, 2))
    d2c.initialize(net, init.One())
    message = r"got \(\d+, 3\): '3' \(Linear\) fails on \(\d+, 4\) with .*; the net is as"
    for call in (d2c.materialize, d2c.infer_shapes):
        with unchanged(net), pytest.raises(RuntimeError, match=message):
            call(net, (batch, 3))
    net[3] = nn.Linear(4, 2)
    d2c.materialize(net, (batch, 3))
    assert net[0].weight.eq(1).all()


@pytest.mark.parametrize("batch", [2, 2000])
def test_an_initializer_that_fails_leaves_the_net_as_it_was(batch):
    net = nn.Sequential(nn.LazyLinear(4), SizesItself(4), nn.LazyLinear(2))
    d2c.initialize(net, Sulks())
    Sulks.sulks = True
    with unchanged(net), pytest.raises(RuntimeError, match=r"'2' .* ZeroDivisionError: not today"):
        d2c.materialize(net, (batch, 3))
    Sulks.sulks = False
    d2c.materialize(net, (batch, 3))
    assert all(parameter.eq(1).all() for name, parameter in net.named_parameters() if "w" in name)


class Catches(nn.Module):
    """A module that recovers from the failure of another, and one that fails itself then."""

    def __init__(self):
        super().__init__()
        self.wrong = nn.Linear(9, 9)
        self.right = nn.LazyLinear(2)
        self.last = nn.Sequential(nn.Linear(7, 7))

    def forward(self, X):
        try:
            X = self.wrong(X)
        except RuntimeError:
            X = self.right(X)
        return self.last(X)


@pytest.mark.parametrize(
    ("make", "inputs", "message"),
    [
        (lambda: nn.LazyLinear(2), (2, 20), r"got 2, 20: the net itself .* do put a shape into"),
        (
            lambda: nn.LazyLinear(2),
            (),
            r"got none: the net itself \(LazyLinear\) fails on no tensor",
        ),
        (
            lambda: nn.Sequential(nn.Embedding(3, 2), nn.LazyLinear(2)),
            ((2, 5),),
            r"'0' \(Embedding\) fails on \(2, 5\) .* do pass a tensor of whole numbers",
        ),
        (Catches, ((2, 3),), r"'last\.0' \(Linear\) fails on \(2, 2\)"),
        (lambda: nn.Sequential(nn.LazyConv2d(3, 2)), ((2, 3),), r"'0' \(LazyConv2d\) fails on"),
    ],
)
def test_an_error_names_the_module_its_input_and_the_way_out(make, inputs, message):
    net = make()
    with unchanged(net), pytest.raises(RuntimeError, match=message):
        d2c.materialize(net, *inputs)


def test_a_net_that_reads_values_cannot_be_inferred_but_materialized():
    net = Loops()
    with unchanged(net), pytest.raises(RuntimeError, match=r"do materialize\(net, X\) instead"):
        d2c.infer_shapes(net, (800, 9))
    d2c.materialize(net, (800, 9))
    assert d2c.pending(net) == []


@pytest.mark.parametrize("call", [d2c.materialize, d2c.infer_shapes, d2c.apply_init, d2c.pending])
def test_what_is_no_net_is_an_error(call):
    arguments = [] if call is d2c.pending else [(2, 3)]
    with pytest.raises(TypeError, match="got the class Linear"):
        call(nn.Linear, *arguments)


# apply_init


@pytest.mark.parametrize("inputs", [[torch.ones(2, 3)], torch.ones(2, 3), (2, 3), [(2, 3)]])
@pytest.mark.parametrize("initializer", [init.Constant(1), init.init_constant])
def test_apply_init_sizes_and_fills(inputs, initializer):
    net = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    assert d2c.apply_init(net, inputs, initializer) is net
    assert net[0].weight.shape == (4, 3)
    assert all(layer.weight.eq(1).all() and not layer.bias.any() for layer in net)


def test_apply_init_without_an_initializer_keeps_what_the_dry_run_gave():
    net, plain = nn.Sequential(nn.LazyLinear(4)), nn.Sequential(nn.LazyLinear(4))
    torch.manual_seed(0)
    d2c.apply_init(net, [torch.ones(2, 3)])
    torch.manual_seed(0)
    plain(torch.ones(2, 3))
    torch.testing.assert_close(net.state_dict(), plain.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [init.Normal, "normal", 3])
def test_apply_init_checks_the_initializer_before_anything_changes(wrong):
    net = nn.Sequential(nn.LazyLinear(4))
    with unchanged(net), pytest.raises(TypeError, match="must be an initializer or a function"):
        d2c.apply_init(net, (2, 3), wrong)


def test_a_recurrent_net_keeps_its_state_out_of_a_dry_run():
    net = nn.Sequential(nn.LSTM(3, 4), nn.Identity())
    net[1].forward = lambda both: both[0]
    net.append(nn.LazyLinear(2))
    report = d2c.materialize(net, (5, 1, 3))
    assert report.output == ((5, 1, 2),)
