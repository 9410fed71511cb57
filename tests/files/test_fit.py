import pytest
import torch
from fingerprint import unchanged
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def same(left, right):
    assert_close(left, right, rtol=0, atol=0)


def outcomes(report):
    return {match.name: match.outcome for match in report.matches}


def tied_pair():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    d2c.tie(net, "0.weight", "2.weight")
    return net


class Holder(nn.Module):
    """Hold the given tensors, as parameters, under the names a, b, c, ..."""

    def __init__(self, *tensors):
        super().__init__()
        for name, tensor in zip("abcdef", tensors, strict=False):
            setattr(self, name, nn.Parameter(tensor, requires_grad=tensor.is_floating_point()))


# misfits


def test_one_error_names_every_misfit_with_both_shapes(path, golden):
    data = {
        "0.weight": torch.zeros(4, 3),
        "0.bias": torch.zeros(4),
        "2.weight": torch.zeros(2, 4).int(),
        "2.num": torch.zeros(()),
    }
    d2c.save(path, data)
    net = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.Linear(4, 2))
    with unchanged(net), pytest.raises(d2c.FileError, match="with 5 misfits") as caught:
        d2c.load_parameters(net, path)
    golden(str(caught.value).replace(str(path.parent), "..."))


def test_what_is_missing_or_extra_may_be_allowed_one_by_one(path):
    d2c.save(path, {"0.weight": torch.ones(2, 2), "0.bias": torch.ones(2), "9": torch.ones(1)})
    net = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2))
    with unchanged(net), pytest.raises(d2c.FileError, match="ignore_extra=True"):
        d2c.load_parameters(net, path, allow_missing=True)
    with unchanged(net), pytest.raises(d2c.FileError, match="allow_missing=True"):
        d2c.load_parameters(net, path, ignore_extra=True)
    report = d2c.load_parameters(net, path, allow_missing=True, ignore_extra=True)
    assert outcomes(report) == {
        "0.weight": "fits", "0.bias": "fits", "9": "extra, left out",
        "1.weight": "missing, kept as it was", "1.bias": "missing, kept as it was",
    }  # fmt: skip
    same(net[0].weight.detach(), torch.ones(2, 2))
    assert d2c.pending(net) == ["1.weight", "1.bias"]


def test_the_first_two_layers_are_reused_in_another_net(path):
    old, new = d2c.mlp(8, 8, 1, in_units=4), d2c.mlp(8, 8, 3, in_units=4)
    d2c.save_parameters(old, path)
    rename = {"4.weight": "old.weight", "4.bias": "old.bias"}
    d2c.load_parameters(new, path, rename=rename, allow_missing=True, ignore_extra=True)
    same(dict(new[:4].state_dict()), dict(old[:4].state_dict()))


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        (torch.float32, torch.bfloat16, True),
        (torch.bfloat16, torch.float64, True),
        (torch.complex64, torch.complex128, True),
        (torch.int8, torch.int64, True),
        (torch.uint8, torch.int16, True),
        (torch.int64, torch.int32, False),
        (torch.uint8, torch.int8, False),
        (torch.int8, torch.float32, False),
        (torch.float32, torch.int64, False),
        (torch.float32, torch.complex64, False),
        (torch.complex64, torch.float32, False),
        (torch.bool, torch.int64, False),
        (torch.int64, torch.bool, False),
    ],
)
def test_numbers_are_converted_only_where_they_stay_what_they_are(path, found, wanted, fits):
    d2c.save(path, {"a": torch.ones(2, dtype=found)})
    net = Holder(torch.zeros(2, dtype=wanted))
    if fits:
        assert outcomes(d2c.load_parameters(net, path)) == {"a": "converted"}
        same(net.a.detach(), torch.ones(2, dtype=wanted))
    else:
        with unchanged(net), pytest.raises(d2c.FileError, match="other kind of number"):
            d2c.load_parameters(net, path)


