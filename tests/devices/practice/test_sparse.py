import copy

import pytest
import torch
from torch import nn

pytestmark = [
    pytest.mark.usefixtures("practice"),
    pytest.mark.filterwarnings("ignore:Sparse (CSR|invariant)"),
]

DENSE = torch.tensor([[0.0, 1, 2], [3, 0, 0]])
LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sparse_tensors_go_there_and_back(layout):
    for there in (
        DENSE.to_sparse(layout=layout).to("practice:1"),
        DENSE.to("practice:1").to_sparse(layout=layout),
    ):
        assert (there.device, there.layout) == (torch.device("practice:1"), layout)
        assert there.values().device == there.device if layout is not torch.sparse_coo else True
        torch.testing.assert_close(there.to_dense().cpu(), DENSE)
        torch.testing.assert_close(there.cpu().to_dense(), DENSE)
        torch.testing.assert_close(there.to("practice:0").to_dense().cpu(), DENSE)


@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_products_and_changes_in_place_work(layout):
    there = DENSE.to_sparse(layout=layout).to("practice:1")
    vector = torch.arange(3.0, device="practice:1")[:, None]
    torch.testing.assert_close((there @ vector).cpu(), DENSE @ vector.cpu())
    torch.testing.assert_close((there * 2).to_dense().cpu(), DENSE * 2)
    there.neg_()
    torch.testing.assert_close(there.to_dense().cpu(), -DENSE)


def test_parts_are_practice_tensors_and_merge():
    indices = torch.tensor([[0, 0], [1, 1]], device="practice:1")
    there = torch.sparse_coo_tensor(indices, torch.ones(2, device="practice:1"), (2, 2))
    assert there.coalesce().values().tolist() == [2]
    assert there.coalesce().indices().device == torch.device("practice:1")
    assert copy.deepcopy(there).device == torch.device("practice:1")
    with pytest.raises(RuntimeError, match=r"backend of indices .* must match backend of values"):
        torch.sparse_coo_tensor(indices, torch.ones(2), (2, 2)) + there


@pytest.mark.parametrize("name", ["SparseAdam", "SGD", "Adagrad"])
def test_sparse_gradients_train_an_embedding(name):
    here, words = nn.Embedding(6, 2, sparse=True), torch.tensor([1, 4, 1])
    there = copy.deepcopy(here).to("practice:1")
    for net in (here, there):
        optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            (net(words.to(net.weight.device)) ** 2).sum().backward()
            optimizer.step()
        assert net.weight.grad.is_sparse
    torch.testing.assert_close(there.weight.cpu(), here.weight, rtol=0, atol=0)


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
def test_reducing_products_know_where_their_gradient_goes(reduce):
    found = []
    for device in ("cpu", "practice:0"):
        matrix = DENSE.to_sparse_csr().to(device).requires_grad_()
        other = torch.arange(6.0).view(3, 2).to(device).requires_grad_()
        result = torch.sparse.mm(matrix, other, reduce)
        found.append(torch.autograd.grad(result, other, torch.ones_like(result))[0].cpu())
    torch.testing.assert_close(*found, rtol=0, atol=0)
