"""Faults that were reported from outside: the smallest input that showed each, and what is right.

Where a fault was one of a kind, its kind is held by a property or a table beside the module.
"""

import random
import re
import warnings
from collections import UserDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import d2lcompute as d2c
from d2lcompute import initializers as init

X = torch.rand(2, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A net of these parts, with this `forward`."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.run = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs, **named):
        return self.run(self, *inputs, **named)


def alt(*args, **kwargs):
    return d2c.draw(*args, **kwargs).alt


# Nets


def test_two_like_steps_of_which_one_takes_a_buffer_are_drawn():
    net = Net(lambda self, x: x + self.pe + x)
    net.register_buffer("pe", torch.ones(2, 4))
    assert "from the input and pe (2, 4)" in alt(net, X)


def test_a_use_inside_of_a_reentrant_checkpoint_is_refused():
    layer = nn.Linear(4, 4)
    net = Net(lambda self, x: self.b(checkpoint(self.a, x, use_reentrant=True)), a=layer, b=layer)
    inputs = X.clone().requires_grad_()
    with pytest.raises(ValueError, match="use_reentrant"):
        d2c.gradients_by_use(net, lambda net: net(inputs).sum())


def test_a_net_that_is_spread_over_processes_is_refused_and_still_runs(tmp_path):
    distributed = pytest.importorskip("torch.distributed.fsdp", reason="torch has no FSDP here")
    if not hasattr(distributed, "fully_shard"):
        pytest.skip("torch is older than fully_shard")
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.HashStore())
    try:
        net = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        distributed.fully_shard(net, mesh=init_device_mesh("cpu", (1,)))
        for look in (d2c.trace, d2c.diagnose, d2c.draw, d2c.infer_shapes):
            with pytest.raises(ValueError, match="spread over processes"):
                look(net, X)
        assert net(X).shape == (2, 2)
    finally:
        dist.destroy_process_group()


def test_layers_side_by_side_are_drawn_otherwise_than_in_a_row():
    def layers():
        return nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def in_a_row(self, x):
        for layer in self.h:
            x = layer(x)
        return torch.stack([x]).sum(0)

    def side_by_side(self, x):
        return torch.stack([layer(x) for layer in self.h]).sum(0)

    assert "3 in a row" in alt(Net(in_a_row, h=layers()), (2, 4))
    assert "3 side by side" in alt(Net(side_by_side, h=layers()), (2, 4))


def test_every_product_counts_as_the_same_one_by_other_means():
    W = nn.Parameter(torch.rand(256, 20))

    def flops(net, *shapes):
        return d2c.trace(net, *shapes).calls[0].flops

    by_vector = flops(Net(lambda self, x: self.W @ x, W=W), (20,))
    assert by_vector == flops(nn.Linear(20, 256, bias=False), (20,)) == 10_240
    # For each of 7 outputs, x1 @ A is 5 x 6 products for each row, and its product with x2 is 6.
    assert flops(nn.Bilinear(5, 6, 7), (2, 5), (2, 6)) == 2 * 2 * 7 * (5 * 6 + 6)


