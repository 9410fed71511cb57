"""Every argument of every public function: a wrong type and a wrong value are one error about it.

`RIGHT` gives each function arguments that it takes. A row of `WRONG` names a function, one of its
arguments, the error, how its message goes on after "`argument` must ", and values that get it.
"""

import inspect
import re

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from torch import nn

import d2lcompute as d2c
from d2lcompute import initializers as init
from d2lcompute.tables import Report

X = torch.ones(2, 4)


def net():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


def trained():
    layer = nn.Linear(4, 2)
    layer(X).sum().backward()
    return layer


# What takes the place of an argument in the rows: made anew for each.
MADE = {"net": net, "net_or_parameter": net, "param": lambda: torch.zeros(2, 4)}
PARAMETERS = {"net": trained(), "ax": None, "pattern": ".*"}
RIGHT = {
    # 1 blocks
    "dense": {"units": 3, "activation": "relu", "in_units": 4},
    "mlp": {"units": (3, 2), "activation": "relu", "in_units": 4},
    "MLP": {"hidden_units": 3, "units": 2, "in_units": 4},
    "MySequential": {"modules": (nn.ReLU(),)},
    "MySequential.add": {"modules": (nn.ReLU(),)},
    "FixedHiddenMLP": {"units": 3, "generator": torch.Generator()},
    "FancyMLP": {"units": 3, "generator": torch.Generator()},
    "NestMLP": {"in_units": 4},
    # 2 parameters
    "collect_params": {"net": net, "pattern": ".*"},
    "describe": {"net": net, "pattern": ".*"},
    "set_data": {"param": torch.zeros(2, 4), "data": X},
    "tie": {"net": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), "source": "0",
            "targets": ("1",)},
    "untie": {"net": net, "name": "0"},
    "tied_groups": {"net": net},
    "keep_ties": {"net": net},
    "gradients_by_use": {"net": net, "loss_fn": lambda net: net(X).sum()},
    # 3 initializers
    "initialize": {"net_or_parameter": net, "init": init.Zero(), "pattern": ".*",
                   "force_reinit": False, "seed": 0, "verbose": False},
    "init_normal": {"module": nn.Linear(2, 2)},
    "init_constant": {"module": nn.Linear(2, 2)},
    "init_xavier": {"module": nn.Linear(2, 2)},
    "init_42": {"module": nn.Linear(2, 2)},
    "my_init": {"module": nn.Linear(2, 2)},
    "Initializer": {},
    "Zero": {},
    "One": {},
    "Zero.__call__": {"name": "weight", "data": torch.zeros(2, 2), "generator": None},
    "Normal": {"sigma": 0.01},
    "Uniform": {"scale": 0.07},
    "Constant": {"value": 1},
    "Xavier": {"distribution": "uniform", "gain": 1},
    "Kaiming": {"nonlinearity": "relu", "mode": "fan_in", "distribution": "normal", "a": 0},
    "Orthogonal": {"gain": 1.0},
    "Mixed": {"rules": {".*": init.Zero()}},
    # 4 lazy
    "pending": {"net": net},
    "materialize": {"net": lambda: nn.LazyLinear(2), "inputs": (X,), "forward_kwargs": {},
                    "named_inputs": {}},
    "infer_shapes": {"net": net, "inputs": (X,), "forward_kwargs": {}, "named_inputs": {}},
    "apply_init": {"net": lambda: nn.LazyLinear(2), "inputs": [X], "init": init.Zero()},
    # 5 layers
    "CenteredLayer": {},
    "MyLinear": {"in_units": 4, "units": 3, "generator": torch.Generator()},
    "MyDense": {"units": 3, "in_units": 4, "generator": torch.Generator()},
    "MyLinear.reset_parameters": {"generator": None},
    "MyDense.reset_parameters": {"generator": None},
    # 6 files
    "save": {"path": "new", "data": torch.ones(2)},
    "load": {"path": "file", "device": "cpu", "names": "weight"},
    "save_parameters": {"net": nn.Linear(2, 3), "path": "new"},
    "load_parameters": {"net": nn.Linear(2, 3), "path": "file", "allow_missing": False,
                        "ignore_extra": False, "rename": {"weight": "weight"}, "device": "cpu"},
    "verify": {"path": "file"},
    "compare": {"net": nn.Linear(2, 3), "other": "file", "rename": {"weight": "weight"}},
    # 7 devices
    "cpu": {},
    "gpu": {"i": 0},
    "num_gpus": {},
    "try_gpu": {"i": 0},
    "try_all_gpus": {},
    "device_of": {"net_or_tensor": X},
    "copyto": {"x": X, "device": "cpu"},
    "as_in_context": {"x": X, "device": "cpu"},
    "practice_gpus": {"count": 1, "memory": 1_000},
    "watch_transfers": {},
    "MetricLog": {"capacity": 3, "device": "cpu"},
    "MetricLog.append": {"value": 1.0},
    "MetricLog.values": {},
    # seeing
    "trace": {"net": net, "inputs": (X,), "depth": 1, "values": True, "backward": True,
              "loss_fn": torch.sum, "time": False, "forward_kwargs": {}, "named_inputs": {}},
    "draw": {"net": net, "inputs": (X,), "ax": None, "depth": 1, "forward_kwargs": {},
             "named_inputs": {}},
    "diagnose": {"net": net, "inputs": (X,), "loss_fn": torch.sum, "forward_kwargs": {},
                 "named_inputs": {}},
    "plot_activations": {"net": net, "inputs": (X,), "ax": None, "pattern": ".*",
                         "forward_kwargs": {}, "named_inputs": {}},
    "plot_parameters": PARAMETERS,
    "plot_gradients": PARAMETERS,
    "swap": {"net": net, "name": "0", "change": torch.zeros_like},
    # what all reports have
    "Table.columns": {"names": ("name",)},
    "Table.to_csv": {"path": "new"},
    "Table.to_dict": {},
    "Table.to_pandas": {},
    "Drawing.save": {"path": "new.svg"},
    # checking
    "check": {"name": "blocks.parallel", "answer": ...},
    "list_exercises": {},
    "predict": {"name": "blocks.children", "guess": "a"},
    "reveal": {"name": "blocks.children", "value": 1.0},
    "progress": {"reset": False},
    "solution": {"name": "blocks.parallel"},
    "language": {"code": "en"},
}  # fmt: skip
# Objects whose methods are called, and arguments for which every value is right.
OBJECTS = {
    "MySequential": d2c.MySequential(), "Zero": init.Zero(), "MyLinear": d2c.MyLinear(2, 2),
    "MyDense": d2c.MyDense(2, 2), "MetricLog": d2c.MetricLog(9),
    "Table": d2c.describe(nn.Linear(2, 2)), "Drawing": d2c.draw(nn.Linear(2, 2)),
}  # fmt: skip
FREE = {("check", "answer"), ("reveal", "value")}


