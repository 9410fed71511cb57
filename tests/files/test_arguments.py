"""Every argument of the section's functions, with wrong values: one error says all about it.

`CALLS` gives each function right arguments; a row of `WRONG` names a function, an argument, a
wrong value in its place, the error, and how its message goes on after "`argument` must ".
"""

import inspect
import re

import pytest
import torch
from torch import nn

import d2lcompute as d2c

CALLS = {
    d2c.save: {"path": "new", "data": torch.ones(2)},
    d2c.load: {"path": "file", "device": "cpu", "names": "weight"},
    d2c.save_parameters: {"net": nn.Linear(2, 3), "path": "new"},
    d2c.load_parameters: {
        "net": nn.Linear(2, 3), "path": "file", "allow_missing": False, "ignore_extra": False,
        "rename": {"weight": "weight"}, "device": "cpu",
    },
    d2c.verify: {"path": "file"},
    d2c.compare: {"net": nn.Linear(2, 3), "other": "file", "rename": {"weight": "weight"}},
}  # fmt: skip

PATHS = [
    (3, TypeError, "be the name of a file, got int; do save"),
    (None, TypeError, "be the name of a file, got NoneType; do save"),
    (b"file", TypeError, "be the name of a file, got bytes; do save"),
    (torch.ones(1), TypeError, "be the name of a file, got Tensor; do save"),
    ("", ValueError, "be the name of a file, got ''; do give another name"),
    ("a\0b", ValueError, "be the name of a file, got 'a\\x00b'; do give another name"),
]
FOUND = [
    ("nowhere", FileNotFoundError, "be a file, got 'nowhere': nothing is there, looked in"),
    ("nowhere/file", FileNotFoundError, "be a file, got 'nowhere/file': nothing is there"),
    ("file/inside", OSError, "be a file, got 'file/inside': nothing is there"),
    ("n" * 300, OSError, "be a file, got"),
    (".", IsADirectoryError, "be a file, got '.': it is a folder"),
    ("/dev/null", OSError, "be a file, got '/dev/null': it is a device, a pipe or a socket"),
    ("text", d2c.FileError, "be a whole safetensors or torch.save file, got 'text': its header"),
    ("empty", d2c.FileError, "be a whole safetensors or torch.save file, got 'empty': it is empty"),
]
WRITTEN = [
    ("nowhere/file", FileNotFoundError, "lie in a folder that exists, got 'nowhere/file': there"),
    ("file/inside", NotADirectoryError, "lie in a folder that exists, got 'file/inside': there"),
    ("n" * 300, OSError, "be a file that can be written, got"),
    (".", IsADirectoryError, "be a file that can be written, got '.': it is a folder; nothing"),
    ("/dev/null", OSError, "be a file that can be written, got '/dev/null': it is a device"),
    ("/proc/x", OSError, "be a file that can be written, got '/proc/x': "),
]
NETS = [
    (3, TypeError, "be an nn.Module, got int; pass the net object itself"),
    (None, TypeError, "be an nn.Module, got NoneType; pass the net object itself"),
    ([nn.Linear(1, 1)], TypeError, "be an nn.Module, got list; pass the net object itself"),
    (nn.Linear, TypeError, "be an nn.Module, got the class Linear; pass the net object itself"),
]
SIDES = [(value, error, said.partition(",")[0].replace("Module", "Module or the name of a file"))
         for value, error, said in NETS]  # fmt: skip