def test_a_momentum_encoder_stays_where_it_is_when_one_looks():
    class Moco(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k = nn.Linear(4, 2), nn.Linear(4, 2).requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                for a, b in zip(self.q.parameters(), self.k.parameters(), strict=True):
                    b.data = b.data * 0.9 + a.data * 0.1
            return self.q(x), self.k(x)

    net = Moco()
    for look in (d2c.trace, d2c.draw, d2c.diagnose, d2c.infer_shapes, d2c.materialize):
        with unchanged(net):
            look(net, X)
    with unchanged(net):
        d2c.gradients_by_use(net, lambda net: net(X)[0].sum())


def test_a_tuple_is_a_shape_or_what_it_is_in_the_same_way_for_all():
    two = Net(lambda self, x, ids: self.l(x) + self.e(ids), e=nn.Embedding(5, 4), l=nn.Linear(4, 4))
    ids = torch.zeros(2, dtype=torch.long)
    resize = Net(lambda self, x, size: nn.functional.interpolate(x, size=size))
    image = torch.rand(1, 3, 8, 8)
    for net, inputs, output in (
        (two, ((2, 4), ids), (2, 4)),
        (resize, (image, (16, 16)), (1, 3, 16, 16)),
    ):
        assert d2c.trace(net, *inputs).calls[0].outputs == (output,)
        assert d2c.infer_shapes(net, *inputs).output == (output,)
        assert d2c.diagnose(net, *inputs).findings == ()
        assert str(output) in alt(net, *inputs)
    d2c.materialize(resize, image, (16, 16))
    assert d2c.trace(resize, image, forward_kwargs={"size": (16, 16)}).error is None


@pytest.mark.parametrize("look", [d2c.trace, d2c.infer_shapes, d2c.diagnose, d2c.draw])
def test_a_shape_stands_for_floats_of_the_type_of_the_net(look):
    for net, shape in (
        (nn.Conv2d(3, 4, 3).bfloat16(), (1, 3, 8, 8)),
        (nn.LSTM(4, 4).double(), (5, 2, 4)),
    ):
        report = look(net, shape)
        assert getattr(report, "error", None) is None
        assert getattr(report, "findings", ()) == ()


class Typo(init.Initializer):
    """A mistake that shows at the second layer."""

    def _init_weight(self, name, data):
        if len(data) == 2:
            raise RuntimeError("a typo of mine")
        data.fill_(9)


def test_an_initializer_that_fails_leaves_nothing_half_done():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    before = net[0].weight.clone()
    with pytest.raises(RuntimeError, match="a typo of mine"):
        d2c.initialize(net, Typo())
    assert_close(net[0].weight, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        d2c.initialize(net, init.Constant(5))
    assert [*net[0].weight.unique(), *net[1].weight.unique()] == [5, 5]
    held = nn.ParameterList([torch.zeros(1, 3).expand(4, 3)])
    net = nn.Sequential(nn.Linear(3, 3), held)
    before = net[0].weight.clone()
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor"):
        d2c.initialize(net, init.Normal())
    assert_close(net[0].weight, before)


def test_pythons_and_numpys_random_numbers_stay_and_times_are_those_of_the_same_way():
    def dropped(self, x):
        for layer in self.layers:
            if random.random() < 0.5 and np.random.rand() < 2:
                x = layer(x)
        return x

    net = Net(dropped, layers=nn.ModuleList(nn.Linear(4, 4) for _ in range(6)))
    for look in (lambda: d2c.trace(net, X, time=True), lambda: d2c.diagnose(net, X)):
        states = random.getstate(), np.random.get_state()[1].tolist()
        report = look()
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states
    report = d2c.trace(net, X, time=True)
    assert all(call.seconds is not None for call in report.calls if call.is_block)


def test_a_traced_or_scripted_module_has_its_super_init():
    traced = torch.jit.trace(nn.Sequential(nn.Linear(4, 2)), X)
    for net in (traced, nn.Sequential(traced), torch.jit.script(nn.Linear(4, 2))):
        assert d2c.diagnose(net).findings == ()
        assert d2c.infer_shapes(net, (3, 4)).output == ((3, 2),)
        d2c.materialize(net, X)


@pytest.mark.parametrize("look", [d2c.draw, d2c.describe, d2c.trace, d2c.diagnose, d2c.pending])
@pytest.mark.parametrize("wrong", [5, None, [nn.Linear(1, 1)], nn.Linear, "net"])
def test_what_is_no_net_is_refused_without_inputs_too(look, wrong):
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module, got"):
        look(wrong)


class Batch:
    """An object that holds tensors, as a batch of graphs is."""

    def __init__(self, x):
        self.x = x


@pytest.mark.parametrize("batch", [lambda x: UserDict(x=x), Batch])
def test_tensors_in_mappings_and_objects_are_seen_and_not_written_to(batch):
    def forward(self, b):
        x = b.x if isinstance(b, Batch) else b["x"]
        x.mul_(2)
        return UserDict(y=self.l(x))

    net, given = Net(forward, l=nn.Linear(4, 2)), batch(torch.ones(2, 4))
    for look in (d2c.trace, d2c.diagnose, d2c.draw, d2c.infer_shapes):
        look(net, given)
        assert (given.x if batch is Batch else given["x"]).unique().tolist() == [1]
    call = d2c.trace(net, given).calls[0]
    assert (call.inputs, call.outputs) == (((2, 4),), ((2, 2),))


class Slotted:
    __slots__ = ("n", "x")

    def __init__(self, x):
        self.x, self.n = x, 1


class SlottedAndOpen(Slotted):
    """What a class without slots of its own adds: a dictionary."""


@dataclass(slots=True)
class SlottedData:
    x: torch.Tensor
    n: int = 1


@dataclass(slots=True, frozen=True)
class Frozen:
    x: torch.Tensor
    n: int = 1


@pytest.mark.parametrize("kind", [Slotted, SlottedAndOpen, SlottedData, Frozen])
def test_what_is_in_slots_is_seen_and_put_back_too(kind):
    def forward(self, batch):
        for holder in (batch, self.held):
            holder.x.mul_(2)
            if kind is not Frozen:
                holder.n = 5
        return self.l(batch.x)

    net, batch = Net(forward, l=nn.Linear(4, 2), held=kind(torch.ones(1))), kind(torch.ones(2, 4))
    for look in (d2c.trace, d2c.diagnose, d2c.draw, d2c.infer_shapes, d2c.materialize):
        look(net, batch)
        for holder in (batch, net.held):
            assert (holder.x == 1).all()
            assert holder.n == 1
    assert d2c.trace(net, batch).calls[0].inputs == ((2, 4),)
    assert d2c.infer_shapes(net, batch).output == ((2, 2),)


@pytest.mark.parametrize(
    "forward",
    [lambda self, x: x.nonzero(), lambda self, x: x[x > 0], lambda self, x: x.unique(),
     lambda self, x: x if x.sum() > 0 else -x, lambda self, x: x.numpy()],
)  # fmt: skip
def test_a_net_that_reads_values_is_told_so_and_one_that_is_not_implemented_is_not(forward):
    with pytest.raises(ValueError, match=r"reads values; do trace\(net, torch\.rand"):
        d2c.trace(Net(forward), (2, 4))
    with pytest.raises(RuntimeError, match=r"do materialize\(net, X\) instead"):
        d2c.infer_shapes(Net(forward), (2, 4))
    assert isinstance(d2c.trace(nn.Module(), (2, 4)).error, NotImplementedError)


def test_a_loop_over_time_is_one_box_however_it_takes_its_steps():
    def by_index(self, x):
        h = torch.zeros(2, 4)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return h

    def unbound(self, x):
        h = torch.zeros(2, 4)
        for x_t in x.unbind(1):
            h = self.cell(x_t, h)
        return h

    for forward in (by_index, unbound):
        net, steps = Net(forward, cell=nn.GRUCell(4, 4)), torch.rand(2, 35, 4)
        assert max(d2c.draw(net, steps).figure.get_size_inches()) < 10
        assert len(repr(d2c.trace(net, steps)).splitlines()) < 12


def test_parameters_that_start_alike_by_a_formula_are_no_cut_tie():
    start = torch.linspace(0, 1, 32)[None]
    net = Net(
        lambda self, x: self.l(x * self.key + (1 - x) * self.val),
        key=nn.Parameter(start.clone()), val=nn.Parameter(start.clone()), l=nn.Linear(32, 2),
    )  # fmt: skip
    # They also cancel each other here, so that nothing of the input is left: that is a finding.
    kinds = [finding.kind for finding in d2c.diagnose(net, torch.rand(2, 32)).findings]
    assert "tie cut" not in kinds


def test_a_net_whose_parameters_a_hook_brings_is_told_so():
    net = nn.Linear(4, 2, device="meta")
    net._hf_hook = object()  # as accelerate marks them
    for look in (d2c.trace, d2c.draw, d2c.infer_shapes, d2c.diagnose):
        with pytest.raises(ValueError, match="a hook brings and takes away again; do look"):
            look(net, X)


def test_values_that_a_smaller_type_cannot_hold_are_counted(tmp_path):
    net = nn.Linear(2, 2)
    nn.init.constant_(net.weight, 1e6)
    d2c.save_parameters(net, tmp_path / "big")
    report = d2c.load_parameters(nn.Linear(2, 2).half(), tmp_path / "big")
    assert "4 values are infinite now" in repr(report)
    assert report["weight"].changed == 4


def test_plots_and_tables_are_in_double_precision():
    def texts(*values):
        held = nn.ParameterList([nn.Parameter(torch.tensor(values, dtype=torch.float64))])
        return [text.get_text() for text in d2c.plot_parameters(held).texts]

    assert "not finite" not in texts(1e300, -1e300, 3.0)[0]
    assert texts(1e-300, 2e-300)[0].startswith("1.5e-300")


def test_an_example_that_no_pass_reads_is_no_buffer():
    net = Net(lambda self, x: self.l(x), l=nn.Linear(4, 2), example=torch.rand(2, 4))
    assert d2c.diagnose(net, X).findings == ()


def test_a_net_with_an_attribute_called_modules_is_loaded(tmp_path):
    net = Net(lambda self, x: self.l(x), l=nn.Linear(4, 2))
    net.modules = [1]
    d2c.save_parameters(net, tmp_path / "b")
    assert d2c.load_parameters(net, tmp_path / "b").loaded


def test_an_activation_that_several_blocks_share_has_one_label():
    act = nn.ReLU()

    def block():
        run = Net(lambda self, x: self.act(self.b(self.act(self.a(x)))), act=act)
        run.a, run.b = nn.Linear(4, 4), nn.Linear(4, 4)
        return run

    said = alt(nn.Sequential(block(), block(), block()), (1, 4))
    assert "act: ReLU" in said
    assert not re.search(r"act to act|calls \d+ to", said)


def test_depth_0_shows_what_comes_in_and_out():
    for net in (nn.Sequential(nn.Linear(4, 3)), torch.jit.script(nn.Linear(4, 3))):
        texts = [text.get_text() for text in d2c.draw(net, (2, 4), depth=0).ax.texts]
        assert {"(2, 4)", "(2, 3)"} <= set(texts)


def test_a_pattern_with_a_typo_is_not_taken_for_missing_gradients():
    net = nn.Linear(3, 3)
    net(torch.rand(2, 3)).sum().backward()
    with pytest.raises(ValueError, match="`pattern` must fit names of parameters, got 'wieght'"):
        d2c.plot_gradients(net, pattern="wieght")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: d2c.describe(nn.Linear(4, 2), X), "`pattern` must be a regular expression"),
        (lambda: d2c.trace(nn.Linear(4, 2), (-1, 4)), "`inputs` must be tensors or shapes"),
        (lambda: d2c.initialize(nn.Linear(4, 2), seed="a"), "`seed` must be an integer"),
        (lambda: init.Mixed(None), "`rules` must be a dict"),
        (lambda: d2c.gradients_by_use(nn.Linear(1, 1), torch.zeros(())), "`loss_fn` must be a f"),
        (lambda: d2c.materialize(nn.LazyLinear(2), (None, 20)), "`inputs` must be tensors or sh"),
        (lambda: d2c.materialize(nn.LazyLinear(2), ()), "`inputs` must fit the net, got ()"),
    ],
)
def test_a_wrong_value_has_an_error_of_ours(call, said):
    with pytest.raises((TypeError, ValueError, RuntimeError), match=re.escape(said)):
        call()


