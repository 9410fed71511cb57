import pytest
import torch

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