DEVICES = [
    ("nonsense", ValueError, "be a device or its name, such as 'cpu' or 'cuda:0', got 'nonsense'"),
    ("xla:0", ValueError, "be a device of this machine, got 'xla:0' ("),
    (2.5, TypeError, "be a device or its name, such as 'cpu' or 'cuda:0', got 2.5; do try_gpu()"),
    (True, TypeError, "be a device or its name, such as 'cpu' or 'cuda:0', got True; do try_gpu"),
    (torch.ones(1), TypeError, "be a device or its name, such as 'cpu' or 'cuda:0', got a tensor"),
]
RENAMES = [
    ("weight", TypeError, "be a dict from names to names or a function, got str; do rename={"),
    (["weight"], TypeError, "be a dict from names to names or a function, got list; do rename={"),
    ({1: "x"}, TypeError, "be a dict from names to names or a function, got {1: 'x'}; do rename="),
    ({"x": None}, TypeError, "be a dict from names to names or a function, got {'x': None}; do"),
    ({"x": "y"}, ValueError, "map names that the file has, or prefixes of them, got 'x'; it has"),
    ({"weight": "bias"}, ValueError, "give each name one of its own, got 'bias' for"),
    (lambda name: 3, ValueError, "give each name one of its own, got 3 for 'weight'; do give"),
]
FLAGS = [(v, TypeError, f"be True or False, got {v!r}; do ") for v in (None, 1, "yes", [])]
WRONG = {
    (d2c.save, "path"): PATHS + WRITTEN,
    (d2c.save, "data"): [
        (nn.Linear(1, 1), TypeError, "be made of tensors, numbers, text, None, lists, tuples and "
         "dicts, got Linear; do save_parameters(net, path)"),
        ({1, 2}, TypeError, "be made of tensors, numbers, text, None, lists, tuples and dicts, got "
         "set; do make it a list or a tuple"),
        (nn.LazyLinear(2).weight, d2c.FileError, "hold ordinary tensors with values, got lazy ones "
         "(0); nothing was saved, do materialize(net, X)"),
        ({(1, 2): torch.ones(1)}, TypeError, "have names or whole numbers as keys, got (1, 2); do"),
    ],
    (d2c.load, "path"): PATHS + FOUND,
    (d2c.load, "device"): DEVICES,
    (d2c.load, "names"): [
        (3, TypeError, "be a name or several, got 3; do names=['0.weight', '0.bias']"),
        ([3], TypeError, "be a name or several, got [3]; do names=['0.weight', '0.bias']"),
        ("wieght", d2c.FileError, "`path` must hold 'wieght', got 'file': it holds 'weight', 'bias'"
         "; nothing was loaded, do give other `names`"),
        (["weight", ""], d2c.FileError, "`path` must hold '', got 'file': it holds 'weight', 'bi"),
    ],
    (d2c.save_parameters, "net"): [
        *NETS,
        (nn.LazyLinear(2), d2c.FileError, "hold ordinary tensors with values, got lazy ones "
         "(weight, bias); nothing was saved, do materialize(net, X) or one forward pass first"),
        (nn.Linear(2, 2, device="meta"), d2c.FileError, "hold ordinary tensors with values, got "
         "ones on the meta device (weight, bias); nothing was saved, do give them memory by"),
    ],
    (d2c.save_parameters, "path"): PATHS + WRITTEN,
    (d2c.load_parameters, "net"): [
        *NETS,
        (nn.Linear(2, 3, device="meta"), ValueError, "have memory for its values, got weight, bias "
         "on the meta device; do `with keep_ties(net): net.to_empty(device='cpu')` first"),
        (nn.Linear(3, 3), d2c.FileError, "`path` must fit the net, got 'file' with 1 misfit; noth"),
    ],
    (d2c.load_parameters, "path"): PATHS + FOUND,
    (d2c.load_parameters, "allow_missing"): FLAGS,
    (d2c.load_parameters, "ignore_extra"): FLAGS,
    (d2c.load_parameters, "rename"): RENAMES,
    (d2c.load_parameters, "device"): [
        *DEVICES,
        ("meta", ValueError, "`net` must have memory for its values, got weight, bias on the meta"),
    ],
    (d2c.verify, "path"): PATHS + FOUND,
    (d2c.compare, "net"): SIDES,
    (d2c.compare, "other"): [*SIDES, *((v, e, f"`path` must {said}") for v, e, said in FOUND)],
    (d2c.compare, "rename"): RENAMES,
}  # fmt: skip
ROWS = [(*key, *row) for key, rows in WRONG.items() for row in rows]


def named(value):
    return getattr(value, "__name__", None) or repr(value)[:30]


@pytest.mark.parametrize(("function", "argument", "wrong", "error", "said"), ROWS, ids=named)
def test_a_wrong_argument_is_named_with_what_it_must_be_and_was(
    tmp_path, monkeypatch, function, argument, wrong, error, said
):
    monkeypatch.chdir(tmp_path)
    d2c.save_parameters(nn.Linear(2, 3), "file")
    (tmp_path / "text").write_text("Dear reader, these are no tensors.")
    (tmp_path / "empty").touch()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(error) as caught:
        function(**{**CALLS[function], argument: wrong})
    message = str(caught.value).partition("] ")[2] if issubclass(error, OSError) else caught.value
    assert re.match(
        re.escape(said if said.startswith("`") else f"`{argument}` must {said}"), str(message)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_every_argument_of_every_function_has_a_row_and_a_right_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    d2c.save_parameters(nn.Linear(2, 3), "file")
    for function, arguments in CALLS.items():
        assert list(inspect.signature(function).parameters) == list(arguments)
        assert {name for one, name in WRONG if one is function} == set(arguments)
        function(**arguments)