def test_a_tuple_of_tensors_is_saved_and_comes_back(tmp_path):
    d2c.save(tmp_path / "x", (torch.ones(1), torch.ones(2)))
    assert [len(tensor) for tensor in d2c.load(tmp_path / "x")] == [1, 2]


# Smaller ones


def test_two_like_blocks_are_drawn_and_three_fold():
    said = alt(nn.Sequential(*[nn.Linear(4, 4) for _ in range(3)]), (2, 4))
    assert "3 in a row" in said


def test_source_and_target_of_a_transformer_are_two_arrows():
    net = nn.Transformer(32, 2, 1, 1, 32, batch_first=True)
    said = alt(net, (2, 5, 32), (2, 6, 32), depth=1)
    assert "src" in said
    assert "tgt" in said


def test_what_forward_makes_in_its_first_call_counts_and_has_its_name():
    def forward(self, x):
        if not hasattr(self, "l"):
            self.l = nn.Linear(x.shape[1], 2)
        return self.l(x)

    net = Net(forward)
    report = d2c.trace(net, X)
    assert [(call.name, call.parameter_count) for call in report] == [("", 10), ("l", 10)]
    assert "gone from the net again: l" in repr(report)
    assert not hasattr(net, "l")


def test_the_making_of_a_lazy_parameter_is_no_step():
    def forward(self, x):
        if nn.parameter.is_lazy(self.w):
            with torch.no_grad():
                self.w.materialize((x.shape[1], 2))
                self.w.data.uniform_()
        return x @ self.w

    report = d2c.trace(Net(forward, w=nn.UninitializedParameter()), X)
    assert [call.label for call in report] == ["Net", "@"]
    assert "again" not in repr(report)


