import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import plans
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute.parameters.names import entries, known_shape, walk


def nested(depth):
    net = nn.Linear(1, 1)
    for _ in range(depth):
        net = nn.Sequential(net)
    return net


@given(plans())
def test_walk_gives_torchs_modules_in_torchs_order(plan):
    net = plan.build()
    assert list(walk(net)) == list(net.named_modules())
    assert list(walk(net, every_name=True)) == list(net.named_modules(remove_duplicate=False))


@given(plans(aliases=True))
def test_entries_are_all_names_of_all_tensors(plan):
    net = plan.build()
    parameters = dict(net.named_parameters(remove_duplicate=False))
    buffers = dict(net.named_buffers(remove_duplicate=False))
    found = entries(net)
    assert {e.name: id(e.tensor) for e in found if not e.is_buffer} == {
        name: id(tensor) for name, tensor in parameters.items()
    }
    assert {e.name: id(e.tensor) for e in found if e.is_buffer} == {
        name: id(tensor) for name, tensor in buffers.items()
    }
    assert all(getattr(e.module, e.leaf) is e.tensor for e in found)


def test_walk_goes_deeper_than_python_recurses():
    net = nested(3000)
    with pytest.raises(RecursionError, match="recursion"):
        list(net.named_modules())
    assert len(list(walk(net))) == 3001
    (name,) = (name for name in d2c.collect_params(net, ".*bias"))
    assert name.count(".") == 3000


def test_walk_ends_where_modules_hold_each_other():
    inner, outer = nn.Sequential(), nn.Sequential()
    inner.add_module("outer", outer)
    outer.add_module("inner", inner)
    assert [name for name, _ in walk(outer)] == ["", "inner"]
    assert [name for name, _ in walk(outer, every_name=True)] == ["", "inner"]


@pytest.mark.parametrize("wrong", [nn.Linear, "net", [nn.Linear(1, 1)], None])
@pytest.mark.parametrize("function", [d2c.collect_params, d2c.describe, d2c.tied_groups])
def test_what_is_not_a_module_is_an_error_that_says_so(function, wrong):
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module, got .*; do pass the net"):
        function(wrong)


def test_a_missing_submodule_is_passed_over():
    net = nn.Sequential(nn.Linear(1, 1))
    net.register_module("absent", None)
    assert list(d2c.collect_params(net)) == ["0.weight", "0.bias"]


@given(plans(aliases=True))
def test_collect_params_gives_torchs_parameters(plan):
    net = plan.build()
    found = d2c.collect_params(net)
    assert list(found) == [name for name, _ in net.named_parameters()]
    assert all(found[name] is parameter for name, parameter in net.named_parameters())


@given(plans(), st.sampled_from([".*weight", ".*bias", "0", "1|2", r".*\d\.weight$", "(?!.*bias)"]))
def test_collect_params_selects_each_parameter_once_by_the_first_name_that_fits(plan, pattern):
    net = plan.build()
    wanted = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        if re.match(pattern, name) and id(parameter) not in wanted:
            wanted[id(parameter)] = name
    found = d2c.collect_params(net, pattern)
    assert {id(parameter): name for name, parameter in found.items()} == wanted


def test_a_tied_parameter_is_found_by_each_of_its_names():
    shared = nn.Linear(2, 2, bias=False)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    assert list(d2c.collect_params(net)) == ["0.weight"]
    assert d2c.collect_params(net, "2") == {"2.weight": shared.weight}


def test_a_pattern_is_matched_at_the_start_and_may_be_compiled():
    net = d2c.mlp(4, 2, in_units=3)
    assert d2c.collect_params(net, "weight") == {}
    assert list(d2c.collect_params(net, re.compile(".*BIAS", re.IGNORECASE))) == [
        "0.bias",
        "2.bias",
    ]


@pytest.mark.parametrize("function", [d2c.collect_params, d2c.describe])
def test_a_bad_pattern_is_one_clear_error(function):
    expected = r"`pattern` must be a regular expression, got '\*weight' \(nothing to repeat"
    with pytest.raises(ValueError, match=expected):
        function(nn.Linear(1, 1), "*weight")


