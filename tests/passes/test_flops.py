import pytest
import torch
from nets import CHAPTER, READ_VALUES, WELL_KNOWN
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import d2lcompute as d2c

NETS = {name: build for name, build in (CHAPTER | WELL_KNOWN).items() if name not in READ_VALUES}


class Apply(nn.Module):
    """A function of a weight and an input."""

    def __init__(self, function, weight):
        super().__init__()
        self.function, self.weight = function, nn.Parameter(weight)

    def forward(self, *inputs):
        return self.function(self.weight, *inputs)


def first_sum(output):
    return (output if isinstance(output, torch.Tensor) else output[0]).sum()


def flops(net, *inputs):
    return d2c.trace(net, *inputs).calls[0].flops


@pytest.mark.parametrize("name", NETS)
def test_flops_are_those_that_torch_counts_where_no_kernel_is_fused(name):
    net, inputs = NETS[name]()
    twin = d2c.lazy.meta_twin(net)
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        twin(*(X.to("meta") for X in inputs))
    assert flops(net, *inputs) == counter.get_total_flops()


@pytest.mark.parametrize("name", NETS)
def test_flops_of_a_backward_pass_are_those_that_torch_counts(name):
    net, inputs = NETS[name]()
    twin = d2c.lazy.meta_twin(net)  # whose kernels are not fused
    inputs = [X.to("meta") for X in inputs]
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        output = twin(*inputs)
        before = counter.get_total_flops()
        first_sum(output).backward()
    report = d2c.trace(d2c.lazy.meta_twin(net), *inputs, backward=True, loss_fn=first_sum)
    assert report.calls[0].backward_flops == counter.get_total_flops() - before


def test_flops_of_a_real_backward_pass_are_those_that_torch_counts():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 5))
    X = torch.rand(2, 3, 6, 6)
    with FlopCounterMode(display=False) as counter:
        net(X).sum().backward()
    call = d2c.trace(net, X, backward=True).calls[0]
    assert call.flops + call.backward_flops == counter.get_total_flops()


def test_flops_of_a_block_are_those_of_the_calls_inside():
    net, inputs = NETS["vit"]()
    calls = d2c.trace(net, *inputs).calls
    for position, call in enumerate(calls):
        inside = sum(inner.flops for inner in calls if inner.parent == position)
        assert call.flops >= inside
        assert call.flops == inside or not inside


def test_flops_count_in_inference_mode_too():
    with torch.inference_mode():
        assert flops(nn.Linear(2, 3), torch.rand(1, 2)) == 12


def nested(*sizes, layout=torch.strided):
    return torch.nested.nested_tensor([torch.rand(size) for size in sizes], layout=layout)