def test_whole_numbers_are_refused_by_shape_too():
    with pytest.raises(RuntimeError, match="must have the same dtype, but got Long and Float"):
        d2c.infer_shapes(nn.Linear(4, 2), torch.zeros(3, 4, dtype=torch.long))


def test_token_nets_are_told_to_take_whole_numbers():
    net = nn.Sequential(nn.Embedding(5, 4))
    with pytest.raises(RuntimeError, match="do pass a tensor of whole numbers, since a shape"):
        d2c.infer_shapes(net, (2, 3))


def test_a_bias_table_is_no_bias_and_a_layer_scale_no_norm():
    net = nn.Module()
    net.relative_position_bias_table = nn.Parameter(torch.zeros(4, 3))
    net.gamma = nn.Parameter(torch.full((3,), 1e-6))
    d2c.initialize(net, init.Constant(3), pattern="relative.*")
    assert (net.relative_position_bias_table == 3).all()


class Gain(nn.Module):
    def __init__(self, width, start):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), start))

    def forward(self, x):
        return x * self.gamma


@pytest.mark.parametrize("start", [1e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("depth", [2, 18])
def test_a_layer_scale_that_starts_small_beside_a_shortcut_is_sound(start, depth):
    def block():
        within = nn.Sequential(
            nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8), Gain(8, start)
        )
        return Net(lambda self, x: x + self.within(x), within=within)

    for seed in range(3):
        torch.manual_seed(seed)
        net = nn.Sequential(*[block() for _ in range(depth)], nn.LayerNorm(8), nn.Linear(8, 3))
        assert d2c.diagnose(net, torch.randn(16, 8)).findings == ()


@pytest.mark.parametrize("write", [d2c.save_parameters, lambda net, path: d2c.save(path, X)])
def test_a_hard_link_keeps_the_old_content_and_a_symbolic_one_leads_to_the_new(tmp_path, write):
    path, hard, symbolic = (tmp_path / name for name in ("w", "hard", "symbolic"))
    path.write_bytes(b"old")
    hard.hardlink_to(path)
    symbolic.symlink_to(path)
    write(nn.Linear(2, 2), symbolic)
    assert hard.read_bytes() == b"old"
    assert symbolic.is_symlink()
    assert symbolic.read_bytes() == path.read_bytes() != b"old"
    for said in (d2c.save.__doc__, d2c.save_parameters.__doc__):
        assert re.search(r"hard\s+link", said)


def test_dollars_in_names_are_no_mathematics(tmp_path):
    net = nn.ModuleDict({"$\\foo$": nn.Linear(2, 2)})
    axes = d2c.plot_parameters(net)
    axes.figure.savefig(tmp_path / "p.png")
    d2c.draw(net).save(tmp_path / "d.png")


def test_a_cyclic_net_is_saved_loaded_and_its_ties_are_kept(tmp_path):
    net = nn.Sequential(nn.Linear(2, 2))
    inner = nn.Sequential(nn.Linear(2, 2))
    net.add_module("inner", inner)
    inner.add_module("outer", net)
    d2c.save_parameters(net, tmp_path / "c")
    assert d2c.load_parameters(net, tmp_path / "c").loaded
    with d2c.keep_ties(net):
        pass


def test_uses_are_found_in_inference_mode_too():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    with torch.inference_mode():
        report = d2c.gradients_by_use(net, lambda net: net(torch.rand(1, 2)).sum())
    assert len(report["0.weight"].uses) == 2


def test_a_mask_of_pruning_is_seen_in_the_description():
    net = prune.random_unstructured(nn.Linear(8, 8), "weight", 0.5)
    assert "weight_mask" in repr(d2c.describe(net))


# Surprises of those who come from the book


def test_names_that_people_guess_lead_to_where_things_are():
    for guess in ("init_normal", "Normal", "Xavier", "summary", "count_params", "freeze", "share",
                  "tie_weights", "visualize", "activations", "to_pandas"):  # fmt: skip
        with pytest.raises(AttributeError, match=r"do "):
            getattr(d2c, guess)


def test_the_gradients_by_use_are_a_mapping():
    layer = nn.Linear(4, 4)
    report = d2c.gradients_by_use(nn.Sequential(layer, layer), lambda net: net(X).sum())
    assert "0.weight" in report
    assert len(report) == len(list(report)) == 2
    assert [use.call for use in report["0.weight"].uses] == [1, 2]


def test_a_pattern_may_come_third_in_initialize():
    net = nn.Sequential(nn.Linear(2, 2))
    d2c.initialize(net, init.Zero(), "0.weight")
    assert (net[0].weight == 0).all()
    with pytest.raises(TypeError, match=r"do Mixed\("):
        d2c.initialize(net, {".*weight": init.Zero()})


@pytest.mark.parametrize(
    "call",
    [
        lambda: init.Normal(std=0.01), lambda: init.Normal(0, 0.01),
        lambda: d2c.initialize(nn.Linear(2, 2), device="cpu"),
        lambda: d2c.dense(8, bias=False),
    ],
)  # fmt: skip
def test_habits_from_elsewhere_are_told_what_to_write(call):
    with pytest.raises(TypeError, match=r"`.*` must .*got .*; do \S"):
        call()


def test_an_array_written_into_data_is_told_to_be_a_tensor():
    class Mine(init.Initializer):
        def _init_weight(self, name, data):
            data[:] = np.zeros(tuple(data.shape), dtype=np.float32)

    with pytest.raises(TypeError, match=r"torch\.from_numpy"):
        d2c.initialize(nn.Linear(2, 2), Mine())


def test_five_narrow_layers_of_tanh_have_a_finding_and_a_narrow_norm_has_none():
    layers = [nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(5)]
    net = nn.Sequential(*layers)
    d2c.initialize(net, init.Normal(0.01), seed=0)
    assert d2c.diagnose(net, torch.randn(16, 64)).findings
    for seed in range(15):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2), nn.BatchNorm1d(2))
        assert d2c.diagnose(net, torch.randn(8, 2)).findings == ()


