import copy
import re
from collections.abc import Mapping

import pytest
import torch
from fingerprint import unchanged
from hypothesis import given
from strategies import plans
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import d2lcompute as d2c


def book_net():
    shared = nn.Linear(8, 8)
    return nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1)
    )


def untied(net):
    twin = copy.deepcopy(net)
    for group in d2c.tied_groups(net):
        for name in group[1:]:
            d2c.untie(twin, name)
    return twin


def total(X):
    return lambda net: net(X).square().sum()


def drawn(plan):
    """The net of a plan and a loss that has a graph, even if the net has no parameters."""
    return plan.build().double(), total(plan.inputs().double().requires_grad_())


def places(report, name):
    return [(use.block, use.call) for use in report[name].uses]


def test_the_books_shared_layer_gets_what_an_untied_twin_gets_at_each_place():
    net, loss_fn = book_net(), total(torch.rand(2, 4))
    twin = untied(net)
    report = d2c.gradients_by_use(net, loss_fn)
    loss_fn(net).backward()
    loss_fn(twin).backward()
    assert [used.names for used in report.parameters] == [
        ("2.weight", "4.weight"),
        ("2.bias", "4.bias"),
    ]
    for leaf in ("weight", "bias"):
        used = report[f"4.{leaf}"]
        assert places(report, f"2.{leaf}") == [("2 = 4", 1), ("2 = 4", 2)]
        for use, place in zip(used.uses, (2, 4), strict=True):
            assert_close(use.gradient, twin[place].get_parameter(leaf).grad)
        assert_close(used.gradient, net[2].get_parameter(leaf).grad)
        assert used.difference < 1e-5


@given(plans(lazy=False))
def test_every_use_contributes_what_an_untied_twin_gets(plan):
    net, loss_fn = drawn(plan)
    twin = untied(net)
    report = d2c.gradients_by_use(net, loss_fn)
    loss_fn(twin).backward()
    for used in report.parameters:
        reads = len(used.uses) // len(used.names)  # every place is called once, in order
        for place, name in enumerate(used.names):
            found = used.uses[place * reads : (place + 1) * reads]
            assert_close(sum(use.gradient for use in found), twin.get_parameter(name).grad)
        assert used.difference <= 1e-9 * (1 + used.gradient.abs().max().item())


@given(plans(lazy=False))
def test_accumulated_is_what_backward_accumulates_and_no_tied_parameter_is_left_out(plan):
    net, loss_fn = drawn(plan)
    report = d2c.gradients_by_use(net, loss_fn)
    loss_fn(net).backward()
    for used in report.parameters:
        assert_close(used.gradient, net.get_parameter(used.names[0]).grad)
    parameters = dict(net.named_parameters(remove_duplicate=False))
    tied = {group for group in d2c.tied_groups(net) if group[0] in parameters}
    assert {used.names for used in report.parameters} >= tied


@given(plans(lazy=False))
def test_nothing_about_the_net_changes(plan):
    net, loss_fn = drawn(plan)
    loss_fn(net).backward()
    with unchanged(net):
        d2c.gradients_by_use(net, loss_fn)


def test_random_state_and_statistics_stay_although_the_net_draws_and_counts():
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.BatchNorm1d(4), nn.Dropout(), shared)
    with unchanged(net):
        d2c.gradients_by_use(net, total(torch.ones(3, 4)))


def test_nothing_changes_if_the_loss_raises():
    net = book_net()
    total(torch.rand(2, 4))(net).backward()

    def loss_fn(net):
        net.eval()(torch.ones(2, 4)).sum().backward()
        raise KeyError("mine")

    with unchanged(net), pytest.raises(KeyError, match="mine"):
        d2c.gradients_by_use(net, loss_fn)


def test_the_grad_mode_does_not_matter():
    with torch.no_grad():
        report = d2c.gradients_by_use(book_net(), total(torch.rand(2, 4)))
        assert not torch.is_grad_enabled()
    assert len(report["2.weight"].uses) == 2


