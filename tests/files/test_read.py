import contextlib
import json
import pickle
import random
import struct
import warnings

import hypothesis
import pytest
import torch
import torch.distributed.checkpoint
from fingerprint import unchanged
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c
from d2lcompute.files.format import BLANK, checksum


@pytest.fixture
def net():
    net = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2))
    d2c.tie(net, "0.bias", "2.bias")
    return net


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def written(path, header, data=b""):
    """Write a safetensors file by hand: `header` is an object or the text of the header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(begin, end, shape, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def owner(raw, position):
    """The name of the part of a file of ours that holds the byte at `position`."""
    begin = 8 + int.from_bytes(raw[:8], "little")
    for name, place in json.loads(raw[8:begin]).items():
        if name != "__metadata__":
            start, stop = place["data_offsets"]
            if begin + start <= position < begin + stop:
                return f"`{name}`"
    return "header"


def test_each_of_a_thousand_flipped_bytes_is_found_and_named(net, path):
    d2c.save_parameters(net, path)
    raw = path.read_bytes()
    draw = random.Random(0)
    for position in [*range(8), *(draw.randrange(len(raw)) for _ in range(1000))]:
        part = owner(raw, position)
        flipped = bytearray(raw)
        flipped[position] ^= draw.randrange(1, 256)
        path.write_bytes(flipped)
        with pytest.raises(d2c.FileError, match=r"got '.*net\.safetensors'") as caught:
            d2c.verify(path)
        assert part in str(caught.value)


def test_a_damaged_file_changes_nothing_in_the_net(net, path):
    d2c.save_parameters(net, path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    for verb in (d2c.load_parameters, d2c.compare):
        with unchanged(net), pytest.raises(d2c.FileError, match=r"values of `.*` were changed"):
            verb(net, path)
    with pytest.raises(d2c.FileError, match=r"values of `.*` were changed"):
        d2c.load(path)


def test_all_damaged_tensors_are_named_at_once(path):
    d2c.save(path, {"a": torch.ones(9), "b": torch.ones(9), "c": torch.ones(9)})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    raw[-80] ^= 1
    path.write_bytes(raw)
    with pytest.raises(d2c.FileError, match=r"the values of `a`, `c` were changed"):
        d2c.verify(path)


@pytest.mark.parametrize("ours", [True, False])
def test_a_file_cut_at_any_of_200_places_is_found(net, path, ours):
    d2c.save_parameters(net, path)
    if not ours:
        save_file({name: tensor.clone() for name, tensor in d2c.load(path).items()}, path)
    raw = path.read_bytes()
    draw = random.Random(0)
    for end in [0, 1, 7, 8, 9, 10, *(draw.randrange(len(raw)) for _ in range(200)), len(raw) - 1]:
        path.write_bytes(raw[:end])
        with unchanged(net), pytest.raises(d2c.FileError, match=r"empty|cut short|damaged"):
            d2c.load_parameters(net, path)
    path.write_bytes(raw + b"\0")
    with pytest.raises(d2c.FileError, match=r"its last 1 bytes belong to no tensor"):
        d2c.verify(path)


HOSTILE = {
    "huge header": (struct.pack("<Q", 10**18) + b"{}", "header is damaged"),
    "header beyond the end": (struct.pack("<Q", 100) + b"{}", "cut short"),
    "no header": (b"\0" * 100, "damaged, or it is another kind"),
    "text": (b"Dear reader, this is no file of tensors.", "damaged, or it is another kind"),
    "pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05hello", "damaged.*like a pickle"),
    "gluon": (b"\x12\x01" + b"\0" * 30, "like a Gluon"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 30, "like an HDF5"),
    "gzip": (b"\x1f\x8b\x08\x08abcdefghij", "gzip"),
    "not json": (b"{nonsense", "header is damaged"),
    "not text": (b"{\xff\xfe}", "header is damaged"),
    "deep json": (b'{"a":' * 100_000, "header is damaged"),
    "twice": (b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},'
              b'"a":{"dtype":"I32","shape":[3],"data_offsets":[0,12]}}', "`a` is there twice"),
    "no object": ({"a": 3}, "header is damaged: .*expected struct TensorInfo"),
    "metadata": ({"__metadata__": [1]}, "header is damaged"),
    "no dtype": ({"a": {"shape": [], "data_offsets": [0, 4]}}, "missing field `dtype`"),
    "other dtype": ({"a": entry(0, 4, [], "F99")}, "unknown variant `F99`"),
    "dtype of dtypes": ({"a": entry(0, 4, [], ["F32"])}, "header is damaged"),
    "negative size": ({"a": entry(0, 4, [-1, -1])}, "invalid value: integer `-1`"),
    "half a size": ({"a": entry(0, 4, [1.0])}, "floating point `1.0`"),
    "shape of text": ({"a": entry(0, 4, "1")}, "header is damaged"),
    "true size": ({"a": entry(0, 4, [True])}, "boolean `true`"),
    "three offsets": ({"a": {**entry(0, 4, [1]), "data_offsets": [0, 4, 8]}}, "invalid length 3"),
    "backwards": ({"a": entry(4, 0, [1])}, "invalid offset for tensor `a`"),
    "wrong size": ({"a": entry(0, 4, [2])}, "invalid shape, data type, or offset"),
    "shape of names": ({"a": entry(0, 4, {})}, "header is damaged"),
    "overflow": ({"a": entry(0, 0, [2**62, 2**62, 0]), "b": entry(0, 12, [3])}, "overflow"),
    "endless number": (b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}',
                       "damaged"),
    "beyond the end": ({"a": entry(0, 10**12, [250 * 10**9])}, "cut short"),
    "not from the start": ({"a": entry(4, 8, [1])}, "invalid offset for tensor `a`"),
    "overlap": ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, "invalid offset for tensor `b`"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_one_clear_error(name, net, path):
    content, message = HOSTILE[name]
    if isinstance(content, bytes) and not content.startswith(b"{"):
        path.write_bytes(content)
    else:
        written(path, content, b"\0" * 12)
    with unchanged(net), pytest.raises(d2c.FileError, match=message) as caught:
        d2c.load_parameters(net, path)
    assert f"got '{path}'" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


KNOWN = {"kind": "dict", "names": ["a"], "ties": {}, "pairs": [], "checksums": {"a": "xxh3:"}}
CONTRADICTIONS = [
    {},
    [],
    {**KNOWN, "names": ["b"]},
    {**KNOWN, "names": 3},
    {**KNOWN, "ties": {"b": "c"}},
    {**KNOWN, "ties": ["a"]},
    {**KNOWN, "ties": {"a": "a"}},
    {**KNOWN, "checksums": {}},
    {**KNOWN, "pairs": ["b"]},
    {**KNOWN, "kind": 3},
    {name: value for name, value in KNOWN.items() if name != "pairs"},
]


@pytest.mark.parametrize("known", CONTRADICTIONS, ids=str)
def test_a_file_that_pretends_to_be_ours_is_refused(known, path):
    metadata = {"d2lcompute.checksum": BLANK, "d2lcompute.contents": json.dumps(known)}
    written(path, {"__metadata__": metadata, "a": entry(0, 4, [1])}, b"\0" * 4)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(BLANK.encode(), checksum(raw[:-4]).encode()))
    with pytest.raises(d2c.FileError, match="its header contradicts itself"):
        d2c.load(path)


texts = st.sampled_from(["a", "b", "t", "d", "l", "u", "nest", "dict", "list", "tensor", ""])
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 9), st.floats(), texts),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=6,
)


@hypothesis.given(st.data())
@hypothesis.settings(max_examples=150)
def test_whatever_a_header_says_that_belongs_to_its_checksum_a_file_is_read_or_refused(
    tmp_path_factory, data
):
    path = tmp_path_factory.getbasetemp() / "hostile"
    d2c.save(path, {"a": torch.ones(2), "b": [torch.ones(3, dtype=torch.complex128), 3]})
    raw = path.read_bytes()
    begin = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:begin])
    metadata = header.pop("__metadata__")
    known = json.loads(metadata["d2lcompute.contents"])
    target = data.draw(st.sampled_from([known, header, known["ties"], known["structure"]]))
    target[data.draw(st.sampled_from([*target, "a", "b"]))] = data.draw(json_values)
    metadata = {"d2lcompute.checksum": BLANK, "d2lcompute.contents": json.dumps(known)}
    written(path, {"__metadata__": metadata, **header}, raw[begin:])
    blank = path.read_bytes()
    sealed = checksum(blank[: 8 + int.from_bytes(blank[:8], "little")])
    path.write_bytes(blank.replace(BLANK.encode(), sealed.encode(), 1))
    net = nn.Linear(1, 2)
    for verb in (d2c.load, d2c.verify, lambda path: d2c.compare(net, path)):
        with contextlib.suppress(d2c.FileError):
            assert repr(verb(path))


def test_what_is_no_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must be a file, got 'nowhere': nothing is"):
        d2c.load("nowhere")
    with pytest.raises(IsADirectoryError, match=r"it is a folder; do give another path$"):
        d2c.verify(tmp_path)
    with pytest.raises(OSError, match="it is a device, a pipe or a socket"):
        d2c.load("/dev/null")
    (tmp_path / "net.safetensors").touch()
    with pytest.raises(FileNotFoundError, match=r"do give '.*/net.safetensors', say$"):
        d2c.load(tmp_path / "nett.safetensors")


def test_a_folder_tells_the_file_in_it_to_give(tmp_path):
    for name in ("a.pt", "b.safetensors", "c.txt"):
        (tmp_path / name).touch()
    with pytest.raises(IsADirectoryError, match=r"do give a file in it, '.*/b.safetensors'$"):
        d2c.load(tmp_path)
    (tmp_path / "model.safetensors.index.json").touch()
    with pytest.raises(IsADirectoryError, match=r"do give a file in it, '.*/model.*index.json'$"):
        d2c.load(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.distributed.checkpoint.save({"a": torch.ones(1)}, checkpoint_id=tmp_path)
    with pytest.raises(IsADirectoryError, match=r"do (.*)$") as caught:
        d2c.load(tmp_path)
    line = str(caught.value).partition("; do ")[2].replace("net.pt", f"{tmp_path}/net.pt")
    exec(f"import torch.distributed.checkpoint.format_utils; {line}", {"torch": torch})
    assert_close(d2c.load(tmp_path / "net.pt"), {"a": torch.ones(1)})


def test_a_file_that_may_not_be_read_is_named(path, monkeypatch):
    d2c.save(path, torch.ones(1))

    def deny(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", deny)  # root may read all
    with pytest.raises(
        PermissionError,
        match=r"`path` must be a file, got '.*': Permission denied; do give another path$",
    ):
        d2c.load(path)


@pytest.mark.parametrize("verb", [d2c.load, d2c.verify])
def test_the_report_of_a_refused_file_tells_its_parts(path, verb):
    d2c.save(path, {"a": torch.ones(9), "b": torch.ones(9)})
    whole = d2c.verify(path)
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(d2c.FileError, match="values of `b` were changed") as caught:
        verb(path)
    report = caught.value.report
    assert report.refused
    assert not report.protected
    assert [part.fault for part in report] == ["", "", "changed"]
    assert [part.bytes for part in report] == [part.bytes for part in whole]
    assert f"{path}: refused" in repr(report)


def test_the_error_is_a_value_error_and_survives_pickling(path):
    path.write_bytes(b"no")
    with pytest.raises(ValueError, match="damaged or cut short: 2 bytes are there") as caught:
        d2c.load(path)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is d2c.FileError
    assert (str(copy), copy.report) == (str(caught.value), caught.value.report)


# files of other libraries


def test_plain_safetensors_files_are_read_and_called_unprotected(path, golden):
    data = {"weight": torch.randn(3, 2), "bias": torch.randn(3)}
    save_file(data, path, metadata={"author": "somebody"})
    assert_close(d2c.load(path), data, rtol=0, atol=0)
    assert not d2c.verify(path).protected
    golden(repr(d2c.verify(path)).replace(str(path.parent), "..."))


def test_tensors_at_odd_addresses_are_read(path):
    data = torch.arange(3, dtype=torch.float64)
    header = {"flag": entry(0, 1, [1], "BOOL"), "x": entry(1, 25, [3], "F64")}
    written(path, header, b"\1" + data.numpy().tobytes())
    assert_close(d2c.load(path), {"flag": torch.tensor([True]), "x": data})


def test_a_file_without_tensors_is_empty(path):
    written(path, {})
    assert d2c.load(path) == {}


# a checkpoint in several files


@pytest.fixture
def shards(tmp_path):
    """A checkpoint in two files, one of safetensors and one of torch.save, and its index."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    state = net.state_dict()
    homes = dict.fromkeys(("0.weight", "0.bias", "2.bias"), "m-00001-of-00002.safetensors")
    homes["2.weight"] = "m-00002-of-00002.safetensors"
    save_file(
        {name: state[name] for name in homes if name != "2.weight"}, tmp_path / homes["2.bias"]
    )
    torch.save({"2.weight": state["2.weight"], "0.bias": None}, tmp_path / homes["2.weight"])
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 104}, "weight_map": homes}))
    return index, net


