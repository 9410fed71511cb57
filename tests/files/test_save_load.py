import hypothesis
import nets
import pytest
import strategies
import torch
from fingerprint import unchanged
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
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
    ("data", "error", "message"),
    [
        (nn.Linear(1, 1), TypeError, r"got Linear; do save_parameters\(net, path\)"),
        ([torch.ones(1), {2}], TypeError, "got set at '1'; do make it a list or a tuple"),
        ({"a": {"b": torch}}, TypeError, "got module at 'a.b'; do make it a tensor first"),
        ({"a": torch.optim.SGD([torch.ones(1)])}, TypeError, "at 'a'; do save its state_dict()"),
        ({3.5: torch.ones(1)}, TypeError, r"as keys, got 3.5; do use str\(3.5\)"),
        ({"x": {None: 1}}, TypeError, "as keys, got None in 'x'"),
        (torch.ones(2).to_sparse(), d2c.FileError, r"got torch.sparse_coo ones \(0\)"),
        (torch.ones(2, device="meta"), d2c.FileError, r"got ones on the meta device \(0\)"),
        (
            torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged),
            d2c.FileError,
            r"got NestedTensor ones \(0\); nothing was saved, do convert them",
        ),
        (FAKE, d2c.FileError, r"got FakeTensor ones \(0\)"),
        (nn.LazyLinear(2).weight, d2c.FileError, r"got lazy ones \(0\); .* do materialize"),
        (
            torch.empty(2, dtype=torch.bits8),
            d2c.FileError,
            "got torch.bits8 ones, which safetensors",
        ),
        ({"__metadata__": torch.ones(1)}, d2c.FileError, r"does not allow \(__metadata__\)"),
        ({"\ud800": torch.ones(1)}, d2c.FileError, r"does not allow \(\ud800\)"),
    ],
)
def test_other_data_is_refused_and_the_old_file_stays(path, data, error, message):
    d2c.save(path, torch.ones(1))
    with pytest.raises(error, match=message) as caught:
        d2c.save(path, data)
    if error is d2c.FileError:
        assert "saved: refused" in repr(caught.value.report)
    same(d2c.load(path), torch.ones(1))
    assert [entry.name for entry in path.parent.iterdir()] == ["saved"]


def test_data_that_contains_itself_is_refused(path):
    data = [torch.ones(1)]
    data.append({"again": data})
    with pytest.raises(ValueError, match=r"nested at most 100 deep, got more at '1.again.1.again"):
        d2c.save(path, data)
    assert not path.exists()


def test_more_tensors_than_readers_accept_are_refused(path, monkeypatch):
    monkeypatch.setattr("d2lcompute.files.format.LONGEST_HEADER", 1000)
    with pytest.raises(d2c.FileError, match="for 20 tensors; nothing was saved, do stack them"):
        d2c.save(path, [torch.ones(1) for _ in range(20)])
    assert not path.exists()


# what is nested, as the state of a training


def test_a_training_goes_on_exactly_where_it_stopped(path):
    def train(net, optimizer, scheduler, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.linspace(-1, 1, 20).reshape(5, 4)).square().sum().backward()
            optimizer.step()
            scheduler.step()

    def build():
        net = d2c.mlp(3, 2, in_units=4)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        return net, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2)

    old, new = build(), build()
    train(*old, 3)
    d2c.save(path, [part.state_dict() for part in old])
    for part, state in zip(new, d2c.load(path), strict=True):
        part.load_state_dict(state)
    train(*old, 3)
    train(*new, 3)
    same(dict(new[0].state_dict()), dict(old[0].state_dict()))


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.lists(st.integers(-9, 9), max_size=3).map(torch.tensor),
)  # fmt: skip
keys = st.one_of(st.text(st.characters(codec="utf-8"), max_size=3), st.integers(-3, 3))
nests = st.recursive(
    leaves,
    lambda below: st.one_of(
        st.lists(below, max_size=3),
        st.lists(below, max_size=3).map(tuple),
        st.dictionaries(keys, below, max_size=3),
    ),
    max_leaves=8,
)


def equal(left, right):
    if isinstance(left, dict):
        return list(left) == list(right) and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        pairs = zip(left, right, strict=True)
        return len(left) == len(right) and all(equal(*pair) for pair in pairs)
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    return left == right or (left != left and right != right)


@hypothesis.given(nests)
@hypothesis.settings(max_examples=150)
def test_whatever_is_nested_comes_back_as_it_was(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "nest"
    d2c.save(path, data)
    loaded = d2c.load(path)
    assert type(loaded) is type(data)
    assert equal(loaded, data)
    assert d2c.verify(path).protected


def test_names_that_clash_where_levels_are_joined_are_kept_apart(path):
    data = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1), "b'": torch.ones(2)}, "n": 1}
    assert equal(round_trip(path, data), data)


# a part of a file


