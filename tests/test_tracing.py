import functools
import html.parser
import re
import threading
from dataclasses import dataclass

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given, settings
from nets import CHAPTER, WELL_KNOWN
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import d2lcompute as d2c

NETS = CHAPTER | WELL_KNOWN
READ_VALUES = {"FixedHiddenMLP", "FancyMLP", "chimera"}


def build(name):
    return NETS[name]()


def blocks(report):
    return [(call.depth, call.name, call.type) for call in report.calls if call.is_block]


def steps(report):
    return [call.label for call in report.calls if not call.is_block]


def settled(net):
    """A net whose loops take the same number of turns on every machine."""
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            tensor.fill_(0.05)
    return net


# --------------------------------------------------------------------- the questions of the readers


def test_a_reused_layer_shows_as_one_block_called_twice(golden):
    report = d2c.trace(settled(d2c.FancyMLP()), torch.ones(2, 20))
    golden(repr(report))
    assert [call.nth for call in report.calls if call.name == "dense"] == [1, 2]


def test_a_net_in_a_net_shows_nested(golden):
    golden(repr(d2c.trace(d2c.NestMLP(20), torch.ones(2, 20))))


def test_what_deferred_initialization_decided_shows_beside_each_lazy_layer(golden):
    net = d2c.NestMLP()
    with unchanged(net):
        report = d2c.trace(net, torch.ones(2, 20))
    golden(repr(report))
    assert d2c.pending(net)[:2] == ["net.0.weight", "net.0.bias"]


def test_the_chimera_answers_all_three_questions():
    net = nn.Sequential(d2c.NestMLP(), nn.LazyLinear(20), d2c.FixedHiddenMLP())
    text = repr(d2c.trace(net, torch.rand(2, 20)))
    assert re.search(r"│ │ │ 0: LazyLinear +.* decided weight \(64, 20\), bias \(64,\)", text)
    assert re.search(r"│ 1: LazyLinear +\(2, 16\) +\(2, 20\) .* decided weight \(20, 16\)", text)
    assert re.search(r"│ │ linear: Linear .* 2nd call\n", text)


# ------------------------------------------------------------------------------------- side effects


@pytest.mark.parametrize("name", NETS)
def test_a_net_stays_as_it_is(name):
    net, inputs = build(name)
    with unchanged(net):
        d2c.trace(net, *inputs, time=True)


@given(plans())
@settings(max_examples=25, deadline=None)
def test_any_net_stays_as_it_is_and_its_parameters_count_once(plan):
    net = plan.build(lazy=False)
    with unchanged(net):
        report = d2c.trace(net, plan.inputs())
    read = set(net.state_dict()) - set(report.unused)
    assert report.error is None
    assert report.calls[0].parameter_count == sum(
        p.numel() for name, p in net.named_parameters() if name in read
    )


def test_a_net_in_training_mode_keeps_its_statistics():
    net, inputs = build("resnet")
    with unchanged(net):
        assert d2c.trace(net.train(), *inputs).error is None


def test_inputs_stay_as_they_are():
    class Overwriting(nn.Module):
        def forward(self, X):
            X += 1
            X[0] = 0.0
            return X

    X = torch.rand(2, 3)
    before = X.clone()
    report = d2c.trace(Overwriting(), X, time=True)
    torch.testing.assert_close(X, before)
    assert steps(report) == ["+= 1", "[0] ="]


def test_what_initialize_deferred_is_neither_done_nor_announced(capsys):
    net = d2c.mlp(8, 2)
    d2c.initialize(net, d2c.initializers.Constant(1.0), verbose=True)
    d2c.trace(net, torch.rand(1, 4))
    assert capsys.readouterr().out == ""
    net(torch.rand(1, 4))
    assert net[0].weight.unique().tolist() == [1.0]


def test_blocks_of_other_threads_are_not_recorded():
    class Threaded(nn.Module):
        def __init__(self):
            super().__init__()
            self.here, self.there = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, X):
            thread = threading.Thread(target=self.there, args=(X,))
            thread.start()
            thread.join()
            return self.here(X)

    assert [name for _, name, _ in blocks(d2c.trace(Threaded(), torch.rand(1, 2)))] == ["", "here"]


# -------------------------------------------------------------------------------------------- calls