def test_an_index_stands_for_all_of_its_files(shards):
    index, net = shards
    clone = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    d2c.load_parameters(clone, index)
    assert_close(dict(clone.state_dict()), dict(net.state_dict()), rtol=0, atol=0)
    assert list(d2c.load(index)) == ["0.weight", "0.bias", "2.bias", "2.weight"]
    report = d2c.verify(index)
    assert not report.protected
    assert {"m-00001-of-00002.safetensors: 0.bias", "m-00002-of-00002.safetensors: m-00002-of-00002"
            "/data/0"} <= {part.name for part in report}  # fmt: skip


def test_only_the_files_that_are_needed_are_read(shards):
    index, net = shards
    index.with_name("m-00002-of-00002.safetensors").unlink()
    assert_close(d2c.load(index, names="0.bias"), net[0].bias.detach())
    with pytest.raises(d2c.FileError, match=r"'m-00002-of-00002.safetensors' that it names is not"):
        d2c.load(index)


def test_one_of_several_files_tells_its_index(shards):
    index, net = shards
    part = index.with_name("m-00001-of-00002.safetensors")
    with unchanged(net), pytest.raises(d2c.FileError, match="with 1 misfit") as caught:
        d2c.load_parameters(net, part)
    assert f"do load_parameters(net, '{index}'), of which this file is a part" in str(caught.value)


def test_a_damaged_file_among_several_is_named(shards):
    index, _ = shards
    part = index.with_name("m-00002-of-00002.safetensors")
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(d2c.FileError, match=r"m-00002.* that it names: it is a damaged zip"):
        d2c.load(index)
    torch.save({"x": torch.ones(1)}, part)
    with pytest.raises(d2c.FileError, match=r"m-00002.* that it names: it holds 'x'"):
        d2c.load(index)


@pytest.mark.parametrize(
    "index",
    [
        "{}       ",
        '{"weight_map": {"a": "../secret"}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": ["a"]}',
        '{"weight_map": {"a": ""}}',
        '{"weight_map": {"a": "."}}',
        '{"weight_map": {"a": "net.index.json"}}',
        '{"a": ' * 3000,
        '{"text": "anything else"}',
    ],
)
def test_an_index_that_cannot_be_one_is_refused(tmp_path, index):
    path = tmp_path / "net.index.json"
    path.write_text(index)
    with pytest.raises((d2c.FileError, IsADirectoryError), match=str(path)):
        d2c.load(path)