def sized(*values):
    return (TypeError, "be a positive integer, got", 0.5, "3", True, X, *values), (
        ValueError, "be a positive integer, got", 0, -1, 10**30,
    )  # fmt: skip


def finite(bound, *values):
    said = f"be a number{bound}, got"
    return (TypeError, said, "x", None, True, 1j, [1], X), (
        ValueError, said, float("nan"), float("inf"), *values,
    )  # fmt: skip


SIZED = sized(None)
MODULE = [
    (TypeError, "be an nn.Module, got int; do pass the net object itself", 3),
    (TypeError, "be an nn.Module, got NoneType; do pass the net", None),
    (TypeError, "be an nn.Module, got list; do pass the net", [nn.Linear(1, 1)]),
    (TypeError, "be an nn.Module, got the class Linear; do pass the net", nn.Linear),
    (TypeError, "be an nn.Module, got Tensor; do pass the net", X),
]
NET = [*MODULE, (TypeError, "be an nn.Module, got str; do pass the net", "net.safetensors")]
PATTERN = [
    (TypeError, "be a regular expression, got", 3, b"w", re.compile(b"w"), ["w"], X),
    (ValueError, "be a regular expression, got", "*weight", "(", "["),
]
FITTING = [(ValueError, "fit names of", "nothing")]
FLAG = [(TypeError, "be True or False, got", None, 1, "yes", [], X)]
GENERATOR = [(TypeError, "be a torch.Generator, got", 0, "cpu", X, np.random.default_rng())]
KWARGS = [(TypeError, "be a dict from names to values, got", 3, "x", [1], {1: 2}, X)]
SHAPES = [(ValueError, "be tensors or shapes of them, got", (-1, 4), (None, 4), (2, None))]
NAMED = [(ValueError, "`inputs` must be tensors or shapes of them, got", {"input": (-1, 4)})]
FITS = [
    (RuntimeError, "fit the net, got", "x", 3, None, (2, "4"), (2, 4.0), [X, X], torch.ones(3, 3)),
]
DEPTH = [(ValueError, 'be None, "all" or at least 0, got', -1, 1.5, True, "some", np.ones(2), X)]
AXES = [
    (TypeError, "be axes of matplotlib, got", 5, "x", X, np.zeros(2), plt.figure()),
    (ValueError, "be flat axes, got polar ones", plt.figure().add_subplot(projection="polar")),
]
LOSS = [(TypeError, "be a function of the output, got", 3, "mse", X, lambda: 3, lambda a, b: 3)]
NAME = [
    (TypeError, "be the name of a", 3, None, ["0"], nn.Linear(2, 2), X),
    (ValueError, "be the name of a", "nope", "0.wieght"),
]
MOVED = [(TypeError, "be a tensor", nn.Linear(2, 2), nn.Linear, [X], 3, None, X.numpy())]
DEVICE = [
    (TypeError, "be a device or its name, such as 'cpu' or 'cuda:0', got", 0, True, 1.5, ["cpu"],
     torch.float32),
    (TypeError, "be a device or its name, such as 'cpu' or 'cuda:0', got a tensor", X),
    (ValueError, "be a device or its name, such as 'cpu' or 'cuda:0', got", "gpu", "cuda:a",
     "cuda:-1", "", torch.device("cuda", 1_000)),
    (ValueError, "be a device or its name, such as 'cpu' or 'cuda:0', got 'cuda:200'", "cuda:200"),
    (ValueError, "be a device of this machine, got 'xla:0' (", "xla:0"),
]  # fmt: skip
TARGET = [*DEVICE, (TypeError, "be a device or its name", None)]
PATH = [
    (TypeError, "be the name of a file, got int; do ", 3),
    (TypeError, "be the name of a file, got NoneType; do ", None),
    (TypeError, "be the name of a file, got bytes; do ", b"file"),
    (TypeError, "be the name of a file, got Tensor; do ", X),
    (ValueError, "be the name of a file, got ''; do give another name", ""),
    (ValueError, "be the name of a file, got 'a\\x00b'; do give another name", "a\0b"),
]
FOUND = [
    *PATH,
    (FileNotFoundError, "be a file, got 'nowhere': nothing is there, looked in", "nowhere"),
    (FileNotFoundError, "be a file, got 'nowhere/file': nothing is there", "nowhere/file"),
    (OSError, "be a file, got 'file/inside': nothing is there", "file/inside"),
    (OSError, "be a file, got", "n" * 300),
    (IsADirectoryError, "be a file, got '.': it is a folder", "."),
    (OSError, "be a file, got '/dev/null': it is a device, a pipe or a socket", "/dev/null"),
    (d2c.FileError, "be a whole safetensors or torch.save file, got 'text': its header", "text"),
    (d2c.FileError, "be a whole safetensors or torch.save file, got 'empty': it is", "empty"),
]
WRITTEN = [
    *PATH,
    (FileNotFoundError, "lie in a folder that exists, got 'nowhere/file.svg': there is no folder",
     "nowhere/file.svg"),
    (NotADirectoryError, "lie in a folder that exists, got 'file/in.svg': there is", "file/in.svg"),
    (OSError, "be a file that can be written, got", "n" * 300 + ".svg", "/proc/x.svg"),
    (IsADirectoryError, "be a file that can be written, got 'folder.svg': ", "folder.svg"),
]  # fmt: skip
REPLACED = [*WRITTEN, (OSError, "be a file that can be written, got '/dev/null': it is a device",
                       "/dev/null")]  # fmt: skip
