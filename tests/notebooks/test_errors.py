"""What a reader sees of an error in a notebook."""

import functools
import re
import statistics
import traceback

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from traitlets.config import Config

from d2lcompute.notebooks.errors import own_frames, plain

CELL = """\
import torch
from torch import nn

class Mine(nn.Module):
    def forward(self, X):
        return nn.Linear(3, 4)(X)

Mine()(torch.rand(2, 2))
"""


def all_shown(*cells):
    """The errors of the cells, as text without colours."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in cells])
    NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
    errors = ["\n".join(cell.outputs[0].traceback) for cell in notebook.cells if cell.outputs]
    return [re.sub(r"\x1b\[[0-9;]*m", "", error) for error in errors]


def shown(*cells):
    """The last cell's error, as text without colours."""
    return all_shown(*cells)[-1]


def test_an_error_shows_the_lines_of_the_reader_alone():
    text = shown("%load_ext d2lcompute", CELL)
    assert "----> 8 Mine()(torch.rand(2, 2))" in text
    assert re.search(r"----> 6 +return nn\.Linear\(3, 4\)\(X\)", text)
    assert re.search(r"RuntimeError: .*mat1 and mat2 shapes .* \(2x2 and 3x4\)$", text)
    assert "site-packages" not in text
    assert text.count("Cell In[2]") == 2


def test_an_error_looks_the_same_when_it_is_asked_for_again_and_has_all_frames_to_debug():
    first, again, verbose, frames = all_shown(
        "%load_ext d2lcompute",
        CELL,
        "%tb",
        "%tb Verbose",
        "import sys, traceback\n"
        "raise ValueError(traceback.extract_tb(sys.last_value.__traceback__)[-1].filename)",
    )
    assert again == first
    assert "X=tensor(" in verbose
    assert "site-packages" in frames.splitlines()[-1]


def test_the_history_keeps_of_an_error_what_was_shown():
    shell = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    for cell in ("%load_ext d2lcompute", CELL):
        shell.run_cell(cell, store_history=True)
    kept = getattr(shell.history_manager, "exceptions", None)
    if kept is None:
        pytest.skip("this IPython keeps no errors")
    (error,) = kept.values()
    text = plain("".join(error["traceback"]), longest=5000)
    assert "----> 8 Mine()(torch.rand(2, 2))" in text
    assert "site-packages" not in text


def test_an_error_that_shows_itself_does_so():
    own = """
class Own(Exception):
    def _render_traceback_(self):
        return ["my own words"]

raise Own
"""
    assert shown("%load_ext d2lcompute", own) == "my own words"


def test_without_the_extension_all_frames_are_shown_again():
    text = shown("%load_ext d2lcompute", "%unload_ext d2lcompute", CELL)
    assert "site-packages" in text


def test_frames_of_libraries_are_dropped_wherever_they_stand():
    with pytest.raises(TypeError, match="not iterable") as caught:
        functools.reduce(lambda a, b: statistics.mean(b), [1, 2])
    frames = traceback.extract_tb(own_frames(caught.value.__traceback__))
    assert {frame.filename for frame in frames} == {__file__}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is\n\tin 中文 é 👍", "as it is\n\tin 中文 é 👍"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("over\rwritten\b\b", "overwritten"),
        ("\u202etxet\u202c \u200bzero \ufeffwidth", "txet zero width"),
        ("\ud800lone", "lone"),
        ("\x1b[31", ""),
    ],
)
def test_only_what_can_be_seen_is_kept(text, shown):
    assert plain(text) == shown


def test_long_text_is_cut():
    assert plain("x" * 2000) == "x" * 500 + " ..."
    assert plain("x" * 2000, longest=10) == "x" * 10 + " ..."


@given(st.text())
def test_no_control_character_is_left(text):
    assert all(
        char.isprintable() or char in "\n\t \u3000\xa0" or char.isspace() for char in plain(text)
    )
    assert not set(plain(text)) & set("\x1b\x9b\r\b\0\x7f")
