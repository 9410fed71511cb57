import pytest
import torch
from nets import CHAPTER, WELL_KNOWN
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import d2lcompute as d2c

READ_VALUES = {"FixedHiddenMLP", "FancyMLP", "chimera"}
NETS = {name: build for name, build in (CHAPTER | WELL_KNOWN).items() if name not in READ_VALUES}


@pytest.mark.parametrize("name", NETS)
def test_flops_are_those_that_torch_counts_where_no_kernel_is_fused(name):
    net, inputs = NETS[name]()
    twin = d2c.lazy.meta_twin(net)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        twin(*(X.to("meta") for X in inputs))
    assert d2c.trace(net, *inputs).calls[0].flops == counter.get_total_flops()


def test_flops_of_a_block_are_those_of_the_calls_inside():
    net, inputs = NETS["vit"]()
    calls = d2c.trace(net, *inputs).calls
    for position, call in enumerate(calls):
        inside = sum(inner.flops for inner in calls if inner.parent == position)
        assert call.flops >= inside
        assert call.flops == inside or not inside


def test_flops_count_in_inference_mode_too():
    with torch.inference_mode():
        assert d2c.trace(nn.Linear(2, 3), torch.rand(1, 2)).calls[0].flops == 12
