import copy
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

pytestmark = pytest.mark.usefixtures("practice")

CHANGES = {
    "x[0] += 1": lambda x: x[0].add_(1),
    "x[..., 0] = 3": lambda x: x.__setitem__((..., 0), 3),
    "view": lambda x: x.reshape(-1)[:3].mul_(2),
    "transpose": lambda x: x.mT.sub_(1),
    "diagonal": lambda x: x.diagonal(dim1=-2, dim2=-1).zero_(),
    "as_strided": lambda x: x.as_strided((2, 2), (1, 2)).add_(5),
    "unfold": lambda x: x.unfold(-1, 2, 1).add_(1),
    "mask": lambda x: x.__setitem__(x > 4, 0),
    "index": lambda x: x.__setitem__(torch.tensor([1]), 7),
    "expand": lambda x: x.copy_(x[:1].clone().expand_as(x)),
    "split": lambda x: x.chunk(2)[1].neg_(),
    "squeeze": lambda x: x.unsqueeze_(0).squeeze_(0).t_().t_(),
    "bytes": lambda x: x.view(torch.int32).bitwise_and_(-4),
    "data": lambda x: x.data.add_(1),
    "sort": lambda x: x.copy_(x.sort(descending=True).values),
}


@given(st.lists(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=8))
def test_views_and_changes_in_place_alias_as_on_the_cpu(names):
    here = torch.arange(12.0).view(4, 3)
    there = here.to("practice:1")
    whole_here, whole_there = here.view(-1), there.view(-1)
    for name in names:
        CHANGES[name](here)
        CHANGES[name](there)
    assert there.device == torch.device("practice:1")
    torch.testing.assert_close(there.cpu(), here, rtol=0, atol=0)
    torch.testing.assert_close(whole_there.cpu(), whole_here, rtol=0, atol=0)


def test_a_practice_tensor_is_a_plain_tensor():
    x = torch.ones(2, device="practice:0")
    assert type(x) is torch.Tensor
    assert not x.is_cpu
    assert x.is_practice
    assert weakref.ref(x)() is x
    assert type(nn.Parameter(x)) is nn.Parameter
    assert x.untyped_storage().device == x.device


def test_data_moves_a_parameter_between_devices():
    weight = nn.Parameter(torch.ones(2))
    weight.data = torch.zeros(3, device="practice:1")
    weight.data.add_(2)
    assert weight.device == torch.device("practice:1")
    assert weight.tolist() == [2, 2, 2]
    weight.data = weight.data.cpu()
    assert weight.is_cpu


def test_no_view_reaches_beyond_its_bytes():
    x = torch.ones(4, device="practice:0")
    with pytest.raises(RuntimeError, match="out of bounds for storage of size 16"):
        x.as_strided((5,), (1,))
    with pytest.raises(RuntimeError, match="invalid for input of size 4"):
        x.view(3)


def test_resizing_keeps_the_old_values_and_finds_new_bytes():
    x = torch.arange(3.0, device="practice:0")
    tail = x[1:]
    assert x.resize_(2, 3)[0].tolist() == [0, 1, 2]
    assert x.resize_(2).tolist() == [0, 1]
    assert tail.tolist() == [1, 2]
    assert x.resize_as_(torch.ones(3, 4, device="practice:0")).shape == (3, 4)
    image = torch.ones(0, device="practice:0").resize_(
        (1, 2, 3, 3), memory_format=torch.channels_last
    )
    assert image.is_contiguous(memory_format=torch.channels_last)


def test_set_shares_or_clears():
    x, y = torch.arange(4.0, device="practice:0"), torch.zeros(0, device="practice:0")
    y.set_(x)[0] = 9
    assert x[0] == 9
    assert y.set_(x.untyped_storage(), 1, (3,)).tolist() == [1, 2, 3]
    assert y.set_(x.untyped_storage()).tolist() == [9, 1, 2, 3]
    assert y.set_().numel() == 0