@pytest.mark.parametrize("name", NETS)
def test_calls_are_those_that_hooks_of_torch_see_in_order(name):
    net, inputs = build(name)
    names = {module: name for name, module in net.named_modules()}
    seen = []
    with d2c.lazy.dry_run(net):
        for module in names:
            module.register_forward_hook(lambda m, _, out: seen.append((names[m], out)))
            module.register_forward_pre_hook(lambda m, _: seen.append((names[m], None)))
        net(*inputs)
    report = d2c.trace(net, *inputs)
    entered = [name for name, output in seen if output is None]
    assert [name for _, name, _ in blocks(report)] == entered
    root_output = seen[-1][1]
    assert report.calls[0].outputs == (tuple(root_output.shape),)


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_counts_once(name):
    net, inputs = build(name)
    report = d2c.trace(net, *inputs)
    assert report.calls[0].parameter_count == sum(p.numel() for p in net.parameters())
    assert report.unused == ()


def test_steps_read_as_code_does():
    class Steps(nn.Module):
        def forward(self, X):
            X = 1 - X @ X.T
            X[:, 0] = 2
            Y = (X[..., :-1].abs() ** 2).sum(dim=0)
            Y /= 2
            return F.relu(-Y) if Y.max().item() > 0 else Y

    report = d2c.trace(Steps(), torch.ones(2, 2))
    assert steps(report) == [
        ".T", "@", "1 -", "[:, 0] =", "[..., :-1]", "abs", "** 2", "sum", "/= 2", "max", "item()",
        "-", "relu",
    ]  # fmt: skip


def test_a_layer_of_torch_hides_its_steps_and_a_custom_one_shows_them():
    report = d2c.trace(nn.Sequential(nn.Linear(3, 2), d2c.MyLinear(2, 1)), torch.rand(1, 3))
    assert [call.label for call in report.calls if call.parent == 2] == ["@", "+", "relu"]
    assert all(call.parent != 1 for call in report.calls)


def test_data_is_followed_from_where_it_was_made():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = nn.Linear(2, 2), nn.Linear(2, 2)
            self.register_buffer("constant", torch.ones(2))

        def forward(self, X):
            return self.left(X) + self.right(input=X) * self.constant

    calls = d2c.trace(Branches(), torch.rand(1, 2)).calls
    assert [call.label for call in calls[1:]] == ["left", "right", "*", "+"]
    assert [call.sources for call in calls[1:]] == [(0,), (0,), (2, None), (1, 3)]
    assert calls[0].origins == (4,)


def test_tensors_are_found_in_nested_outputs_and_named_inputs():
    @dataclass
    class Output:
        logits: torch.Tensor
        states: dict

    class Nested(nn.Module):
        def forward(self, *, ids, mask=None):
            return Output(ids, {"all": [mask, (ids, mask)], "none": None})

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Nested()

        def forward(self, ids, mask):
            return self.inner(ids=ids, mask=mask).logits

    calls = d2c.trace(Outer(), ids=torch.rand(1, 2), mask=torch.rand(3)).calls
    assert calls[1].inputs == ((1, 2), (3,))
    assert calls[1].outputs == ((1, 2), (3,), (1, 2), (3,))
    assert calls[1].sources == (0, 0)


def test_packed_sequences_are_inputs():
    packed = nn.utils.rnn.pack_sequence([torch.rand(3, 2), torch.rand(2, 2)])
    (call,) = d2c.trace(nn.LSTM(2, 4), packed).calls
    assert call.inputs[0] == (5, 2)
    assert call.flops == 2 * 5 * (4 * 4 * 2 + 4 * 4 * 4)


def test_a_block_that_is_not_registered_is_named_so():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 2), nn.Linear(2, 2)]

        def forward(self, X):
            return self.layers[1](self.layers[0](self.layers[0](X)))

    report = d2c.trace(Plain(), torch.rand(1, 2))
    assert [name for _, name, _ in blocks(report)] == ["", "?1", "?1", "?2"]
    assert "not registered" in repr(report)
    assert report.calls[0].parameter_count == 0


def test_a_block_under_several_names_shows_them_all():
    shared = nn.Linear(2, 2)
    report = d2c.trace(nn.Sequential(shared, nn.ReLU(), shared), torch.rand(1, 2))
    assert [call.label for call in report.calls[1:]] == ["0 = 2", "1", "0 = 2"]


def test_a_parameter_that_another_block_reads_again_is_remarked():
    net, inputs = build("gpt")
    report = d2c.trace(net, *inputs)
    assert re.search(r"head: Linear .* reads wte.weight again", repr(report))


def test_parameters_that_the_pass_does_not_read_are_listed():
    net = nn.Sequential(nn.Linear(2, 2))
    net.spare = nn.ModuleList([nn.Linear(2, 2)])
    net.forward = net[0].forward
    report = d2c.trace(net, torch.rand(1, 2))
    assert report.unused == ("spare.0.weight", "spare.0.bias")
    assert "not read: spare.0.weight, spare.0.bias" in repr(report)


