import io
import math

import pytest
import torch
from fingerprint import unchanged
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import nn

import d2lcompute as d2c
from d2lcompute.seeing.plot import Strip, plot_strips, strip_of


@pytest.fixture(autouse=True)
def close_figures():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def notes(ax):
    return [text.get_text() for text in ax.texts]


def with_gradients():
    net = d2c.mlp(8, 2, in_units=4)
    net(torch.rand(3, 4)).square().sum().backward()
    return net


def test_every_parameter_has_a_strip_with_its_mean_and_deviation():
    net = d2c.mlp(8, 2, in_units=4)
    ax = d2c.plot_parameters(net)
    assert names(ax) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    expected = [f"{p.mean():.3g} ± {p.std(correction=0):.2g}" for p in net.parameters()]
    assert notes(ax) == expected
    assert ax.get_xlabel() == "value"


def test_the_outline_covers_the_values():
    values = torch.randn(1000)
    ax = d2c.plot_parameters(nn.ParameterList([nn.Parameter(values)]))
    outline = ax.collections[0].get_paths()[0].get_extents()
    assert outline.x0 == pytest.approx(values.min().item())
    assert outline.x1 == pytest.approx(values.max().item())


def test_gradients_are_plotted_as_they_are():
    net = with_gradients()
    net[2].bias.grad = None
    ax = d2c.plot_gradients(net)
    gradient = net[0].weight.grad
    assert notes(ax)[0] == f"{gradient.mean():.3g} ± {gradient.std(correction=0):.2g}"
    assert notes(ax)[3] == "no gradient"


def test_a_pattern_selects_by_name():
    assert names(d2c.plot_parameters(d2c.MLP(in_units=4), pattern=".*weight")) == [
        "hidden.weight",
        "out.weight",
    ]


def test_two_initializers_stand_side_by_side_on_one_scale():
    net = d2c.mlp(8, 2, in_units=4)
    left, right = plt.figure().subplots(1, 2, sharex=True, sharey=True)
    assert d2c.plot_parameters(net, left) is left
    d2c.initialize(net, d2c.initializers.Normal(3.0), force_reinit=True)
    assert d2c.plot_parameters(net, right) is right
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()


def test_pyplot_is_not_used_on_axes_that_are_given():
    d2c.plot_parameters(nn.Linear(2, 2), ax=Figure().subplots())
    assert plt.get_fignums() == []


def test_what_has_no_values_says_why():
    layers = [nn.LazyLinear(2), nn.Linear(2, 2, device="meta")]
    net = nn.Sequential(*layers, nn.ParameterList([nn.Parameter(torch.empty(0))]))
    assert notes(d2c.plot_parameters(net)) == [
        *["lazy: no shape yet"] * 2,
        *["on the meta device: no values"] * 2,
        "empty",
    ]


def test_values_that_are_not_finite_are_counted_and_left_out():
    parameter = nn.Parameter(torch.tensor([1.0, 3.0, math.nan, math.inf]))
    nothing = nn.Parameter(torch.tensor([math.nan]))
    ax = d2c.plot_parameters(nn.ParameterList([parameter, nothing]))
    assert notes(ax) == ["2 ± 1, 2 not finite", "no finite value, 1 not finite"]


EXTREME = {
    "large": ([1e300, -1e300, 3.0], "1 ± 8.2e+299"),
    "small": ([1e-300, 3e-300], "2e-300 ± 1e-300"),
    "close": ([1 + 1e-12, 1 - 1e-12], "1 ± 1e-12"),
    "subnormal": ([5e-324, 5e-324], "4.94e-324 ± 0"),
    "zero": ([0.0, 0.0], "0 ± 0"),
}


@pytest.mark.parametrize("name", EXTREME)
def test_values_are_taken_in_double_precision(name):
    values, expected = EXTREME[name]
    parameter = nn.Parameter(torch.tensor(values, dtype=torch.float64))
    assert notes(d2c.plot_parameters(nn.ParameterList([parameter]))) == [expected]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_every_type_of_number_is_plotted(dtype):
    net = nn.Linear(4, 4, dtype=dtype)
    assert len(d2c.plot_parameters(net).collections) == 2


def test_sparse_gradients_are_plotted():
    net = nn.Embedding(10, 3, sparse=True)
    net(torch.tensor([1, 2])).sum().backward()
    assert notes(d2c.plot_gradients(net)) == ["0.2 ± 0.4"]


@pytest.mark.filterwarnings("ignore:Sparse CSR", "ignore:torch.quantize_per_tensor")
def test_quantized_and_compressed_tensors_are_plotted():
    assert strip_of(torch.eye(2).to_sparse_csr()).text() == "0.5 ± 0.5"
    quantized = torch.quantize_per_tensor(torch.tensor([0.0, 1.0]), 0.5, 0, torch.qint8)
    assert strip_of(quantized).text() == "0.5 ± 0.5"


