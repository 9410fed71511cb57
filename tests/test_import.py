"""What `import d2lcompute` costs, and what it gives."""

import subprocess
import sys

import pytest

import d2lcompute as d2c

HEAVY = {"IPython", "matplotlib", "nbval", "pytest", "rich", "safetensors", "typer"}


def modules_after(code):
    """The top-level packages that a fresh Python has loaded after `code`."""
    show = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{code}\n{show}"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_the_package_loads_nothing_before_a_name_is_used():
    assert modules_after("import d2lcompute") & (HEAVY | {"torch"}) == set()


def test_using_the_library_loads_nothing_that_only_pictures_files_or_kernels_need():
    code = "import d2lcompute as d2c; d2c.describe(d2c.mlp(2, 1, in_units=3))"
    assert modules_after(code) & HEAVY == set()


def test_a_step_on_a_practice_device_loads_nothing_of_torch_that_only_clusters_need():
    code = """
import torch
import d2lcompute as d2c
d2c.practice_gpus(1)
net = d2c.dense(1, in_units=2).to("practice")
net(torch.ones(3, 2, device="practice")).sum().backward()
"""
    assert "sympy" not in modules_after(code)  # which torch.distributed.tensor brings


def test_running_notebooks_loads_no_torch_beside_that_of_their_kernels():
    assert modules_after("import d2lcompute.notebooks.plugin") & {"torch", "safetensors"} == set()


def test_every_public_name_is_there_and_listed():
    names = [name for name in dir(d2c) if not name.startswith("_")]
    assert len(names) > 50
    assert all(getattr(d2c, name) is not None for name in names)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="descripe"):
        vars(d2c)["__getattr__"]("descripe")
