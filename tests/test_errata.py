"""Each row of the chapter's errata: the book's version fails where ours passes.

And what the chapter says of torch without showing it.
"""

import copy
import pickle
import re
import signal
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute import initializers as init

# E1: the layer of one's own computes with `.data`


class BookLinear(nn.Module):
    def __init__(self, in_units, units):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_units, units))
        self.bias = nn.Parameter(torch.randn(units))

    def forward(self, X):
        return F.relu(X @ self.weight.data + self.bias.data)


def trains(layer):
    """Whether one step of descent changes what an untrained head behind `layer` sees."""
    before = copy.deepcopy(layer.state_dict())
    net, X = nn.Sequential(layer, nn.Linear(8, 1)), torch.randn(16, 5)
    net(X).sum().backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    return any(not torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_E1_the_layer_of_ones_own_trains():
    assert not trains(BookLinear(5, 8))
    assert trains(d2c.MyLinear(5, 8))
    assert trains(d2c.MyDense(8, 5))


# E2: Sequential from scratch drops repeated entries


class BookSequential(nn.Module):
    def __init__(self, *args):
        super().__init__()
        for idx, module in enumerate(args):
            self.add_module(str(idx), module)

    def forward(self, X):
        for module in self.children():
            X = module(X)
        return X


class PlusOne(nn.Module):
    def forward(self, X):
        return X + 1


def test_E2_a_repeated_entry_runs_every_time():
    plus_one, zero = PlusOne(), torch.zeros(())
    assert BookSequential(plus_one, plus_one, plus_one)(zero) == 1
    assert d2c.MySequential(plus_one, plus_one, plus_one)(zero) == 3
    assert nn.Sequential(plus_one, plus_one, plus_one)(zero) == 3


# E3, E6: the list of devices, and the device without a number


def book_try_all_gpus():
    return [torch.device(f"cuda:{i}") for i in range(torch.cuda.device_count())]


def test_E3_a_machine_without_accelerator_still_has_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0)
    assert book_try_all_gpus() == []
    assert d2c.try_all_gpus() == [d2c.cpu()]


def test_E6_every_device_is_named_with_its_number():
    assert torch.device("cuda") != torch.device("cuda:0")
    assert d2c.gpu() == d2c.gpu(0) != torch.device(d2c.gpu().type)


# E4: the constant weight is a plain attribute


class BookFixedHiddenMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.rand_weight = torch.rand((20, 20))
        self.linear = nn.Linear(20, 20)

    def forward(self, X):
        X = self.linear(X)
        X = F.relu(X @ self.rand_weight + 1)
        X = self.linear(X)
        while X.abs().sum() > 1:
            X /= 2
        return X.sum()


def test_E4_a_loaded_net_computes_what_the_saved_one_did():
    X = torch.rand(2, 20)
    for block, equal in [(BookFixedHiddenMLP, False), (d2c.FixedHiddenMLP, True)]:
        saved, loaded = block(), block()
        loaded.load_state_dict(saved.state_dict())
        assert torch.equal(saved(X), loaded(X)) is equal


def test_E4_the_constant_follows_double_and_to():
    X = torch.rand(2, 20, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="dtype"):
        BookFixedHiddenMLP().double()(X)
    assert d2c.FixedHiddenMLP().double()(X).dtype == torch.float64
    assert BookFixedHiddenMLP().to("meta").rand_weight.device.type == "cpu"
    assert d2c.FixedHiddenMLP().to("meta").rand_weight.device.type == "meta"


# E13: the loop never ends on an infinite input


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this system")
def test_E13_an_infinite_input_ends_in_a_clear_error():
    def interrupt(*_):
        raise TimeoutError("the loop did not end")

    book, ours = BookFixedHiddenMLP(), d2c.FixedHiddenMLP()
    with torch.no_grad():
        for net in (book, ours):
            net.linear.weight.fill_(0.1)
    infinite = torch.full((2, 20), float("inf"))
    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(TimeoutError, match="did not end"):
            book(infinite)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ValueError, match="got infinity or NaN"):
        ours(infinite)


# E14: an exercise names a block that the edition no longer has


def test_E14_FancyMLP_exists_and_runs():
    net = d2c.FancyMLP()
    assert net(torch.rand(2, 20)).shape == ()
    assert_close(copy.deepcopy(net)(torch.ones(2, 20)), net(torch.ones(2, 20)))


# E15: writing `param.data` between forward and backward goes unnoticed


def half_way(weight):
    return (weight * weight).sum()  # its gradient at 1 is 2


def test_E15_the_books_write_gives_a_wrong_gradient():
    weight = nn.Parameter(torch.ones(1))
    loss = half_way(weight)
    weight.data[:] = 2
    loss.backward()
    assert weight.grad.item() == 4