def test_a_tensor_over_several_devices_says_so():
    class Spread(torch.Tensor):
        def full_tensor(self):
            return self

    net = nn.Linear(2, 2)
    net._parameters["weight"] = torch.rand(2, 2).as_subclass(Spread)
    assert notes(d2c.plot_parameters(net))[0] == "spread over several devices"


def test_a_tied_parameter_has_one_strip():
    shared = nn.Linear(2, 2)
    assert names(d2c.plot_parameters(nn.Sequential(shared, shared))) == ["0.weight", "0.bias"]


def test_a_net_without_gradients_is_an_error():
    with pytest.raises(ValueError, match=r"`net` must have gradients, got none; do loss\.backward"):
        d2c.plot_gradients(d2c.mlp(8, 2))


@pytest.mark.parametrize("plot", [d2c.plot_parameters, d2c.plot_gradients])
def test_a_pattern_that_nothing_fits_is_an_error(plot):
    with pytest.raises(
        ValueError, match=r"`pattern` must fit names of parameters, got 'wieght', which"
    ):
        plot(with_gradients(), pattern="wieght")


@pytest.mark.parametrize("plot", [d2c.plot_parameters, d2c.plot_gradients])
def test_a_net_without_parameters_is_an_error(plot):
    with pytest.raises(ValueError, match=r"`net` must have .* got none"):
        plot(nn.ReLU())


def test_a_net_stays_as_it_is():
    net = with_gradients()
    with unchanged(net):
        d2c.plot_parameters(net)
        d2c.plot_gradients(net)


def test_names_are_not_read_as_formulas_and_can_be_read():
    net = nn.ParameterDict({"$\\foo$": torch.rand(3), "隐藏": torch.rand(3)})
    ax = d2c.plot_parameters(net)
    ax.figure.savefig(io.BytesIO())  # a letter that no font has would be a warning
    literal, chinese = names(ax)
    assert literal == "$\\foo$"
    assert chinese in ("隐藏", r"\u9690\u85cf")


def test_notebooks_get_the_words_with_the_image():
    ax = d2c.plot_parameters(d2c.mlp(2, in_units=2), pattern=".*weight")
    (note,) = notes(ax)
    assert ax.get_label() == f"value: 0.weight {note}"
    assert ax.figure._repr_mimebundle_() == ({}, {"image/png": {"alt": ax.get_label()}})


def test_strips_of_known_numbers_have_the_same_look():
    strips = {"0": Strip(0.0, 1.0, -2.0, 3.0), "1": Strip(math.nan, 0, 0, 0, 4), "2": "not called"}
    ax = plot_strips(strips, "activation", Figure().subplots())
    assert names(ax) == ["0", "1", "2"]
    assert notes(ax) == ["0 ± 1", "no finite value, 4 not finite", "not called"]
    assert [line.get_xdata().tolist() for line in ax.lines if len(line.get_xdata()) == 2] == [
        [-2, 3], [-1, 1],
    ]  # fmt: skip


def test_activations_are_those_of_each_layer_in_order():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), d2c.FixedHiddenMLP(8))
    X = torch.randn(16, 4)
    ax = d2c.plot_activations(net, X)
    first = net[0](X)
    zeros = (first.relu() == 0).float().mean()
    assert names(ax) == [
        "0: Linear", "1: ReLU", "2.linear: Linear", "2.linear: Linear, 2nd call",
    ]  # fmt: skip
    assert notes(ax)[0] == f"{first.mean():.3g} ± {first.std(correction=0):.2g}"
    assert notes(ax)[1].endswith(f", {zeros:.0%} zeros")
    assert ax.get_xlabel() == "activation"


def test_activations_are_chosen_by_name_and_leave_the_net_alone():
    net, X = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8)), torch.randn(16, 4)
    with unchanged(net):
        assert names(d2c.plot_activations(net, X, pattern="1")) == ["1: BatchNorm1d"]
    assert names(d2c.plot_activations(nn.ReLU(), X)) == ["ReLU"]


def test_without_numbers_of_layers_there_is_no_plot():
    with pytest.raises(ValueError, match=r"`inputs` must be tensors with values, got \(2, 4\)"):
        d2c.plot_activations(nn.Linear(4, 2), (2, 4))
    with pytest.raises(ValueError, match="`net` must have layers that give numbers, got none"):
        d2c.plot_activations(nn.Linear(4, 2), torch.rand(0, 4))
    with pytest.raises(
        ValueError, match="`pattern` must fit names of layers that give numbers, got 'no'"
    ):
        d2c.plot_activations(nn.Linear(4, 2), torch.rand(2, 4), pattern="no")


def test_a_pass_that_fails_has_no_plot():
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        d2c.plot_activations(nn.Linear(4, 2), torch.rand(2, 3))