def test_a_checkpoint_shows_its_blocks():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, X):
            return self.second(checkpoint(self.first, X, use_reentrant=False))

    report = d2c.trace(Checkpointed(), torch.rand(1, 2, requires_grad=True))
    assert blocks(report) == [
        (0, "", "Checkpointed"),
        (1, "first", "Linear"),
        (1, "second", "Linear"),
    ]
    assert report.calls[2].sources == (1,)


def test_a_block_may_call_itself():
    class Recursive(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, X, turns=3):
            return X if turns == 0 else self(self.layer(X), turns - 1)

    report = d2c.trace(Recursive(), torch.rand(1, 2))
    assert [call.nth for call in report.calls if call.type == "Recursive"] == [1, 2, 3, 4]
    assert report.calls[0].parameter_count == 6


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_block_is_one_call():
    net = nn.Sequential(
        torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.ReLU())), nn.Linear(3, 1)
    )
    report = d2c.trace(net, torch.rand(1, 2))
    assert blocks(report)[1:] == [(1, "0", "Sequential"), (1, "1", "Linear")]
    assert [call.parameter_count for call in report.calls] == [13, 9, 4]
    assert report.calls[1].flops == 12


def test_a_compiled_block_shows_what_is_in_it():
    net = torch.compile(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), backend="eager")
    names = [type_name for *_, type_name in blocks(d2c.trace(net, torch.rand(1, 2)))]
    assert names[1:] == ["Sequential", "Linear", "ReLU"]


# -------------------------------------------------------------------------------------------- FLOPs


@pytest.mark.parametrize("name", sorted(NETS.keys() - READ_VALUES))
def test_flops_are_those_that_torch_counts_where_no_kernel_is_fused(name):
    net, inputs = build(name)
    twin = d2c.lazy.meta_twin(net)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        twin(*(X.to("meta") for X in inputs))
    assert d2c.trace(net, *inputs).calls[0].flops == counter.get_total_flops()


def test_flops_of_a_block_are_those_of_the_calls_inside():
    net, inputs = build("vit")
    calls = d2c.trace(net, *inputs).calls
    for position, call in enumerate(calls):
        inside = sum(inner.flops for inner in calls if inner.parent == position)
        assert call.flops >= inside
        assert call.flops == inside or not inside


def test_flops_count_in_inference_mode_too():
    with torch.inference_mode():
        assert d2c.trace(nn.Linear(2, 3), torch.rand(1, 2)).calls[0].flops == 12


# -------------------------------------------------------------------------------------- shapes only


@pytest.mark.parametrize("name", sorted(NETS.keys() - READ_VALUES))
def test_shapes_give_the_calls_that_tensors_give(name):
    net, inputs = build(name)
    imagined = d2c.trace(net, *(torch.empty_like(X, device="meta") for X in inputs))
    with unchanged(net):
        assert imagined == d2c.trace(net, *inputs)
    if all(X.is_floating_point() for X in inputs):
        assert d2c.trace(net, *(tuple(X.shape) for X in inputs)) == imagined


def test_a_lazy_net_stays_lazy_when_only_asked_about():
    net = d2c.mlp(256, 10)
    with unchanged(net):
        report = d2c.trace(net, (2, 20))
    assert report.calls[1].decided == (("weight", (256, 20)), ("bias", (256,)))


@pytest.mark.parametrize("name", sorted(READ_VALUES))
def test_a_net_that_reads_values_wants_tensors(name):
    net, _ = build(name)
    with unchanged(net), pytest.raises(ValueError, match=r"MLP reads values; do trace\(net, torch"):
        d2c.trace(net, (2, 20))


def test_seven_billion_parameters_need_no_memory():
    with torch.device("meta"):
        layers = (nn.TransformerEncoderLayer(4096, 32, 16384, batch_first=True) for _ in range(35))
        net = nn.Sequential(*layers)
    report = d2c.trace(net, (1, 512, 4096))
    assert report.error is None
    assert report.calls[0].parameter_count == sum(p.numel() for p in net.parameters()) > 7e9


def test_a_net_on_the_meta_device_takes_a_real_input():
    assert d2c.trace(nn.Linear(2, 3, device="meta"), torch.rand(1, 2)).calls[0].outputs == ((1, 3),)


def test_tensors_that_forward_makes_are_on_the_meta_device_too():
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(8, 2)

        def forward(self, X):
            return X + self.embedding(torch.arange(X.shape[0]))

    assert d2c.trace(Positions(), (5, 2)).error is None