def test_collected_parameters_can_be_frozen_and_grouped():
    net = d2c.mlp(4, 2, in_units=3)
    for parameter in d2c.collect_params(net, "0").values():
        parameter.requires_grad_(False)
    assert [p.requires_grad for p in net.parameters()] == [False, False, True, True]
    groups = [
        {"params": d2c.collect_params(net, pattern).values(), "weight_decay": decay}
        for pattern, decay in [(".*weight", 0.1), (".*bias", 0)]
    ]
    assert [len(g["params"]) for g in torch.optim.SGD(groups, lr=0.1).param_groups] == [2, 2]


LAZY = {
    "linear": (lambda: nn.LazyLinear(5), (2, 3)),
    "convolution 1d": (lambda: nn.LazyConv1d(6, 3), (2, 4, 9)),
    "convolution 2d": (lambda: nn.LazyConv2d(6, (3, 2), groups=2), (2, 4, 9, 9)),
    "convolution 3d": (lambda: nn.LazyConv3d(6, 3), (2, 4, 9, 9, 9)),
    "transposed 1d": (lambda: nn.LazyConvTranspose1d(6, 3), (2, 4, 9)),
    "transposed 2d": (lambda: nn.LazyConvTranspose2d(6, 3, groups=2), (2, 4, 9, 9)),
    "transposed 3d": (lambda: nn.LazyConvTranspose3d(6, 3), (2, 4, 5, 5, 5)),
    "batch norm 1d": (nn.LazyBatchNorm1d, (2, 3)),
    "batch norm 2d": (nn.LazyBatchNorm2d, (2, 3, 4, 4)),
    "batch norm 3d": (nn.LazyBatchNorm3d, (2, 3, 4, 4, 4)),
    "instance norm 1d": (lambda: nn.LazyInstanceNorm1d(affine=True), (2, 3, 4)),
    "instance norm 2d": (lambda: nn.LazyInstanceNorm2d(affine=True), (2, 3, 4, 4)),
    "instance norm 3d": (lambda: nn.LazyInstanceNorm3d(affine=True), (2, 3, 4, 4, 4)),
}


@pytest.mark.parametrize(("make", "shape"), LAZY.values(), ids=LAZY)
def test_a_lazy_layer_tells_the_part_of_a_shape_that_it_knows(make, shape, request):
    layer = make()
    told = {e.leaf: known_shape(layer, e.leaf) for e in entries(layer)}
    assert told["weight"].count(None) == 1
    assert told["bias"].count(None) == ("norm" in request.node.callspec.id)
    layer(torch.rand(shape))
    for leaf, partial in told.items():
        learned = known_shape(layer, leaf)
        assert learned == tuple(getattr(layer, leaf).shape)
        assert all(size in (None, real) for size, real in zip(partial, learned, strict=True))


def test_a_lazy_parameter_of_a_foreign_layer_is_not_known_at_all():
    layer = nn.Module()
    layer.weight = nn.UninitializedParameter()
    assert known_shape(layer, "weight") is None


@given(st.lists(st.integers(0, 3), max_size=3), st.sampled_from([torch.float64, torch.int32]))
def test_set_data_writes_any_shape_and_casts(shape, dtype):
    param = nn.Parameter(torch.zeros(shape))
    data = torch.ones(shape, dtype=dtype)
    d2c.set_data(param, data)
    assert_close(param.detach(), torch.ones(shape))
    assert param.dtype == torch.float32


@pytest.mark.parametrize(
    "data",
    [
        [[1.0, 2.0]],
        ((1, 2),),
        np.array([[1.0, 2.0]]),
        torch.tensor([[1.0, 2.0]]).half(),
        torch.tensor([[1.0, 2.0]], requires_grad=True) * 1,
    ],
    ids=["list", "tuple", "numpy", "half", "graph"],
)
def test_set_data_takes_what_holds_numbers(data):
    param = nn.Parameter(torch.zeros(1, 2))
    d2c.set_data(param, data)
    assert param.tolist() == [[1.0, 2.0]]
    assert param.is_leaf
    assert param.requires_grad


@pytest.mark.parametrize("number", [7, 7.0, True, np.float32(7), torch.tensor(7)])
def test_set_data_fills_with_one_number(number):
    param = nn.Parameter(torch.zeros(2, 3))
    d2c.set_data(param, number)
    assert_close(param.detach(), torch.full((2, 3), float(number)))


