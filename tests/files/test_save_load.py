import hypothesis
import nets
import pytest
import strategies
import torch
from fingerprint import unchanged
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close

import d2lcompute as d2c

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool,
    torch.complex64, torch.complex128,
]  # fmt: skip


with FakeTensorMode():
    FAKE = torch.ones(2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved"


def round_trip(path, data):
    d2c.save(path, data)
    return d2c.load(path)


def same(left, right):
    assert_close(left, right, rtol=0, atol=0, equal_nan=True)


# save and load


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (2, 3, 4)], ids=str)
def test_a_tensor_comes_back_with_values_shape_and_dtype(path, dtype, shape):
    X = (10 * torch.rand(shape)).to(dtype)
    loaded = round_trip(path, X)
    assert (loaded.dtype, loaded.shape) == (dtype, shape)
    assert torch.equal(loaded.to(torch.complex128), X.to(torch.complex128))


def test_lists_and_dicts_come_back_as_such_and_in_order(path):
    X, y = torch.arange(4), torch.zeros(2, 2)
    assert isinstance(round_trip(path, X), torch.Tensor)
    one = round_trip(path, [X])
    assert isinstance(one, list)
    same(one, [X])
    many = [torch.tensor(i) if i % 2 else torch.ones(i, dtype=torch.int8) for i in range(12)]
    same(round_trip(path, many), many)
    both = round_trip(path, {"y": y, "": X, "名": y, "a b\n": X})
    assert list(both) == ["y", "", "名", "a b\n"]
    same(both, {"y": y, "": X, "名": y, "a b\n": X})
    assert round_trip(path, []) == []
    assert round_trip(path, {}) == {}


def test_values_survive_that_are_easy_to_lose(path):
    odd = torch.tensor([0.0, -0.0, float("inf"), float("nan"), 1e-45])
    loaded = round_trip(path, odd)
    assert torch.equal(loaded.view(torch.int32), odd.view(torch.int32))


@pytest.mark.parametrize(
    "view",
    [
        lambda X: X.T,
        lambda X: X[:, 1],
        lambda X: X[::2],
        lambda X: X[0, 0],
        lambda X: X[:1].expand(5, 4),
        lambda X: X.to(torch.complex64).conj(),
        lambda X: torch.complex(X, X).conj().imag,
    ],
)
def test_views_are_saved_as_their_values(path, view):
    X = torch.randn(3, 4)
    same(round_trip(path, view(X)), view(X))


def test_parameters_are_saved_as_tensors_without_gradient(path):
    loaded = round_trip(path, nn.Linear(2, 3).weight)
    assert type(loaded) is torch.Tensor
    assert not loaded.requires_grad


def test_a_tensor_that_comes_twice_is_saved_once_and_loaded_as_one(path):
    X = torch.randn(1000)
    first, second, view = round_trip(path, [X, X.detach(), X[:500]])
    assert first is second
    same(view, X[:500])
    assert path.stat().st_size < 8000
    conjugate = torch.randn(3, dtype=torch.complex64)
    same(round_trip(path, [conjugate, conjugate.conj()]), [conjugate, conjugate.conj()])


def test_what_was_loaded_is_independent_of_the_file(path):
    loaded = round_trip(path, torch.ones(5))
    path.write_bytes(b"\0" * path.stat().st_size)
    loaded += 1
    same(loaded, torch.full((5,), 2.0))


def test_a_dict_of_ours_is_a_safetensors_file(path):
    data = {"a": torch.randn(2, 3), "b": torch.tensor(True), "c": torch.zeros(2, dtype=torch.int8)}
    d2c.save(path, data)
    same(load_file(path), data)


