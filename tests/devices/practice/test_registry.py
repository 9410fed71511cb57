import pytest
import torch
from torch import nn

pytestmark = pytest.mark.usefixtures("practice")


@pytest.fixture
def custom():
    with torch.library._scoped_library("practice_test", "FRAGMENT") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x * 2 if x.is_cpu else 1 / 0, "CPU")
        yield torch.ops.practice_test.twice


def test_an_operator_of_another_library_runs_by_its_cpu_kernel(custom):
    y = custom(torch.ones(2, device="practice:1"))
    assert (y.tolist(), y.device) == ([2, 2], torch.device("practice:1"))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_nested_tensors_say_which_layout_works():
    parts = [torch.ones(2, device="practice:0"), torch.ones(3, device="practice:0")]
    with pytest.raises(NotImplementedError, match="take no nested tensors of the strided layout"):
        torch.nested.nested_tensor(parts) * 2
    nested = torch.nested.nested_tensor(parts, layout=torch.jagged)
    assert (nested * 2).device == torch.device("practice:0")


def test_pinning_gives_a_copy_where_nothing_needs_it():
    x = torch.ones(2)
    pinned = x.pin_memory()
    assert pinned is not x
    assert torch.equal(pinned, x)


def test_a_stream_may_be_named_for_what_it_is_worth():
    x = torch.ones(2, device="practice:1")
    assert x.record_stream(torch.accelerator.current_stream()) is None


def test_meta_and_practice_devices_exchange_shapes():
    net = nn.Linear(3, 2, device="meta").to_empty(device="practice:1")
    assert net.weight.device == torch.device("practice:1")
    assert net.to("meta").weight.is_meta