def test_tensors_that_share_bytes_share_them_in_a_deep_copy():
    x = torch.arange(4.0, device="practice:0")
    whole, part = copy.deepcopy((x, x[1:]))
    part.zero_()
    assert whole.tolist() == [0, 0, 0, 0]
    assert x.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.bfloat16, torch.int8, torch.bool, torch.cfloat]
)
def test_every_type_lives_there(dtype):
    x = torch.tensor([0, 1], device="practice:1").to(dtype)
    assert x.dtype is dtype
    torch.testing.assert_close(x.cpu(), torch.tensor([0, 1]).to(dtype))


def test_complex_numbers_keep_their_lazy_conjugates():
    z = torch.tensor([1 + 2j, 3 - 1j])
    there = z.to("practice:0").conj()
    assert there.is_conj()
    torch.testing.assert_close(there.imag.cpu(), z.conj().imag)
    there.imag.mul_(2)
    torch.testing.assert_close((there * 2).cpu(), torch.tensor([2 - 8j, 6 + 4j]))
    torch.testing.assert_close(torch.fft.fft(there).cpu(), torch.fft.fft(there.cpu()))


def test_storages_are_made_and_copied_without_a_tensor():
    storage = torch.UntypedStorage(8, device="practice:1")
    assert (storage.device, storage.nbytes()) == (torch.device("practice:1"), 8)
    moved = torch.ones(2).untyped_storage().to(device="practice:0")
    assert moved.device == torch.device("practice:0")
    assert torch.empty(0, device="practice:0").set_(moved).tolist() == [1, 1]
    assert moved.tolist() == moved.cpu().tolist() == moved.clone().tolist()


def test_inference_tensors_are_inference_tensors():
    x = torch.ones(2, device="practice:0")
    with torch.inference_mode():
        y = (x * 2).add_(1)
    assert y.is_inference()
    assert (y + x).tolist() == [4, 4]
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor"):
        y.add_(1)
    assert not (x * 2).is_inference()


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_tensors_are_refused():
    with pytest.raises(NotImplementedError, match="Practice devices take no quantized tensors"):
        torch.quantize_per_tensor(torch.ones(2, device="practice:0"), 0.1, 0, torch.qint8)


def test_bytes_outlive_the_cpu_tensor_they_came_from():
    x = torch.arange(1000.0)
    y = x.to("practice:0")
    x.zero_()
    del x
    assert y.sum() == 499_500
    assert torch.ones(3, device="practice:0").to("practice:1").to("practice:0").sum() == 3


quiet = pytest.mark.filterwarnings("ignore:Sparse (CSR|invariant)")
DENSE = torch.tensor([[0.0, 1, 2], [3, 0, 0]])
LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc]


@quiet
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


@quiet
@pytest.mark.parametrize("layout", LAYOUTS[:2])
def test_products_and_changes_in_place_work(layout):
    there = DENSE.to_sparse(layout=layout).to("practice:1")
    vector = torch.arange(3.0, device="practice:1")[:, None]
    torch.testing.assert_close((there @ vector).cpu(), DENSE @ vector.cpu())
    torch.testing.assert_close((there * 2).to_dense().cpu(), DENSE * 2)
    there.neg_()
    torch.testing.assert_close(there.to_dense().cpu(), -DENSE)


@quiet
def test_parts_are_practice_tensors_and_merge():
    indices = torch.tensor([[0, 0], [1, 1]], device="practice:1")
    there = torch.sparse_coo_tensor(indices, torch.ones(2, device="practice:1"), (2, 2))
    assert there.coalesce().values().tolist() == [2]
    assert there.coalesce().indices().device == torch.device("practice:1")
    assert copy.deepcopy(there).device == torch.device("practice:1")
    with pytest.raises(RuntimeError, match=r"backend of indices .* must match backend of values"):
        torch.sparse_coo_tensor(indices, torch.ones(2), (2, 2)) + there


@quiet
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


@quiet
@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin"])
def test_reducing_products_know_where_their_gradient_goes(reduce):
    found = []
    for device in ("cpu", "practice:0"):
        matrix = DENSE.to_sparse_csr().to(device).requires_grad_()
        other = torch.arange(6.0).view(3, 2).to(device).requires_grad_()
        result = torch.sparse.mm(matrix, other, reduce)
        found.append(torch.autograd.grad(result, other, torch.ones_like(result))[0].cpu())
    torch.testing.assert_close(*found, rtol=0, atol=0)