class LanguageModel(nn.Module):
    """Reads its embedding three times: as a table, in a tied layer, and in a function."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        X = self.embedding(tokens)
        return self.head(X) + F.linear(X, self.embedding.weight)


def test_functional_uses_are_found_and_told_apart():
    net, tokens = LanguageModel().double(), torch.tensor([1, 3])
    used = d2c.gradients_by_use(net, total(tokens))["head.weight"]
    assert used.names == ("embedding.weight", "head.weight")
    assert [(use.block, use.grad_fn) for use in used.uses] == [
        ("embedding", "EmbeddingBackward0"),
        ("head", "TBackward0"),
        ("LanguageModel", "TBackward0"),
    ]
    rows = used.uses[0].gradient.abs().sum(dim=1)
    assert rows.count_nonzero() == 2
    assert_close(used.uses[1].gradient, used.uses[2].gradient)
    assert used.difference < 1e-9


def test_a_layer_that_forward_calls_twice_has_two_uses():
    net, X = d2c.FixedHiddenMLP(), torch.rand(2, 20)
    report = d2c.gradients_by_use(net, lambda net: net(X))
    assert places(report, "linear.weight") == [("linear", 1), ("linear", 2)]


def test_one_operation_that_reads_a_parameter_twice_uses_it_twice():
    net = nn.ParameterList([torch.tensor([3.0])])
    used = d2c.gradients_by_use(net, lambda net: (net[0] * net[0]).sum())["0"]
    assert [(use.block, use.grad_fn, use.gradient.item()) for use in used.uses] == [
        ("loss_fn", "MulBackward0", 3.0),
        ("loss_fn", "MulBackward0", 3.0),
    ]


def test_a_recurrent_layer_uses_its_weights_at_every_step():
    net = nn.RNN(3, 2)
    X = torch.rand(4, 1, 3)
    report = d2c.gradients_by_use(net, lambda net: net(X)[0].sum())
    assert len(report["weight_hh_l0"].uses) == 4
    assert report["weight_hh_l0"].difference < 1e-5


def test_a_layer_shared_across_depth():
    shared = nn.Linear(2, 2)
    net = shared
    for _ in range(5):
        net = nn.Sequential(shared, nn.Tanh(), net)
    report = d2c.gradients_by_use(net, total(torch.rand(1, 2)))
    assert [use.call for use in report["0.weight"].uses] == [1, 2, 3, 4, 5, 6]
    assert "0 = 2.0 = 2.2.0 = ..." in str(report)


def test_many_uses_are_shortened_in_the_table_only():
    net = nn.RNN(2, 2)
    report = d2c.gradients_by_use(net, lambda net: net(torch.ones(30, 1, 2))[0].sum())
    assert len(report["weight_hh_l0"].uses) == 30
    assert str(report).count("24 more uses") == 2


def test_parametrized_ties_are_followed_to_what_is_trained():
    layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2, bias=False))
    net = nn.Sequential(layer, nn.Tanh(), layer)
    report = d2c.gradients_by_use(net, total(torch.rand(1, 2)))
    assert [len(used.uses) for used in report.parameters] == [2, 2]


def test_checkpointed_blocks_have_the_same_uses():
    class Checkpointed(nn.Sequential):
        def forward(self, X):
            return checkpoint(super().forward, X, use_reentrant=False)

    shared, X = nn.Linear(2, 2), torch.rand(1, 2)
    plain = d2c.gradients_by_use(nn.Sequential(shared, nn.Tanh(), shared), total(X))
    saved = d2c.gradients_by_use(Checkpointed(shared, nn.Tanh(), shared), total(X))
    for one, other in zip(plain["0.weight"].uses, saved["0.weight"].uses, strict=True):
        assert_close(one.gradient, other.gradient)


def test_an_operation_that_passes_nothing_back_contributes_zero():
    class Blocked(torch.autograd.Function):
        @staticmethod
        def forward(ctx, X):
            return X.clone()

        @staticmethod
        def backward(ctx, gradient):
            return None

    net = nn.ParameterList([torch.ones(2)])
    used = d2c.gradients_by_use(net, lambda net: (net[0] * 3 + Blocked.apply(net[0])).sum())["0"]
    assert [use.gradient.tolist() for use in used.uses] == [[3, 3], [0, 0]]
    assert [use.grad_fn for use in used.uses] == ["MulBackward0", "BlockedBackward"]


def test_sparse_and_dense_gradients_add_up():
    net = LanguageModel().double()
    net.embedding.sparse = True
    used = d2c.gradients_by_use(net, total(torch.tensor([1, 3])))["embedding.weight"]
    assert used.uses[0].gradient.is_sparse
    assert used.difference < 1e-9


def test_a_tied_parameter_that_the_loss_does_not_reach_has_no_use():
    net = book_net()
    report = d2c.gradients_by_use(net, lambda net: net[0](torch.rand(1, 4)).sum())
    assert (report["2.weight"].uses, report["2.weight"].gradient) == ((), None)
    assert report["2.weight"].difference == 0
    assert re.search(r"2\.weight +nothing +none\n= 4\.weight", str(report))


def test_frozen_parameters_have_no_uses_to_show():
    net = book_net()
    net[2].weight.requires_grad_(False)
    report = d2c.gradients_by_use(net, total(torch.rand(2, 4)))
    assert [used.names for used in report.parameters] == [("2.bias", "4.bias")]


def test_what_only_shares_memory_is_used_apart():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[1].weight = nn.Parameter(net[0].weight.detach())
    assert d2c.gradients_by_use(net, total(torch.rand(1, 2))).parameters == ()


def test_on_the_meta_device_uses_have_shapes_and_no_values():
    net = book_net().to("meta")
    report = d2c.gradients_by_use(net, total(torch.rand(2, 4, device="meta")))
    assert [use.gradient.shape for use in report["2.weight"].uses] == [(8, 8), (8, 8)]
    assert re.search(r"accumulated +\?", str(report))


def test_the_table_speaks_chinese(chinese):
    text = str(d2c.gradients_by_use(book_net(), total(torch.rand(2, 4))))
    assert re.search(r"= 4\.weight +2 = 4 +第 2 次 ", text)
    assert re.search(r" 累积 ", text)
    assert "各次使用的梯度之和等于累积的梯度" in text


def test_the_table_shows_each_use_and_the_sum(golden):
    net, X = book_net(), torch.ones(2, 4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    golden(str(d2c.gradients_by_use(net, lambda net: net(X).mean())))


def test_the_html_is_deterministic():
    net, X = book_net(), torch.rand(2, 4)
    first, second = (d2c.gradients_by_use(net, total(X))._repr_html_() for _ in range(2))
    assert first == second
    assert first.count("<tr>") == 7


def test_a_net_without_repeated_use_says_so():
    report = d2c.gradients_by_use(nn.Linear(2, 2), total(torch.rand(1, 2)))
    assert str(report).endswith("no trainable parameter is tied or used repeatedly")
    with pytest.raises(
        KeyError, match=r"'weight' is not tied or used repeatedly; what is: nothing"
    ):
        report["weight"]


WRONG_LOSS = {
    "not a scalar": (lambda net: net(torch.rand(2, 4)), r"got a tensor of shape \(2, 1\)"),
    "a number": (lambda net: net(torch.rand(2, 4)).sum().item(), "got float"),
    "nothing": (lambda net: None, "got NoneType"),
    "detached": (lambda net: net(torch.rand(2, 4)).sum().detach(), "got a tensor without a graph"),
    "a parameter": (lambda net: net[6].bias, "got a tensor without a graph"),
}


@pytest.mark.parametrize(("loss_fn", "got"), WRONG_LOSS.values(), ids=WRONG_LOSS)
def test_a_loss_that_is_not_a_scalar_with_a_graph_is_an_error(loss_fn, got):
    net = book_net()
    expected = f"`loss_fn` must return a scalar computed from the net's parameters, {got}; do"
    with unchanged(net), pytest.raises(ValueError, match=expected):
        d2c.gradients_by_use(net, loss_fn)


def test_a_lazy_net_is_an_error_before_its_forward_pass():
    net = nn.Sequential(nn.LazyLinear(2))
    with pytest.raises(
        ValueError, match=r"`net` must not be lazy, got '0\.weight' without a shape"
    ):
        d2c.gradients_by_use(net, total(torch.rand(1, 2)))
    assert isinstance(net[0], nn.LazyLinear)


def test_the_report_is_a_mapping_that_knows_every_name():
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.ReLU(), shared)
    report = d2c.gradients_by_use(net, lambda net: net(torch.rand(2, 4)).sum())
    assert isinstance(report, Mapping)
    assert list(report) == ["0.weight", "0.bias"]
    assert len(report) == 2
    assert "2.weight" in report
    assert "1.weight" not in report
    assert report["2.weight"] is report["0.weight"] is dict(report)["0.weight"]
    assert report.get("nothing") is None


def test_a_report_without_ties_is_an_empty_mapping():
    report = d2c.gradients_by_use(nn.Linear(4, 1), lambda net: net(torch.rand(2, 4)).sum())
    assert not report
    assert list(report.items()) == []
