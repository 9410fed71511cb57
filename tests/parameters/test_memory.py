import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.parameters.memory import count_once, overlapping


@st.composite
def views(draw):
    """Draw views of one tensor: any size, stride and offset that stay inside."""
    base = torch.arange(16.0)
    found = []
    for _ in range(draw(st.integers(1, 4))):
        size = draw(st.lists(st.integers(1, 3), max_size=2))
        stride = [draw(st.integers(0, 3)) for _ in size]
        reach = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        found.append(base.as_strided(size, stride, draw(st.integers(0, 15 - reach))))
    return found


def elements(view):
    return set(view.reshape(-1).tolist())  # every element of the base holds its own position


@given(views())
def test_views_are_grouped_if_and_only_if_they_share_elements(tensors):
    groups = [{i} for i in range(len(tensors))]
    for i, left in enumerate(tensors):
        for j, right in enumerate(tensors[:i]):
            if elements(left) & elements(right):
                mine = next(g for g in groups if i in g)
                other = next(g for g in groups if j in g)
                if mine is not other:
                    groups.remove(other)
                    mine |= other
    assert overlapping(tensors) == sorted(sorted(g) for g in groups if len(g) > 1)


@given(views())
def test_shared_elements_count_once(tensors):
    shared = {index for group in overlapping(tensors) for index in group}
    alone = sum(t.numel() for i, t in enumerate(tensors) if i not in shared)
    together = set().union(*(elements(tensors[i]) for i in shared)) if shared else set()
    assert count_once(tensors) == alone + len(together)


def test_slices_of_a_flat_buffer_are_tied_to_the_buffer_but_not_to_each_other():
    flat = torch.zeros(10)
    slices = list(flat.split(5))
    assert overlapping(slices) == []
    assert overlapping([flat, *slices]) == [[0, 1, 2]]
    assert count_once([flat, *slices]) == 10


def test_interleaved_columns_share_nothing():
    matrix = torch.zeros(4, 6)
    assert overlapping([matrix[:, :2], matrix[:, 2:]]) == []
    assert overlapping([matrix[:, :3], matrix[:, 2:]]) == [[0, 1]]
    assert count_once([matrix[:, :3], matrix[:, 2:]]) == 24


def test_memory_is_compared_even_where_the_storages_differ():
    array = torch.zeros(4).numpy()
    assert overlapping([torch.from_numpy(array), torch.from_numpy(array[2:])]) == [[0, 1]]


def test_a_view_as_another_type_shares_the_bytes():
    tensor = torch.zeros(4)
    assert overlapping([tensor, tensor.view(torch.int16)]) == [[0, 1]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.UninitializedParameter(),
        lambda: torch.empty(0),
        lambda: torch.empty(3, 0),
        lambda: torch.empty(2, device="meta"),
        lambda: torch.eye(2).to_sparse(),
        lambda: torch.eye(2).to_sparse_csr(),
    ],
    ids=["lazy", "empty", "empty matrix", "meta", "sparse", "compressed"],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_tensors_without_an_address_share_nothing(make):
    assert overlapping([make(), make()]) == []


def test_empty_slices_of_one_tensor_share_nothing():
    tensor = torch.zeros(4)
    assert overlapping([tensor, tensor[2:2], tensor[2:2]]) == []


def test_meta_tensors_share_if_they_are_views_of_one_another():
    base = torch.empty(6, device="meta")
    assert overlapping([base.detach(), base.view(2, 3).t(), base[4:]]) == [[0, 1, 2]]
    assert overlapping([base[:3], base[3:]]) == []


def test_fake_tensors_share_nothing():
    fake = pytest.importorskip("torch._subclasses.fake_tensor").FakeTensorMode()
    with fake:
        tensors = [torch.zeros(3), torch.zeros(3)]
    assert overlapping(tensors) == []
