import re
import threading
from dataclasses import dataclass

import pytest
import torch
from nets import CHAPTER, WELL_KNOWN
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import d2lcompute as d2c

NETS = CHAPTER | WELL_KNOWN


def blocks(report):
    return [(call.depth, call.name, call.type) for call in report.calls if call.is_block]


def steps(report):
    return [call.label for call in report.calls if not call.is_block]


@pytest.mark.parametrize("name", NETS)
def test_calls_are_those_that_hooks_of_torch_see_in_order(name):
    net, inputs = NETS[name]()
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
    net, inputs = NETS[name]()
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


def test_an_empty_sequential_is_a_block_too():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.shortcut = nn.Linear(3, 3), nn.Sequential()

        def forward(self, X):
            return self.body(self.shortcut(X)) + self.shortcut(X)

    report = d2c.trace(Residual(), torch.rand(2, 3), time=True)
    assert [(c.name, c.nth) for c in report.calls if c.type == "Sequential"] == [
        ("shortcut", 1),
        ("shortcut", 2),
    ]
    assert all((call.seconds is not None) == call.is_block for call in report.calls)


def test_a_parameter_that_another_block_reads_again_is_remarked():
    net, inputs = NETS["gpt"]()
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
    names = [call.name for call in report.calls]
    assert report.calls[names.index("second")].sources == (names.index("first"),)


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


class Counting(TorchDispatchMode):
    """How many operators run inside."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_a_mode_that_a_net_enters_sees_the_net_alone_and_one_around_sees_what_a_look_reads_too():
    class Watching(nn.Sequential):
        def forward(self, X):
            with inner:
                return super().forward(X)

    inner, net = Counting(), Watching(nn.Linear(2, 3), nn.ReLU())
    looks = (
        lambda: d2c.trace(net, torch.ones(1, 2)),
        lambda: d2c.trace(net, torch.ones(1, 2), values=True),
        lambda: d2c.diagnose(net, torch.ones(1, 2)),
    )
    counts = []
    for look in looks:
        inner.count = 0
        with Counting() as around:
            look()
        counts.append((inner.count, around.count))
    plain, with_values, _diagnosed = counts
    assert {inside for inside, _ in counts} == {plain[0]}
    assert with_values[1] > plain[1]