def test_load_reads_what_torch_save_wrote(path):
    for data in (torch.arange(3), [torch.ones(2), torch.zeros(1)], {"x": torch.eye(2)}):
        torch.save(data, path)
        same(d2c.load(path), data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "got int"),
        ((torch.ones(1),), "got tuple"),
        (nn.Linear(1, 1), "do save_parameters"),
        ([torch.ones(1), 2], "got int at '1'"),
        ([[torch.ones(1)]], "got list at '0'; do save each level"),
        ({"x": None}, "got NoneType at 'x'"),
        ({3: torch.ones(1)}, "names as keys, got 3"),
        (torch.ones(2).to_sparse(), "ordinary tensor that holds its values"),
        (torch.ones(2, device="meta"), "ordinary tensor that holds its values"),
        (torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged), "got NestedTensor"),
        (FAKE, "got FakeTensor"),
        (nn.LazyLinear(2).weight, "got a lazy parameter at '0'; do materialize"),
        (torch.empty(2, dtype=torch.bits8), "got torch.bits8"),
        ({"__metadata__": torch.ones(1)}, "other than '__metadata__'"),
    ],
)
def test_other_data_is_refused_and_the_old_file_stays(path, data, message):
    d2c.save(path, torch.ones(1))
    with pytest.raises((TypeError, ValueError), match=message):
        d2c.save(path, data)
    same(d2c.load(path), torch.ones(1))
    assert [entry.name for entry in path.parent.iterdir()] == ["saved"]


def test_more_tensors_than_readers_accept_are_refused(path, monkeypatch):
    monkeypatch.setattr("d2lcompute.files.format.LONGEST_HEADER", 1000)
    with pytest.raises(ValueError, match="for 20 tensors; do stack them"):
        d2c.save(path, [torch.ones(1) for _ in range(20)])
    assert not path.exists()


def test_swapped_arguments_are_named():
    net = nn.Linear(1, 1)
    for verb, arguments in [
        (d2c.save, (torch.ones(1), "path")),
        (d2c.save_parameters, (net, net)),
        (d2c.load_parameters, ("path", net)),
        (d2c.load, (net,)),
    ]:
        with pytest.raises(TypeError, match=r"`path` must be the name of a file, got"):
            verb(*arguments)
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module, got str"):
        d2c.save_parameters("path", net)


# the parameters of nets


@pytest.mark.parametrize("name", sorted(nets.CHAPTER | nets.WELL_KNOWN))
def test_nets_of_well_known_shape_give_the_same_outputs_after_loading(path, name):
    build = (nets.CHAPTER | nets.WELL_KNOWN)[name]
    net, inputs = build()
    clone, _ = build()
    d2c.save_parameters(net, path)
    assert d2c.load_parameters(clone, path).misfits == ()
    same(clone.eval()(*inputs), net.eval()(*inputs))


@hypothesis.given(st.one_of(strategies.plans(), strategies.plans(aliases=True, lazy=False)))
@hypothesis.settings(max_examples=60)
def test_saving_and_loading_is_the_identity_on_outputs(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("plan") / "net"
    net, X = plan.build(), plan.inputs()
    net(X)
    with unchanged(net):
        d2c.save_parameters(net, path)
    # As another parameter's alias is built only where that one is sized, so must its twin be.
    for lazy in (None,) if "alias" in str(plan) else (None, False, True):
        clone = plan.build(lazy=lazy)
        d2c.load_parameters(clone, path)
        same(clone.state_dict(), net.state_dict())
        assert d2c.tied_groups(clone) == d2c.tied_groups(net)
        same(clone.eval()(X), net.eval()(X))


def test_every_reader_of_safetensors_reads_the_parameters(path):
    net = nn.Sequential(nn.Linear(20, 256), nn.BatchNorm1d(256))
    d2c.save_parameters(net, path)
    same(load_file(path), dict(net.state_dict()))
    with safe_open(path, "pt") as file:
        assert file.metadata()["format"] == "pt"
        assert torch.__version__ in file.metadata()["d2lcompute.contents"]


def test_tied_parameters_are_saved_once_and_the_metadata_names_the_tie(path):
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
    d2c.tie(net, "0", "2")
    d2c.save_parameters(net, path)
    assert set(load_file(path)) == {"0.weight", "0.bias"}
    with safe_open(path, "pt") as file:
        known = file.metadata()["d2lcompute.contents"]
    assert '"ties": {"2.weight": "0.weight", "2.bias": "0.bias"}' in known


def test_saving_touches_nothing_of_the_net(path):
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    net(torch.rand(3, 4)).sum().backward()
    with unchanged(net):
        d2c.save_parameters(net, path)
        d2c.compare(net, path)
        d2c.verify(path)


def test_constants_are_saved_and_what_is_not_persistent_is_not(path):
    net = d2c.FixedHiddenMLP()
    net.register_buffer("scratch", torch.ones(2), persistent=False)
    d2c.save_parameters(net, path)
    assert set(load_file(path)) == set(net.state_dict())


def test_a_lazy_net_is_refused_with_the_way_out(path):
    with pytest.raises(ValueError, match=r"got lazy ones \(0.weight, 0.bias.*do materialize"):
        d2c.save_parameters(d2c.mlp(4, 2), path)
    assert not path.exists()


class Remembers(nn.Module):
    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def get_extra_state(self):
        return self.memory

    def set_extra_state(self, state):
        self.memory = state


def test_extra_state_is_kept_if_it_is_a_tensor_and_never_lost_silently(path):
    d2c.save_parameters(nn.Sequential(Remembers(torch.arange(3))), path)
    clone = nn.Sequential(Remembers(torch.zeros(1)))
    d2c.load_parameters(clone, path)
    same(clone[0].memory, torch.arange(3))
    with pytest.raises(TypeError, match=r"got a dict for '0._extra_state'; do torch.save"):
        d2c.save_parameters(nn.Sequential(Remembers({"epoch": 3})), path)


@pytest.mark.parametrize("verb", [d2c.save_parameters, d2c.load_parameters, d2c.compare])
@pytest.mark.parametrize("net", [{}, nn.Linear, None], ids=str)
def test_a_net_that_is_none_is_named(path, verb, net):
    d2c.save(path, {})
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module"):
        verb(net, path)


# reports


def chain(*layers):
    return nn.Sequential(*layers)


def test_compare_reports_every_name_and_changes_nothing(path, golden):
    d2c.save_parameters(chain(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2, bias=False)), path)
    net = chain(nn.LazyLinear(4), nn.ReLU(), nn.Linear(4, 3), nn.LazyBatchNorm1d())
    with unchanged(net):
        report = d2c.compare(net, path)
    golden(repr(report).replace(str(path.parent), "..."))
    assert [match.name for match in report.misfits[:2]] == ["2.weight", "2.bias"]
    assert "<table>" in report._repr_html_()


