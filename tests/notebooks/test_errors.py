"""What a reader sees of an error in a notebook."""

import functools
import re
import statistics
import traceback

import nbformat
import pytest
from nbclient import NotebookClient

from d2lcompute.notebooks.errors import own_frames

CELL = """\
import torch
from torch import nn

class Mine(nn.Module):
    def forward(self, X):
        return nn.Linear(3, 4)(X)

Mine()(torch.rand(2, 2))
"""


def shown(*cells):
    """The last cell's error, as text without colours."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
    return re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(notebook.cells[-1].outputs[0].traceback))


def test_an_error_shows_the_lines_of_the_reader_alone():
    text = shown("%load_ext d2lcompute", CELL)
    assert "----> 8 Mine()(torch.rand(2, 2))" in text
    assert "----> 6         return nn.Linear(3, 4)(X)" in text
    assert text.endswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x2 and 3x4)")
    assert "site-packages" not in text
    assert text.count("Cell In[2]") == 2


def test_without_the_extension_all_frames_are_shown_again():
    text = shown("%load_ext d2lcompute", "%unload_ext d2lcompute", CELL)
    assert "site-packages" in text


def test_frames_of_libraries_are_dropped_wherever_they_stand():
    with pytest.raises(TypeError, match="not iterable") as caught:
        functools.reduce(lambda a, b: statistics.mean(b), [1, 2])
    frames = traceback.extract_tb(own_frames(caught.value.__traceback__))
    assert {frame.filename for frame in frames} == {__file__}