def test_E15_autograd_notices_set_data():
    weight = nn.Parameter(torch.ones(1))
    loss = half_way(weight)
    d2c.set_data(weight, 2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    assert weight.grad is None


# E11: a lazy layer that was loaded does not know it


def test_E11_a_loaded_lazy_layer_shows_its_sizes(tmp_path):
    sized, book, ours = nn.Linear(3, 4), nn.LazyLinear(4), nn.LazyLinear(4)
    book.load_state_dict(sized.state_dict())
    assert repr(book) == "LazyLinear(in_features=0, out_features=4, bias=True)"
    d2c.save_parameters(sized, tmp_path / "layer")
    d2c.load_parameters(ours, tmp_path / "layer")
    assert repr(ours) == repr(sized)


# E12: saving a lazy net that never ran works, loading it does not


def test_E12_a_lazy_net_is_not_saved(tmp_path):
    torch.save(nn.LazyLinear(4).state_dict(), tmp_path / "book")
    with pytest.raises(pickle.UnpicklingError, match="UninitializedParameter"):
        torch.load(tmp_path / "book")
    with pytest.raises(ValueError, match=r"got lazy ones \(weight, bias\).*do materialize"):
        d2c.save_parameters(nn.LazyLinear(4), tmp_path / "ours")


# E16: torch's way of loading without a copy cuts ties


def test_E16_loading_keeps_ties(tmp_path):
    def tied():
        net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        net[1].weight = net[0].weight
        return net

    book, ours = tied(), tied()
    state = {name: value.clone() for name, value in tied().state_dict().items()}
    book.load_state_dict(state, assign=True)
    assert book[1].weight is not book[0].weight
    torch.save(state, tmp_path / "file")
    d2c.load_parameters(ours, tmp_path / "file")
    assert ours[1].weight is ours[0].weight


# E5: the default range depends on the size of the input only


@pytest.mark.parametrize("outputs", [10, 1000])
def test_E5_the_default_range_depends_on_the_input_size_only(outputs):
    weight = nn.Linear(100, outputs).weight
    assert weight.abs().max().item() == pytest.approx(0.1, rel=0.02)


# E8: visitors that skip by type, and want a bias


def book_init_normal(module):
    if type(module) is nn.Linear:
        nn.init.normal_(module.weight, mean=0, std=0.01)
        nn.init.zeros_(module.bias)


class OwnLinear(nn.Linear):
    pass


def test_E8_the_books_visitor_skips_subclasses_silently():
    book, ours = OwnLinear(20, 256), OwnLinear(20, 256)
    assert book.apply(book_init_normal).weight.std() > 0.1
    assert ours.apply(init.init_normal).weight.std() < 0.02


def test_E8_the_books_visitor_skips_lazy_layers_silently():
    book, ours, waits = [nn.Sequential(nn.LazyLinear(256)) for _ in range(3)]
    book.apply(book_init_normal)(torch.rand(2, 20))
    assert book[0].weight.std() > 0.1
    with pytest.raises(ValueError, match=r"got LazyLinear.*do materialize\(net, X\) before"):
        ours.apply(init.init_normal)
    d2c.initialize(waits, init.Normal(0.01))
    waits(torch.rand(2, 20))
    assert waits[0].weight.std() < 0.02


def test_E8_the_books_visitor_fails_without_a_bias():
    with pytest.raises(AttributeError, match="has no attribute"):
        nn.Linear(20, 256, bias=False).apply(book_init_normal)
    ours = nn.Linear(20, 256, bias=False).apply(init.init_normal)
    assert ours.weight.std() < 0.02


# E9: initializing the empty tensor of a lazy layer


def test_E9_what_is_written_into_a_lazy_layer_is_lost():
    book, ours = nn.LazyLinear(256), nn.LazyLinear(256)
    book.weight.data.normal_(0, 0.01)
    d2c.initialize(ours, init.Normal(0.01))
    for layer in (book, ours):
        layer(torch.rand(2, 20))
    assert book.weight.std() > 0.1
    assert ours.weight.std() < 0.02


# E10: the dry run by hand


def book_apply_init(self, inputs, visitor=None):
    self.forward(*inputs)
    if visitor is not None:
        self.net.apply(visitor)


def test_E10_the_dry_run_needs_no_attribute_and_leaves_no_trace():
    book, ours = [nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4)) for _ in range(2)]
    X = [torch.rand(2, 20)]
    with pytest.raises(AttributeError, match="no attribute 'net'"):
        book_apply_init(book, X, init.init_normal)
    d2c.apply_init(ours, X, init.init_normal)
    assert ours[0].weight.std() < 0.02
    assert book[1].num_batches_tracked == 1
    assert ours[1].num_batches_tracked == 0
    assert_close(ours[1].running_mean, torch.zeros(4))


# E7: `X.cuda(1)` has no fallback