# From some torch on, 8 bits without infinity hold what is too large as their largest number.
SATURATES = torch.tensor(1e6).to(torch.float8_e4m3fn).float().isfinite()
LARGEST = "the largest number" if SATURATES else "NaN"
LOSSY = [
    # value, to, what is said
    ([1e6, -1e6, 1.0, 0.0], torch.float16, "converted, 2 values are infinite now"),
    ([1e-9, 1.0, 0.0], torch.float16, "converted, 1 value is 0 now"),
    ([1.001, 1.0, float("inf"), float("nan")], torch.bfloat16, "converted, 1 value is rounded"),
    ([1e5, 1e-9, 1 / 3], torch.float16,
     "converted, 1 value is infinite now, 1 value is 0 now, 1 value is rounded"),
    ([1e6, 0.3], torch.float8_e4m3fn, f"converted, 1 value is {LARGEST} now, 1 value is rounded"),
    ([float("inf"), 1.0], torch.float8_e4m3fn, f"converted, 1 value is {LARGEST} now"),
    ([0.5, 2.0], torch.float8_e5m2, "converted"),
    ([1e300, 1e-300, 0.1], torch.float32,
     "converted, 1 value is infinite now, 1 value is 0 now, 1 value is rounded"),
    ([0.1], torch.float64, "converted"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "dtype", "outcome"), LOSSY)
@pytest.mark.parametrize("lazy", [True, False])
def test_values_that_a_conversion_changes_are_counted(path, values, dtype, outcome, lazy):
    wide = torch.float64 if 1e300 in values else torch.float32
    d2c.save(path, {"a": torch.tensor(values, dtype=wide)})
    net = Holder(torch.zeros(len(values), dtype=dtype))
    if lazy:
        net.a = nn.UninitializedParameter(requires_grad=False, dtype=dtype)
    match = d2c.compare(net, path)["a"]
    assert match.outcome == outcome
    assert d2c.load_parameters(net, path)["a"] == match
    before = torch.tensor(values, dtype=wide)
    changed = (net.a.detach().to(wide) != before) & ~before.isnan()
    assert match.changed == int(changed.sum())


def test_complex_numbers_are_counted_by_their_parts(path):
    d2c.save(path, {"a": torch.tensor([1e300 + 1e-300j, 0.5], dtype=torch.complex128)})
    outcome = d2c.load_parameters(Holder(torch.zeros(2, dtype=torch.complex64)), path)["a"].outcome
    assert outcome == "converted, 1 value is infinite now, 1 value is 0 now"


def test_a_large_tensor_is_counted_piece_by_piece(path, monkeypatch):
    monkeypatch.setattr("d2lcompute.files.fit._PIECE", 7)
    d2c.save(path, {"a": torch.full((10, 10), 1e6)})
    report = d2c.load_parameters(Holder(torch.zeros(10, 10).half()), path)
    assert report["a"].losses == (("infinite", 100),)


@pytest.mark.filterwarnings("ignore:Validating sparse tensor invariants")  # from torch 2.14 on
def test_entries_without_plain_values_are_misfits(path):
    values = {"a": 3, "b": torch.ones(2).to_sparse(), "c": torch.ones(2, device="meta")}
    torch.save(values, path)
    net = Holder(*(torch.zeros(2) for _ in range(3)))
    with unchanged(net), pytest.raises(d2c.FileError, match="with 3 misfits") as caught:
        d2c.load_parameters(net, path)
    assert "a: int in the file, (2,) float32 in the net: not a tensor" in str(caught.value)
    assert "b: torch.sparse_coo in the file" in str(caught.value)


# ties


def test_ties_stay_ties_with_a_file_that_has_one_name_or_both(path):
    weight, biases = torch.randn(3, 3), {"0.bias": torch.ones(3), "2.bias": torch.ones(3)}
    for names in (["0.weight"], ["2.weight"], ["0.weight", "2.weight"]):
        save_file({**biases, **{name: weight.clone() for name in names}}, path)
        for net in (tied_pair(), nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(3))):
            d2c.tie(net, "0.weight", "2.weight")
            report = d2c.load_parameters(net, path)
            assert report.misfits == ()
            assert net[0].weight is net[2].weight
            same(net[2].weight.detach(), weight)
            if len(names) == 1:
                assert f"tied to {names[0]}" in outcomes(report).values()