W = torch.rand(6, 5)
SPARSE = torch.diag(torch.tensor([1.0, 2.0, 0.0, 4.0, 5.0]))  # four entries
BY_HAND = {
    "a matrix and a vector": lambda: (Apply(torch.mv, W), [torch.rand(5)], 2 * 30),
    "added to a vector": lambda: (
        Apply(lambda w, x: torch.addmv(x, w, x[:5]), W), [torch.rand(6)], 2 * 30,
    ),
    "two vectors": lambda: (Apply(torch.dot, W[0]), [torch.rand(5)], 2 * 5),
    "an outer product, added": lambda: (
        Apply(lambda w, x: torch.addr(w, x, x[:5]), W), [torch.rand(6)], 2 * 30,
    ),
    "batches, added": lambda: (
        Apply(lambda w, x: torch.addbmm(w, x, x.transpose(1, 2)), torch.rand(2, 2)),
        [torch.rand(3, 2, 4)], 3 * 2 * 2 * 4 * 2,
    ),
    "bilinear": lambda: (
        nn.Bilinear(5, 6, 7),
        [torch.rand(2, 5), torch.rand(2, 6)], 2 * 2 * 7 * 30 + 2 * 2 * 7 * 6,
    ),
    "einsum": lambda: (
        Apply(lambda w, x, y: torch.einsum("ni,kij,nj->nk", x, w, y), torch.rand(7, 5, 6)),
        [torch.rand(2, 5), torch.rand(2, 6)], 2 * 2 * 7 * 30 + 2 * 2 * 7 * 6,
    ),
    "a sparse matrix": lambda: (
        Apply(lambda w, x: x.to_sparse() @ w, torch.rand(5, 3)), [SPARSE], 2 * 4 * 3,
    ),
    "a sparse matrix in rows": lambda: (
        Apply(lambda w, x: x.to_sparse_csr() @ w, torch.rand(5, 3)), [SPARSE], 2 * 4 * 3,
    ),
    "a sparse matrix on the right": lambda: (
        Apply(lambda w, x: w @ x.to_sparse_csr(), torch.rand(3, 5)), [SPARSE], 2 * 4 * 3,
    ),
    "a sparse matrix and a vector": lambda: (
        Apply(lambda w, x: x.to_sparse_csr() @ w, torch.rand(5)), [SPARSE], 2 * 4,
    ),
    "two sparse matrices": lambda: (
        Apply(lambda w, x: (x.to_sparse() @ x.to_sparse()).to_dense() * w, torch.rand(5)),
        [SPARSE], 2 * 4,
    ),
    "two sparse matrices by a function": lambda: (
        Apply(lambda w, x: torch.sparse.mm(x.to_sparse(), x.to_sparse()).to_dense() * w,
              torch.rand(5)), [SPARSE], 2 * 4,
    ),
    "complex numbers": lambda: (
        Apply(torch.matmul, torch.rand(3, 4, dtype=torch.cfloat)),
        [torch.rand(4, 2, dtype=torch.cfloat)], 8 * 3 * 4 * 2,
    ),
    "a nested tensor": lambda: (
        Apply(lambda w, x: F.linear(x, w).to_padded_tensor(0.0), W),
        [nested((2, 5), (3, 5))], 2 * 5 * 5 * 6,
    ),
    "a jagged tensor": lambda: (
        Apply(lambda w, x: F.linear(x, w).values(), W),
        [nested((2, 5), (3, 5), layout=torch.jagged)], 2 * 5 * 5 * 6,
    ),
    "grouped products": lambda: (
        Apply(
            lambda w, x, ends: torch._grouped_mm(x, w, offs=ends),
            torch.rand(2, 16, 8, dtype=torch.bfloat16),
        ),
        [torch.rand(8, 16, dtype=torch.bfloat16), torch.tensor([3, 8], dtype=torch.int32)],
        2 * 8 * 16 * 8,
    ),
    "time, batch, channel": lambda: (
        Apply(lambda w, x: torch.conv_tbc(x, w, torch.zeros(4)), torch.rand(3, 3, 4)),
        [torch.rand(5, 2, 3)], 2 * 3 * 2 * 4 * 3 * 3,
    ),
    "an LSTM": lambda: (nn.LSTM(4, 8), [torch.rand(5, 2, 4)], 2 * 10 * (32 * 4 + 32 * 8)),
    "an LSTM both ways": lambda: (
        nn.LSTM(4, 8, bidirectional=True), [torch.rand(5, 2, 4)], 2 * 2 * 10 * (32 * 4 + 32 * 8),
    ),
    "an LSTM with a projection": lambda: (
        nn.LSTM(4, 8, proj_size=2), [torch.rand(5, 2, 4)], 2 * 10 * (32 * 4 + 32 * 2 + 2 * 8),
    ),
    "a GRU": lambda: (nn.GRU(4, 8), [torch.rand(5, 2, 4)], 2 * 10 * (24 * 4 + 24 * 8)),
    "grouped queries": lambda: (
        Apply(
            lambda w, k: F.scaled_dot_product_attention(w, k, k, enable_gqa=True),
            torch.rand(2, 8, 5, 4),
        ),
        [torch.rand(2, 2, 3, 4)], 2 * (2 * 2 * 8 * 5 * 3 * 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.filterwarnings("ignore:.*nested tensors", "ignore:.*Sparse")
def test_flops_are_those_by_hand(name):
    net, inputs, wanted = BY_HAND[name]()
    assert flops(net, *inputs) == wanted


@pytest.mark.parametrize("grad", [True, False])
def test_the_fast_path_of_a_transformer_counts_as_the_slow_one(grad):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    X = torch.rand(2, 3, 16)
    with torch.set_grad_enabled(grad):
        assert flops(layer, X) == 2 * 6 * (3 * 256 + 256 + 2 * 512) + 2 * 2 * 2 * 9 * 16


def test_gradients_of_recurrent_layers_cost_twice_the_forward_pass():
    net = nn.LSTM(4, 8)
    X = torch.rand(5, 2, 4, requires_grad=True)
    call = d2c.trace(net, X, backward=True).calls[0]
    assert call.backward_flops == 2 * call.flops


@torch.library.custom_op("d2lcompute_test::product", mutates_args=())
def product(weight: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    return X @ weight


def test_what_computes_with_a_weight_and_has_no_formula_is_named():
    report = d2c.trace(
        Apply(lambda w, x: product(w, x) + product(w, x), W.T.clone()), torch.rand(2, 5)
    )
    assert report.uncounted == {"d2lcompute_test.product": 2}
    assert "not counted: d2lcompute_test.product × 2" in repr(report)


@pytest.mark.parametrize(
    "net",
    [
        nn.Embedding(5, 3),
        Apply(lambda w, x: w[x].sum() + torch.cat([w, w]).softmax(1).mean() + (w * 2).norm(), W),
        nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm([2, 4]), nn.Dropout(), nn.Flatten()),
    ],
)  # fmt: skip
def test_what_moves_scales_or_sums_up_is_no_product(net):
    report = d2c.trace(net, torch.tensor([[0, 1]]))
    assert (report.calls[0].flops, report.uncounted) == (0, {})


def test_a_backward_pass_needs_an_output_to_begin_at():
    class Silent(nn.Module):
        def forward(self, X):
            return None

    report = d2c.trace(Silent(), torch.rand(2, 4), backward=True)
    assert str(report.error).startswith("`backward` must find a floating output")
