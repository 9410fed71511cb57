import pytest
import torch
from torch import nn

import d2lcompute as d2c
from d2lcompute.lazy import meta_twin
from d2lcompute.passes import twin


def test_a_net_on_the_meta_device_is_traced_itself():
    net = torch.nn.Linear(2, 3, device="meta")
    seen = []
    net.register_forward_hook(lambda module, *_: seen.append(module is net))
    d2c.trace(net, (4, 2))
    assert set(seen) == {True}  # again where torch has imported its compiler for the first time


@pytest.mark.parametrize("copied", [meta_twin, twin.copy_if_lazy])
def test_a_copy_of_a_lazy_layer_has_hooks_and_handles_of_its_own(copied):
    layer = torch.nn.LazyLinear(4)
    layer.beside = {"layer": layer}
    copy = copied(layer)
    copy._initialize_hook.remove()
    assert copy._forward_pre_hooks == {}
    assert [*layer._forward_pre_hooks] == [layer._initialize_hook.id]
    assert copy.beside["layer"] is copy


def test_a_pass_on_meta_gives_its_copy_no_first_values(monkeypatch):
    filled = []
    monkeypatch.setattr(torch.nn.LazyLinear, "reset_parameters", lambda _: filled.append(1))
    net = torch.nn.Sequential(torch.nn.LazyLinear(4))
    filled.clear()
    d2c.infer_shapes(net, (2, 3))
    assert filled == []
    d2c.materialize(net, torch.ones(2, 3))
    assert filled == [1]


class Listening(nn.Module):
    """Takes what a layer inside gives from a hook, which knows the net or what the net holds."""

    def __init__(self, way, layer):
        super().__init__()
        self.body, self.seen = nn.Sequential(layer, nn.Linear(3, 3)), []
        seen, double = self.seen, layer.forward

        def keep(module, inputs, output, *, into=seen):
            self.seen.append(output)

        hooks = {
            "the net": lambda module, inputs, output: self.seen.append(output),
            "a list": lambda module, inputs, output: seen.append(output),
            "a default": keep,
        }
        if way in hooks:
            layer.register_forward_hook(hooks[way])
        else:
            layer.forward = lambda X: self.seen.append(double(X)) or self.seen[-1]

    def forward(self, X):
        self.seen.clear()
        return self.body(X) + self.seen[0]


@pytest.mark.parametrize("way", ["the net", "a list", "a default", "another forward"])
@pytest.mark.parametrize("make", [lambda: nn.Linear(2, 3), lambda: nn.LazyLinear(3)])
def test_a_copy_is_known_to_the_functions_that_know_the_net(way, make):
    net = Listening(way, make())
    for look in (d2c.trace, d2c.infer_shapes, d2c.diagnose):
        report = look(net, (4, 2))
        assert not getattr(report, "error", None)
        assert not getattr(report, "findings", ())
    assert net.seen == []
    report = d2c.trace(net, torch.rand(4, 2))
    assert (report.error, net.seen) == (None, [])
    assert repr(report) == repr(d2c.trace(net, (4, 2)))


def test_a_function_that_knows_nothing_yet_is_copied_too():
    def outer():
        net = nn.Linear(2, 2)
        net.later = lambda: unknown
        if net is None:
            unknown = net
        return net

    twin = meta_twin(outer())
    with pytest.raises(NameError):
        twin.later()