def test_twenty_layers_with_torchs_own_start_have_a_finding():
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(20)])
    assert d2c.diagnose(net, torch.randn(16, 64)).findings


def test_where_a_constant_went_is_seen_in_the_description():
    assert "rand_weight" in repr(d2c.describe(d2c.FixedHiddenMLP()))


def test_a_picture_shows_itself_and_nothing_under_it():
    drawing = d2c.draw(nn.Linear(2, 2))
    assert "Axes" not in repr(drawing)
    assert "<svg" in drawing._repr_svg_()


@pytest.mark.parametrize(("index", "error"), [(2, IndexError), (-3, IndexError), ("0", TypeError)])
def test_a_wrong_index_into_a_net_is_told_what_to_write(index, error):
    net = d2c.MySequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(error, match=r"`index` must be .* below 2, .*, got .*; do net\[0\]"):
        net[index]


def test_two_files_of_the_same_block_of_both_editions_meet(tmp_path):
    linear = {"linear.weight": torch.rand(20, 20), "linear.bias": torch.rand(20)}
    d2c.save(tmp_path / "book", linear)  # its constant is no buffer there
    with pytest.raises(d2c.FileError, match="rand_weight"):
        d2c.load_parameters(d2c.FixedHiddenMLP(), tmp_path / "book")
    report = d2c.load_parameters(d2c.FixedHiddenMLP(), tmp_path / "book", allow_missing=True)
    assert report.loaded