def test_what_is_asked_for_by_name_comes_without_the_rest(path, monkeypatch):
    data = {"net": {"w": torch.ones(2), "v": torch.zeros(3)}, "epoch": 3, "big": torch.ones(5)}
    for save in (d2c.save, lambda path, data: torch.save(data, path)):
        save(path, data)
        assert d2c.load(path, names="epoch") == 3
        same(d2c.load(path, names="net"), data["net"])
        same(d2c.load(path, names=["big", "net"]), {"big": data["big"], "net": data["net"]})
        assert d2c.load(path, names=()) == {}
    d2c.save(path, data)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # in the last tensor
    path.write_bytes(raw)
    with pytest.raises(d2c.FileError, match="values of `big` were changed"):
        d2c.load(path, names="big")
    same(d2c.load(path, names="net"), data["net"])  # its bytes alone were read


def test_tied_names_are_loaded_one_by_one_too(path):
    X = torch.randn(3, dtype=torch.complex128)
    d2c.save(path, {"a": X, "b": X, "c": X.conj()})
    for name in "abc":
        same(d2c.load(path, names=name), {"a": X, "b": X, "c": X.conj()}[name])
    loaded = d2c.load(path, names=["b", "a"])
    assert list(loaded) == ["b", "a"]
    assert loaded["a"] is loaded["b"]


def test_a_name_that_is_not_there_is_told_with_those_that_are(path):
    data = {"a": torch.ones(1), "b": torch.ones(1)}
    for save in (
        lambda: d2c.save(path, data),
        lambda: torch.save(data, path),
        lambda: save_file(data, path),
    ):
        save()
        with pytest.raises(d2c.FileError, match=r"must hold 'c', .* it holds 'a', 'b'; .*`names`"):
            d2c.load(path, names="c")
    d2c.save(path, [torch.ones(1)])
    with pytest.raises(d2c.FileError, match=r"must hold tensors by name, .* it holds a list"):
        d2c.load(path, names="0")


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
    with pytest.raises(
        d2c.FileError, match=r"got lazy ones \(0.weight, 0.bias, .*do mater"
    ) as caught:
        d2c.save_parameters(d2c.mlp(4, 2), path)
    assert [part.name for part in caught.value.report][:2] == ["0.weight", "0.bias"]
    assert not path.exists()


class Remembers(nn.Module):
    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def get_extra_state(self):
        return self.memory

    def set_extra_state(self, state):
        self.memory = state


@pytest.mark.parametrize("memory", [torch.arange(3), {"epoch": 3, "seen": [torch.ones(2), None]}])
def test_extra_state_is_kept_and_never_lost_silently(path, memory):
    d2c.save_parameters(nn.Sequential(Remembers(memory), nn.Linear(1, 1)), path)
    clone = nn.Sequential(Remembers(None), nn.Linear(1, 1))
    assert d2c.load_parameters(clone, path).misfits == ()
    assert equal(clone[0].memory, memory)
    with pytest.raises(TypeError, match=r"got set at '0._extra_state'; do make it a list"):
        d2c.save_parameters(nn.Sequential(Remembers({1, 2})), path)


def test_a_net_that_contains_itself_is_saved_and_loaded(path):
    def build():
        net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
        net[1].append(net)
        return net

    net, twin = build(), build()
    d2c.save_parameters(net, path)
    assert set(d2c.load(path)) == {"0.weight", "0.bias", "1.0.weight", "1.0.bias"}
    d2c.load_parameters(twin, path)
    same(twin[1][0].weight.detach(), net[1][0].weight.detach())


def test_a_net_of_any_depth_is_saved_and_loaded(path):
    def build(depth):
        net = nn.Linear(2, 2)
        for _ in range(depth):
            net = nn.Sequential(net)
        return net

    net, twin = build(2000), build(2000)
    d2c.save_parameters(net, path)
    d2c.load_parameters(twin, path)
    same(list(d2c.load(path).values()), [p.detach() for _, p in d2c.collect_params(twin).items()])


@pytest.mark.parametrize("name", ["modules", "state_dict", "to", "parameters", "training"])
def test_attributes_with_names_of_methods_are_no_hindrance(path, name):
    net, twin = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
    vars(net)[name] = vars(twin)[name] = [1]
    d2c.save_parameters(net, path)
    d2c.load_parameters(twin, path, device="cpu")
    same(twin[0].weight.detach(), net[0].weight.detach())


@pytest.mark.parametrize("verb", [d2c.save_parameters, d2c.load_parameters])
@pytest.mark.parametrize("net", [{}, nn.Linear, None], ids=str)
def test_a_net_that_is_none_is_named(path, verb, net):
    d2c.save(path, {})
    with pytest.raises(TypeError, match=r"`net` must be an nn\.Module"):
        verb(net, path)


# reports


def chain(*layers):
    return nn.Sequential(*layers)


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


def test_reports_speak_chinese_and_errors_english(path, chinese):
    d2c.save_parameters(nn.Linear(2, 2, dtype=torch.float64), path)
    assert repr(d2c.verify(path)).endswith("每个字节都在其中一个校验和的保护之下")
    report = d2c.load_parameters(nn.Linear(2, 2), path)
    assert report["bias"].outcome == "已转换类型，2 个值被舍入"
    assert repr(report).startswith(f"{path}：已加载")
    with pytest.raises(d2c.FileError, match="in the net: other shape") as caught:
        d2c.load_parameters(nn.Linear(3, 2), path)
    assert caught.value.report["weight"].outcome == "形状不同"


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