TRACE = d2c.trace(nn.Linear(4, 2), X)
SIDE = [
    (TypeError, "be an nn.Module, the name of a file or a trace, got int", 3),
    (TypeError, "be an nn.Module, the name of a file or a trace, got NoneType", None),
    (TypeError, "be an nn.Module, the name of a file or a trace, got list", [nn.Linear(1, 1)]),
    (TypeError, "be an nn.Module, the name of a file or a trace, got the class Linear", nn.Linear),
]
RENAME = [
    (TypeError, "be a dict from names to names or a function, got str; do rename={", "weight"),
    (TypeError, "be a dict from names to names or a function, got list; do", ["weight"]),
    (TypeError, "be a dict from names to names or a function, got {1: 'x'}; do", {1: "x"}),
    (TypeError, "be a dict from names to names or a function, got {'x': None}; do", {"x": None}),
    (
        ValueError,
        "map names that the file has, or prefixes of them, got 'x'; do choose among",
        {"x": "y"},
    ),
    (ValueError, "give each name one of its own, got 'bias' for", {"weight": "bias"}),
    (ValueError, "give each name one of its own, got 3 for 'weight'; do give", lambda name: 3),
]
ACTIVATION = [
    (TypeError, "be a module or one of gelu, relu, ", 3, nn.ReLU, torch.relu, X, []),
    (ValueError, "be a module or one of gelu, relu, ", "rleu", ""),
]
MODULES = [
    (TypeError, "be modules, got", "x", nn.ReLU, None, 3, torch.relu, [nn.ReLU()]),
]
VISITED = [*MODULE, (ValueError, "have a shape, got LazyLinear", nn.LazyLinear(2))]
DISTRIBUTION = [
    (TypeError, "be 'uniform' or 'normal', got", 3, None, ["normal"]),
    (ValueError, "be 'uniform' or 'normal', got", "gaussian", ""),
]
INIT = [
    (TypeError, "be an initializer", 3, "zero", X, nn.init.zeros_, init.Normal,
     {".*": init.Zero()}),
    (TypeError, "define `_init_weight`, got Initializer()", init.Initializer()),
]  # fmt: skip
INDEX = [
    (TypeError, "be", 0.0, "0", None, True, X),
    (ValueError, "be", -1, -(10**30)),
]
EXERCISE = [
    (TypeError, "be an exercise, got", 3, None, ["a"]),
    (ValueError, "be an exercise, got 'blocks.paralel'; do choose one such as 'blocks.parallel'",
     "blocks.paralel"),
]  # fmt: skip
PREDICTION = [
    (TypeError, "be a prediction, got", 3, None, ["a"]),
    (ValueError, "be a prediction, got 'blocks.child'; do choose one such as 'blocks.children'",
     "blocks.child"),
]  # fmt: skip