@pytest.mark.skipif(torch.cuda.device_count() >= 2, reason="here the book's cell runs")
def test_E7_the_cells_of_two_devices_run_on_every_machine(practice):
    X = torch.ones(2, 3)
    with pytest.raises((AssertionError, RuntimeError), match=r"CUDA|cuda"):
        X.cuda(1)
    Z = X.to(d2c.gpu(1))
    assert Z.device == practice[1]
    assert_close((Z + Z).cpu(), X + X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there the file can be loaded")
def test_a_file_from_a_gpu_needs_map_location_where_there_is_none(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save({"weight": torch.ones(2)}, tmp_path / "gpu.pt")
    with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device but"):
        torch.load(tmp_path / "gpu.pt")
    assert torch.load(tmp_path / "gpu.pt", map_location="cpu")["weight"].device.type == "cpu"


def test_a_new_adam_moves_every_parameter_by_the_learning_rate():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter], lr=0.02)
    (parameter * torch.tensor([1e-3, 10.0])).sum().backward()
    optimizer.step()
    assert_close(parameter.detach(), torch.full((2,), 0.98))


# What the text of the chapter says of torch, and no cell of it shows


def one_step(make_optimizer, before=0):
    """Move a net to another device after its optimizer was made, and make a step."""
    net, X = nn.Linear(2, 1), torch.ones(1, 2)
    optimizer = make_optimizer(net.parameters())
    for _ in range(before):
        net(X).sum().backward()
        optimizer.step()
    net.to(d2c.gpu(0))
    optimizer.zero_grad()
    net(X.to(d2c.gpu(0))).sum().backward()
    optimizer.step()


def test_an_optimizer_made_before_the_move_fails_where_it_has_a_state(practice):
    one_step(lambda p: torch.optim.SGD(p, lr=0.1), before=1)
    one_step(lambda p: torch.optim.Adam(p, lr=0.1))
    for make_optimizer, before in ((torch.optim.Adagrad, 0), (torch.optim.Adam, 1)):
        with pytest.raises(RuntimeError, match="device"):
            one_step(make_optimizer, before)


def test_what_is_frozen_moves_once_more_if_it_has_an_old_gradient():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    parameter.sum().backward()
    parameter.requires_grad_(False)
    optimizer.step()
    assert_close(parameter, torch.full((2,), 0.9))


def test_momentum_keeps_one_number_for_each_parameter_and_adam_two():
    kept = {}
    for make_optimizer in (lambda p: torch.optim.SGD(p, momentum=0.9), torch.optim.Adam):
        parameter = nn.Parameter(torch.ones(100))
        optimizer = make_optimizer([parameter])
        parameter.sum().backward()
        optimizer.step()
        state = optimizer.state[parameter].values()
        kept[type(optimizer)] = sum(value.numel() for value in state if value.numel() > 1)
    assert list(kept.values()) == [100, 200]


def test_a_total_of_losses_keeps_the_memory_of_all_and_the_best_that_of_one(practice):
    wide, device = nn.Linear(100, 1).to(d2c.gpu(0)), d2c.gpu(0)

    def grown(keep):
        start, kept = torch.accelerator.memory_allocated(0), None
        for _ in range(10):
            kept = keep(kept, wide(2 * torch.ones(10, 100, device=device)).sum())
        return torch.accelerator.memory_allocated(0) - start

    one = 4 * 10 * 100  # bytes of what backward needs of a batch
    assert grown(lambda kept, loss: loss if kept is None else kept + loss) >= 10 * one
    assert one <= grown(lambda kept, loss: loss) < 2 * one
    assert grown(lambda kept, loss: loss.detach()) < one


def test_each_step_with_a_retained_graph_goes_back_further():
    cell, h, sizes = nn.RNNCell(2, 2), torch.zeros(1, 2), []
    for _ in range(3):
        h = cell(torch.ones(1, 2), h)
        h.sum().backward(retain_graph=True)
        seen, pending = set(), [h.grad_fn]
        while pending:
            node = pending.pop()
            if node is not None and node not in seen:
                seen.add(node)
                pending += [below for below, _ in node.next_functions]
        sizes.append(len(seen))
    assert sizes == sorted(set(sizes))


def test_anomaly_detection_names_the_operation_whose_gradient_is_not_a_number():
    X = torch.zeros(1, requires_grad=True)
    with (
        pytest.warns(UserWarning, match="Error detected in"),
        torch.autograd.set_detect_anomaly(True),
        pytest.raises(RuntimeError, match=r"SqrtBackward0.*nan"),
    ):
        (X.sqrt() * 0).backward()


def test_dropout_as_a_function_drops_in_evaluation_too():
    class Net(nn.Module):
        def forward(self, X):
            return F.dropout(X)

    assert (Net().eval()(torch.ones(1000)) == 0).any()
    assert F.dropout(torch.ones(10), training=False).eq(1).all()


@pytest.mark.parametrize("block", ["FixedHiddenMLP", "FancyMLP"])
def test_a_loop_that_looks_at_values_breaks_the_compiled_graph(block):
    code = f"""
import torch, d2lcompute as d2c
torch.compile(d2c.{block}(), backend="eager", fullgraph=True)(torch.rand(2, 20))
"""
    # In a process of its own: the compiler remembers code that it has met before.
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert re.search(r"data-dependent|Tensor\.item|Data-dependent", ended.stderr)
