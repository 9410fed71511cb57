import pytest
import torch
from torch import nn

from d2lcompute.devices.practice.refusals import refusing_to_generate, refusing_to_scatter

pytestmark = pytest.mark.usefixtures("practice")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiling_says_which_backend_to_take():
    net, X = nn.Linear(3, 2).to("practice:1"), torch.ones(4, 3, device="practice:1")
    failed = torch._dynamo.exc.BackendCompilerFailed
    with pytest.raises(failed, match=r'do torch.compile\(net, backend="aot_eager"\)'):
        torch.compile(net)(X)


def test_the_compiler_gets_what_is_on_other_devices():
    seen = []
    compiler = refusing_to_generate(lambda self, model, inputs: seen.append(inputs))
    compiler(None, None, [torch.ones(2), 3])
    assert len(seen) == 1


def test_data_parallel_says_that_it_does_not_run():
    net, X = nn.Linear(3, 2).to("practice:0"), torch.ones(4, 3)
    for batch in (X, X.to("practice:0")):
        with pytest.raises(NotImplementedError, match="DataParallel does not run on practice dev"):
            nn.DataParallel(net, device_ids=[0, 1])(batch)


def test_where_torch_can_scatter_a_batch_it_still_does(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    scatter = refusing_to_scatter(lambda tensor, devices: tensor.chunk(len(devices)))
    assert [len(part) for part in scatter(torch.ones(4), [0, 1])] == [2, 2]
    with pytest.raises(NotImplementedError, match="give each its part of the batch"):
        scatter(torch.ones(4, device="practice:0"), [0, 1])