WRONG = {
    "dense": {"units": SIZED, "activation": ACTIVATION, "in_units": sized()},
    "mlp": {
        "units": [*SIZED, (ValueError, "name at least one width, got none; do mlp(256, 10)", ...)],
        "activation": [*ACTIVATION, (TypeError, "be a module or one of", None)],
        "in_units": sized(),
    },
    "MLP": {"hidden_units": SIZED, "units": SIZED, "in_units": sized()},
    "MySequential": {
        "modules": [
            *MODULES,
            (TypeError, "be modules, got", {"act": 3}),
            (ValueError, "have names that are free", {"": nn.ReLU()}, {"a.b": nn.ReLU()}),
        ]
    },
    "MySequential.add": {"modules": MODULES},
    "FixedHiddenMLP": {"units": SIZED, "generator": GENERATOR},
    "FancyMLP": {"units": SIZED, "generator": GENERATOR},
    "NestMLP": {"in_units": sized()},
    "collect_params": {"net": NET, "pattern": PATTERN},
    "describe": {"net": NET, "pattern": PATTERN},
    "set_data": {
        "param": [
            (TypeError, "be a parameter, got", 3, None, "0.weight", nn.Linear(1, 1)),
            (ValueError, "have a shape, got a lazy parameter; do", nn.LazyLinear(2).weight),
            (ValueError, "hold values, got one on the meta device; do", X.to("meta")),
        ],
        "data": [
            (TypeError, "be a number, a tensor, an array or lists", "x", None, object(), [1, "a"]),
            (ValueError, "have the shape (2, 4) of `param` or be one number, got", torch.ones(3)),
            (ValueError, "be of a type that float32 can hold, got complex64; do", 1j),
        ],
    },
    "tie": {
        "net": NET,
        "source": NAME,
        "targets": [*NAME, (ValueError, "name what to tie to `source`, got none; do add", ...)],
    },
    "untie": {"net": NET, "name": NAME},
    "tied_groups": {"net": NET},
    "keep_ties": {"net": NET},
    "gradients_by_use": {
        "net": [*NET, (ValueError, "", nn.LazyLinear(2))],
        "loss_fn": [
            (TypeError, "be a function of the net, got", 3, "mse", X, None, lambda: 3),
            (ValueError, "return a scalar", lambda net: net(X), lambda net: 3, lambda net: None),
            (ValueError, "", lambda net: torch.zeros(())),
        ],
    },
    "initialize": {
        "net_or_parameter": [
            *[row for row in NET if row[-1] is not X],
            (ValueError, "have memory, got 'weight' on the meta device; do",
             nn.Linear(2, 2, device="meta")),
        ],
        "init": INIT,
        "pattern": [*PATTERN, (ValueError, "match a parameter's name from its start, got", "x")],
        "force_reinit": FLAG,
        "seed": [(TypeError, "be an integer, got", 1.5, "a", X, True)],
        "verbose": FLAG,
    },
    "init_normal": {"module": VISITED},
    "init_constant": {"module": VISITED},
    "init_xavier": {"module": VISITED},
    "init_42": {"module": VISITED},
    "my_init": {"module": VISITED},
    "Zero.__call__": {
        "name": [(TypeError, "be that of a parameter, got", 3, None, X)],
        "data": [(TypeError, "be a tensor, got", 3, [1.0], None, np.zeros(2))],
        "generator": GENERATOR,
    },
    "Normal": {"sigma": finite(", 0 or more", -1, -1e-9)},
    "Uniform": {"scale": finite(", 0 or more", -1, -1e-9)},
    "Constant": {"value": [(TypeError, "be a number, got", "x", None, [1], X)]},
    "Xavier": {"distribution": DISTRIBUTION, "gain": finite("")},
    "Kaiming": {
        "nonlinearity": [
            (TypeError, "be one whose gain", 3, None, ["relu"]),
            (ValueError, "be one whose gain", "rleu"),
        ],
        "mode": [
            (TypeError, "be 'fan_in' or 'fan_out', got", 3),
            (ValueError, "be 'fan_in' or 'fan_out', got 'in'", "in"),
        ],
        "distribution": DISTRIBUTION,
        "a": finite(""),
    },
    "Orthogonal": {"gain": finite("")},
    "Mixed": {
        "rules": [
            (TypeError, "be a dict from patterns or layer types to initializers, got", 3, None, []),
            (TypeError, "map to initializers such as Normal(0.01), got", {".*": 3},
             {".*": init.Zero}),
            (TypeError, "map from patterns or layer types, got", {3: init.Zero()},
             {int: init.Zero()}),
            (ValueError, "be a regular expression, got '*'", {"*": init.Zero()}),
        ]
    },
    "pending": {"net": NET},
    "materialize": {
        "net": NET,
        "inputs": [*SHAPES, (RuntimeError, "fit the net, got", "x", 3, None, (2, "4"), (2, 4.0))],
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "infer_shapes": {
        "net": NET,
        "inputs": SHAPES + FITS,
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "apply_init": {
        "net": NET,
        "inputs": [
            (TypeError, "be a list of inputs, or one tensor or shape, got", 3, "x", None, {1}),
            *SHAPES,
        ],
        "init": INIT[:1],
    },
    "MyLinear": {"in_units": SIZED, "units": SIZED, "generator": GENERATOR},
    "MyDense": {"units": SIZED, "in_units": SIZED, "generator": GENERATOR},
    "MyLinear.reset_parameters": {"generator": GENERATOR},
    "MyDense.reset_parameters": {"generator": GENERATOR},
    "save": {
        "path": REPLACED,
        "data": [
            (TypeError, "be made of tensors, numbers, text, None, lists, tuples and dicts, got "
             "Linear; do save_parameters(net, path)", nn.Linear(1, 1)),
            (TypeError, "be made of tensors, numbers, text, None, lists, tuples and dicts, got "
             "set; do make it a list or a tuple", {1, 2}),
            (TypeError, "have names or whole numbers as keys, got (1, 2); do", {(1, 2): X}),
            (d2c.FileError, "hold ordinary tensors with values, got lazy ones (0); nothing was "
             "saved, do materialize(net, X)", nn.LazyLinear(2).weight),
        ],
    },
    "load": {
        "path": FOUND,
        "device": DEVICE,
        "names": [
            (TypeError, "be a name or several, got 3; do names=['0.weight', '0.bias']", 3),
            (TypeError, "be a name or several, got [3]; do names=['0.weight', '0.bias']", [3]),
            (d2c.FileError, "`path` must hold 'wieght', got 'file': it holds 'weight', 'bias'; "
             "nothing was loaded, do give other `names`", "wieght"),
            (d2c.FileError, "`path` must hold '', got 'file': it holds 'weight'", ["weight", ""]),
        ],
    },
    "save_parameters": {
        "net": [
            *NET,
            (d2c.FileError, "hold ordinary tensors with values, got lazy ones (weight, bias); "
             "nothing was saved, do materialize(net, X) or one forward pass", nn.LazyLinear(2)),
            (d2c.FileError, "hold ordinary tensors with values, got ones on the meta device "
             "(weight, bias); nothing was saved, do", nn.Linear(2, 2, device="meta")),
        ],
        "path": REPLACED,
    },
    "load_parameters": {
        "net": [
            *NET,
            (ValueError, "have memory for its values, got weight, bias on the meta device; do "
             "`with keep_ties(net): net.to_empty(", nn.Linear(2, 3, device="meta")),
            (d2c.FileError, "`path` must fit the net, got 'file' with 1 misfit", nn.Linear(3, 3)),
        ],
        "path": FOUND,
        "allow_missing": FLAG,
        "ignore_extra": FLAG,
        "rename": RENAME,
        "device": [
            *DEVICE,
            (ValueError, "`net` must have memory for its values, got weight, bias on", "meta"),
        ],
    },
    "verify": {"path": FOUND},
    "compare": {
        "net": [
            *SIDE,
            (TypeError, "`other` must be a trace beside a trace, got str; do", TRACE),
        ],
        "other": [
            *SIDE,
            (TypeError, "`net` must be a trace beside a trace, got Linear; do", TRACE),
            *[(error, f"`path` must {said}", *values) for error, said, *values in FOUND[6:]],
        ],
        "rename": RENAME,
    },
    "gpu": {"i": [*INDEX, (ValueError, "be", 128, 200, 256, 10**30)]},
    "try_gpu": {"i": INDEX},
    "device_of": {
        "net_or_tensor": [
            (TypeError, "be a module or a tensor, got", "cpu", 3, None, [X], X.numpy(), nn.Linear,
             torch.optim.SGD([X], lr=0.1)),
            (ValueError, "have a parameter or a buffer, got", nn.ReLU(), nn.Sequential()),
        ]
    },
    "copyto": {"x": MOVED, "device": TARGET},
    "as_in_context": {"x": MOVED, "device": TARGET},
    "practice_gpus": {
        "count": [*INDEX, (ValueError, "be an integer from 0 to", 129, 10**30)],
        "memory": [(TypeError, "be", 1e9, "1GB", True, X), (ValueError, "be", -1)],
    },
    "MetricLog": {"capacity": SIZED, "device": DEVICE},
    "MetricLog.append": {
        "value": [
            (TypeError, "be", "3", None, [1.0], 1j),
            (ValueError, "be", X, torch.ones(0), torch.ones((), dtype=torch.cfloat)),
        ]
    },
    "trace": {
        "net": NET,
        "inputs": SHAPES,
        "depth": DEPTH,
        "values": FLAG,
        "backward": [*FLAG, (ValueError, "`loss_fn` must come with a backward pass", False)],
        "loss_fn": LOSS,
        "time": FLAG,
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "draw": {
        "net": NET,
        "inputs": SHAPES,
        "ax": AXES,
        "depth": DEPTH,
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "diagnose": {
        "net": NET,
        "inputs": [*SHAPES, (ValueError, "`loss_fn` must come with inputs, got none", ...)],
        "loss_fn": LOSS,
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "plot_activations": {
        "net": NET,
        "inputs": SHAPES + FITS,
        "ax": AXES,
        "pattern": PATTERN + FITTING,
        "forward_kwargs": KWARGS,
        "named_inputs": NAMED,
    },
    "plot_parameters": {"net": NET, "ax": AXES, "pattern": PATTERN + FITTING},
    "plot_gradients": {
        "net": [*NET, (ValueError, "have gradients, got none; do", nn.Linear(2, 2))],
        "ax": AXES,
        "pattern": PATTERN + FITTING,
    },
    "swap": {
        "net": NET,
        "name": NAME,
        "change": [(TypeError, "be a function of the output, got", 3, None, "zero", lambda: 3)],
    },
    "Table.columns": {
        "names": [
            (TypeError, "be among name, shape, ", 3, None, ["name"]),
            (ValueError, "be among name, shape, ", "nope", ""),
        ]
    },
    "Table.to_csv": {"path": WRITTEN},
    "Drawing.save": {
        "path": [*WRITTEN, (ValueError, "end as a picture does, in .", "net.docx", "net", ".png")],
    },
    "check": {"name": EXERCISE},
    "predict": {
        "name": PREDICTION,
        "guess": [
            (TypeError, "be the letter of a choice, got", 0, None, ["a"]),
            (ValueError, "be the letter of a choice, got 'z'; do choose one such as 'c', 'b', 'a'",
             "z"),
            (ValueError, "be the letter of a choice, got", "", "ab"),
        ],
    },
    "reveal": {"name": PREDICTION},
    "progress": {"reset": FLAG},
    "solution": {"name": EXERCISE},
    "language": {
        "code": [
            (TypeError, "be one of en, zh, got int; do", 3),
            (ValueError, "be one of en, zh, got", "fr", "", "ZH"),
            (TypeError, "be one of en, zh, got ndarray; do", np.ones(2)),
        ]
    },
}  # fmt: skip
ROWS = [
    pytest.param(name, argument, error, said, value, id=f"{name}-{argument}-{str(value)[:20]}")
    for name, arguments in WRONG.items()
    for argument, rows in arguments.items()
    for error, said, *values in rows
    for value in values
]


def found(name):
    """What a key of the tables stands for."""
    first, _, method = name.partition(".")
    if method:
        return getattr(OBJECTS[first], method)
    return getattr(d2c, first, None) or getattr(init, first)


def parameters(function):
    """The public parameters that it has itself: `*args, **kwargs` are those of nn.Module."""
    every = inspect.signature(function).parameters.values()
    return {p.name: p for p in every if p.name not in ("args", "kwargs") and p.name[0] != "_"}


def run(name, /, **wrong):
    """Call a function with what it takes and something wrong, and enter what it gives."""
    function = found(name)
    arguments = {key: made() if key in MADE and callable(made) and not isinstance(made, nn.Module)
                 else made for key, made in RIGHT[name].items()}  # fmt: skip
    args, kwargs = [], {}
    own = parameters(function)
    has_rest = any(p.kind is p.VAR_POSITIONAL for p in own.values())
    for key, value in {**arguments, **wrong}.items():
        if own[key].kind is inspect.Parameter.VAR_POSITIONAL:
            args += () if value is ... else value if key not in wrong else (value,)
        elif own[key].kind is inspect.Parameter.VAR_KEYWORD:
            args = args[:1] if key in wrong else args  # the net alone: the inputs are named
            kwargs.update(value)
        elif has_rest and own[key].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            args.append(value)
        else:
            kwargs[key] = value
    made = function(*args, **kwargs)
    if hasattr(made, "__enter__"):
        with made:
            pass


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a file, others that are none, and a folder."""
    monkeypatch.chdir(tmp_path)
    d2c.save_parameters(nn.Linear(2, 3), "file")
    (tmp_path / "text").write_text("Dear reader, these are no tensors.")
    (tmp_path / "empty").touch()
    (tmp_path / "folder.svg").mkdir()
    yield tmp_path
    d2c.practice_gpus(0)
    plt.close("all")


@pytest.mark.parametrize(("name", "argument", "error", "said", "value"), ROWS)
def test_a_wrong_argument_is_named_with_what_it_must_be_and_was_and_what_to_do(
    folder, name, argument, error, said, value
):
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(error) as caught:
        run(name, **{argument: value})
    assert isinstance(caught.value, error)
    message = str(caught.value)
    if isinstance(caught.value, OSError):
        message = message.partition("] ")[2]
    begin = said if said.startswith("`") else f"`{argument}` must {said}"
    assert message.startswith(begin), message
    assert re.search(r"(?s) must .*got .*do \S", message), message
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("name", RIGHT)
def test_every_argument_has_a_value_that_is_right_and_rows_of_wrong_ones(name):
    own = parameters(found(name))
    assert list(RIGHT[name]) == list(own)
    free = {argument for one, argument in FREE if one == name}
    assert set(WRONG.get(name, {})) == set(own) - free
    if name == "Table.to_pandas":
        pytest.importorskip("pandas", reason="comes with the extra `test`")
    run(name)


def test_every_public_name_has_its_rows():
    for module in (d2c, init):
        for name in (n for n in dir(module) if not n.startswith("_")):
            value = getattr(module, name)
            is_report = isinstance(value, type) and issubclass(value, (Report, Exception))
            for_ipython = name.endswith("load_ipython_extension")  # which alone calls it
            if not (inspect.ismodule(value) or is_report or for_ipython or name == "Drawing"):
                assert name in RIGHT