def test_loading_reports_what_it_did(path, golden):
    net = chain(nn.Linear(3, 3, dtype=torch.float64), nn.Linear(3, 3))
    d2c.save_parameters(net, path)
    twin = chain(nn.LazyLinear(3), nn.LazyLinear(3), nn.Linear(1, 1))
    d2c.tie(twin, "0.bias", "1.bias")
    report = d2c.load_parameters(
        twin, path, allow_missing=True, ignore_extra=True,
        rename={"1.bias": "old.bias"},
    )  # fmt: skip
    golden(repr(report).replace(str(path.parent), "..."))


def test_verify_reports_parts_and_checksums(path, golden):
    net = chain(nn.Linear(2, 2), nn.Linear(2, 2))
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    d2c.tie(net, "0.bias", "1.bias")
    d2c.save_parameters(net, path)
    report = d2c.verify(path)
    assert report.protected
    assert sum(part.bytes for part in report.parts) == path.stat().st_size
    lines = repr(report).replace(str(path.parent), "...").splitlines()
    golden("\n".join(line for line in lines if not line.startswith("header")))
    assert report._repr_html_() == d2c.verify(path)._repr_html_()


# devices


def test_values_go_where_the_parameters_are(path):
    net = nn.Linear(2, 3)
    d2c.save_parameters(net, path)
    assert d2c.load(path, device="meta")["weight"].is_meta
    with pytest.raises(ValueError, match=r"got weight, bias on the meta device; .*to_empty"):
        d2c.load_parameters(nn.Linear(2, 3, device="meta"), path)


def test_a_default_device_changes_nothing(path):
    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    twin = nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(3))
    d2c.tie(net, "0.bias", "1.bias")
    d2c.tie(twin, "0.bias", "1.bias")
    with torch.device("meta"):
        d2c.save(path, {**net.state_dict(), "0.bias": torch.ones(3, device="cpu")})
        with pytest.raises(ValueError, match=r"1\.bias: .* differs from 0\.bias"):
            d2c.load_parameters(twin, path)
        d2c.save_parameters(net, path)
        d2c.load_parameters(twin, path)
        same(d2c.load(path), dict(net.state_dict()))
        d2c.save(path, torch.empty(0, 3, device="cpu"))
        assert d2c.load(path).device == d2c.cpu()
    same(dict(twin.state_dict()), dict(net.state_dict()))