def test_tied_names_with_different_values_are_a_misfit(path):
    data = {name: tensor.clone() for name, tensor in tied_pair().state_dict().items()}
    data["2.weight"][0, 0] += 1
    save_file(data, path)
    for net in (tied_pair(), nn.Sequential(nn.LazyLinear(3), nn.ReLU(), nn.LazyLinear(3))):
        d2c.tie(net, "0.weight", "2.weight")
        with (
            unchanged(net),
            pytest.raises(d2c.FileError, match=r"2\.weight: .* differs from 0.weight"),
        ):
            d2c.load_parameters(net, path)


def test_a_tie_to_what_does_not_fit_is_no_crash(path):
    net = nn.Sequential(nn.LazyLinear(3), nn.LazyLinear(3))
    d2c.tie(net, "0", "1")
    torch.save({"0.weight": 3, "0.bias": torch.ones(4)}, path)
    with unchanged(net), pytest.raises(d2c.FileError, match="with 2 misfits"):
        d2c.load_parameters(net, path)


def test_equal_ties_may_hold_nan_and_be_converted(path):
    weight = torch.full((3, 3), float("nan"), dtype=torch.float64)
    biases = {"0.bias": torch.ones(3), "2.bias": torch.ones(3)}
    save_file({**biases, "0.weight": weight, "2.weight": weight.clone()}, path)
    net = tied_pair()
    d2c.load_parameters(net, path)
    assert net[2].weight.isnan().all()


@pytest.mark.parametrize(
    "alias",
    [lambda weight: weight.detach(), lambda weight: weight.detach().t()],
    ids=["detached", "transposed"],
)
def test_parameters_that_share_memory_are_checked_too(path, alias):
    weight = torch.randn(3, 3)
    net = Holder(weight, alias(weight))
    d2c.save_parameters(net, path)
    twin = torch.zeros(3, 3)
    clone = Holder(twin, alias(twin))
    assert d2c.load_parameters(clone, path).misfits == ()
    same(clone.b.detach(), net.b.detach())
    save_file({"a": weight, "b": alias(weight).contiguous() + 1}, path)
    with unchanged(clone), pytest.raises(d2c.FileError, match=r"b: .* differs from a, its tie"):
        d2c.load_parameters(clone, path)
    save_file({"b": alias(weight).clone().contiguous()}, path)
    assert outcomes(d2c.load_parameters(clone, path))["a"] == "tied to b"
    same(clone.a.detach(), weight)


def test_slices_of_one_tensor_are_no_ties(path):
    flat = torch.arange(6.0)
    net = Holder(flat[:3], flat[3:])
    d2c.save_parameters(net, path)
    flat2 = torch.zeros(6)
    d2c.load_parameters(Holder(flat2[:3], flat2[3:]), path)
    same(flat2, flat)
    save_file({"a": torch.ones(3)}, path)
    with pytest.raises(d2c.FileError, match=r"b: nothing in the file, \(3,\) float32 in the net"):
        d2c.load_parameters(net, path)


def test_overlapping_slices_must_agree_where_they_overlap(path):
    flat = torch.zeros(5)
    net = Holder(flat[:3], flat[2:])
    save_file({"a": torch.tensor([1.0, 2, 3]), "b": torch.tensor([3.0, 4, 5])}, path)
    d2c.load_parameters(net, path)
    same(flat, torch.tensor([1.0, 2, 3, 4, 5]))
    save_file({"a": torch.tensor([1.0, 2, 3]), "b": torch.tensor([9.0, 4, 5])}, path)
    with unchanged(net), pytest.raises(d2c.FileError, match=r"b: .* differs from a"):
        d2c.load_parameters(net, path)


def test_a_tie_that_only_the_file_has_is_reported(path):
    d2c.save_parameters(tied_pair(), path)
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    report = d2c.load_parameters(net, path)
    assert outcomes(report)["2.weight"] == "fits, but is tied to 0.weight in the file only"
    same(net[0].weight.detach(), net[2].weight.detach())
    assert net[0].weight is not net[2].weight


def test_an_optimizer_made_before_loading_steps_the_loaded_parameters(path):
    d2c.save_parameters(tied_pair(), path)
    net = tied_pair()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    d2c.load_parameters(net, path)
    before = net[0].weight.detach().clone()
    net(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    assert not torch.equal(net[2].weight, before)