def test_a_tuple_of_numbers_beside_a_tensor_is_no_shape():
    class Sized(nn.Module):
        def forward(self, X, size):
            return X.reshape(size)

    assert d2c.trace(Sized(), torch.rand(6), (2, 3)).calls[0].outputs == ((2, 3),)


# ------------------------------------------------------------------------------------------- errors


def test_a_pass_that_fails_shows_how_far_it_came(golden):
    net = nn.Sequential(d2c.NestMLP(20), nn.Linear(15, 20), nn.ReLU())
    with unchanged(net):
        report = d2c.trace(net, torch.ones(2, 20))
    golden(repr(report))
    assert isinstance(report.error, RuntimeError)
    assert [call.name for call in report.calls if call.failed] == ["", "1"]


def test_a_failing_step_is_the_last_call():
    class Failing(nn.Module):
        def forward(self, X):
            return F.relu(X) @ X

    report = d2c.trace(Failing(), torch.rand(2, 3))
    assert report.calls[-1].failed
    assert report.calls[-1].label == "@"
    assert re.search(r"│ @ .* stopped here\n", repr(report))


def test_missing_inputs_are_an_error_of_the_pass():
    assert "missing 1 required" in repr(d2c.trace(d2c.MLP(in_units=20)))


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_hook_that_raises_ends_the_report(register):
    def fail(*_):
        raise ZeroDivisionError("a hook")

    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    getattr(net[1], register)(fail)
    with unchanged(net):
        report = d2c.trace(net, torch.rand(1, 2))
    assert isinstance(report.error, ZeroDivisionError)
    assert report.calls[0].failed


def test_an_error_that_forward_catches_ends_only_the_call():
    class Catching(nn.Module):
        def __init__(self):
            super().__init__()
            self.wrong, self.right = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, X):
            try:
                return self.wrong(X)
            except RuntimeError:
                return self.right(X)

    report = d2c.trace(Catching(), torch.rand(1, 2))
    assert report.error is None
    assert [call.failed for call in report.calls] == [False, True, False]


def test_a_lazy_net_that_cannot_be_copied_says_what_to_do():
    net = nn.Sequential(nn.LazyLinear(2))
    net.lock = threading.Lock()
    with pytest.raises(
        TypeError, match=r"`net` must be copyable .* do materialize\(net, X\) first"
    ):
        d2c.trace(net, torch.rand(1, 2))


@pytest.mark.parametrize("net", [torch.rand(2), d2c.MLP, None])
def test_what_is_no_module_is_refused(net):
    with pytest.raises(TypeError, match="`net` must be an nn.Module"):
        d2c.trace(net, torch.rand(1, 2))


def test_endless_recursion_ends():
    class Endless(nn.Module):
        def forward(self, X):
            return self(X)

    assert isinstance(d2c.trace(Endless(), torch.rand(1)).error, RecursionError)


# --------------------------------------------------------------------------------- size and loops


def test_depth_costs_nothing_but_frames():
    net = functools.reduce(lambda inner, _: nn.Sequential(inner), range(300), nn.LazyLinear(2))
    report = d2c.trace(net, torch.rand(1, 2))
    assert report.error is None
    assert report.calls[-1].depth == 300
    assert len(repr(report).splitlines()) == 304


def test_a_loop_is_folded_and_its_numbers_are_sums(golden):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.RNNCell(4, 5)

        def forward(self, X):
            H = torch.zeros(X.shape[1], 5)
            for step in range(len(X)):
                H = self.cell(X[step], H)
            return H

    report = d2c.trace(Loop(), torch.rand(100, 2, 4))
    golden(repr(report))
    assert sum(call.name == "cell" for call in report.calls) == 100


def test_time_is_that_of_each_call():
    net, inputs = build("mlp")
    calls = d2c.trace(net, *inputs, time=True).calls
    assert all(call.seconds > 0 for call in calls)
    assert calls[0].seconds >= sum(call.seconds for call in calls if call.parent == 0)
    assert "ms" in repr(d2c.trace(net, *inputs, time=True)).splitlines()[0].split()


def test_html_is_the_same_each_time_and_well_formed():
    net, inputs = build("transformer_encoder")
    text = d2c.trace(net, *inputs)._repr_html_()
    assert text == d2c.trace(net, *inputs)._repr_html_()
    stack = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            stack.append(tag)

        def handle_endtag(self, tag):
            assert stack.pop() == tag

    Parser().feed(text)
    assert stack == []