def test_set_data_keeps_double_precision():
    param = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    d2c.set_data(param, [0.1, 0.2])
    assert param.tolist() == [0.1, 0.2]
    d2c.set_data(param, 0.3)
    assert param.tolist() == [0.3, 0.3]


def test_set_data_takes_a_read_only_array():
    array = np.ones(2)
    array.flags.writeable = False
    param = nn.Parameter(torch.zeros(2))
    d2c.set_data(param, array)
    assert param.tolist() == [1, 1]


def test_set_data_writes_one_element_and_one_row():
    weight = nn.Linear(3, 2).weight
    before = weight.detach().clone()
    d2c.set_data(weight[0, 0], 42)
    d2c.set_data(weight[1], [1, 2, 3])
    before[0, 0] = 42
    before[1] = torch.tensor([1.0, 2, 3])
    assert_close(weight.detach(), before)
    assert weight.is_leaf


@pytest.mark.parametrize("pick", [lambda w: w, lambda w: w[0, 0]], ids=["all", "one element"])
def test_autograd_notices_what_set_data_writes_between_forward_and_backward(pick):
    weight = nn.Parameter(torch.ones(1, 1))
    loss = (weight * weight).sum()
    d2c.set_data(pick(weight), 2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_set_data_reads_the_right_side_before_it_writes():
    weight = nn.Linear(3, 3).weight
    before = weight.detach().clone()
    d2c.set_data(weight, weight.t() + 1)
    assert_close(weight.detach(), before.t() + 1)


def test_set_data_leaves_the_gradient_and_the_grad_mode():
    weight = nn.Parameter(torch.ones(2))
    weight.sum().backward()
    d2c.set_data(weight, 3)
    assert_close(weight.grad, torch.ones(2))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("shape", [(3,), (1, 1), (2, 1), (3, 2), (1, 2, 3), (1,)])
def test_set_data_does_not_broadcast_anything_but_a_number(shape):
    param = nn.Parameter(torch.zeros(2, 3))
    expected = rf"`data` must have the shape \(2, 3\).*got {re.escape(str(shape))}; do"
    with pytest.raises(ValueError, match=expected):
        d2c.set_data(param, torch.ones(shape))
    assert_close(param.detach(), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("dtype", "data"),
    [(torch.int64, 1.5), (torch.float32, 1j), (torch.int64, torch.rand(2)), (torch.bool, [1, 2])],
)
def test_set_data_refuses_a_type_that_would_lose_the_value(dtype, data):
    param = torch.zeros(2, dtype=dtype)
    with pytest.raises(ValueError, match=r"`data` must be of a type that .* can hold, got"):
        d2c.set_data(param, data)


NOT_WRITABLE = {
    "lazy": (lambda: nn.LazyLinear(2).weight, r"must have a shape, got a lazy.*materialize"),
    "meta": (lambda: nn.Linear(2, 2, device="meta").weight, r"must hold values.*to_empty"),
    "copy": (lambda: nn.Linear(2, 2).weight[[0]], r"must be a parameter or a slice of one"),
    "computed": (lambda: nn.Linear(2, 2).weight + 1, r"must be a parameter or a slice of one"),
}


@pytest.mark.parametrize(("make", "expected"), NOT_WRITABLE.values(), ids=NOT_WRITABLE)
def test_set_data_refuses_what_would_lose_the_write(make, expected):
    with pytest.raises(ValueError, match=f"`param` {expected}"):
        d2c.set_data(make(), 1)


@pytest.mark.parametrize(
    ("data", "got"), [("abc", "'abc'"), (None, "None"), (nn.ReLU(), "ReLU"), ([None], "[None]")]
)
def test_set_data_refuses_what_holds_no_numbers(data, got):
    expected = f"`data` must be a number, a tensor, .* got {re.escape(got)}; do pass numbers"
    with pytest.raises(TypeError, match=expected):
        d2c.set_data(torch.zeros(2), data)


def test_set_data_refuses_a_name():
    with pytest.raises(TypeError, match="`param` must be a parameter, got str; do"):
        d2c.set_data("0.weight", 1)
