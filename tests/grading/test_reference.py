import nbformat
import pytest

from d2lcompute.grading import reference

MYST = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
---

# Title

```{code-cell} ipython3
import torch
```

```{code-cell} ipython3
:tags: [solution]
:d2lcompute: {"id": "twice"}

def twice(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
```

```{code-cell} ipython3
---
tags: [hidden-check]
d2lcompute: {id: twice-random, points: 5, rtol: 0, atol: 0.1}
---
d2c.grading.answer(twice(torch.rand(2)))
```
"""


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "reference.md"
    path.write_text(MYST, encoding="utf-8")
    return path


def test_a_myst_reference_gives_cells_in_order(written):
    assignment = reference.parse(reference.read_notebook(written))
    assert [(cell.tag, cell.id) for cell in assignment.cells] == [
        ("", ""),
        ("solution", "twice"),
        ("hidden-check", "twice-random"),
    ]
    check = assignment.checks["twice-random"]
    assert (check.points, check.hidden, check.tolerances) == (5, True, (0, 0.1))
    assert check.source == "d2c.grading.answer(twice(torch.rand(2)))"


def test_an_ipynb_reference_gives_the_same(written, tmp_path):
    notebook = reference.read_notebook(written)
    nbformat.write(notebook, tmp_path / "reference.ipynb")
    again = reference.read_notebook(tmp_path / "reference.ipynb")
    assert reference.parse(again) == reference.parse(notebook)


@pytest.mark.parametrize("name", ["missing.md", "folder.ipynb", "torn.ipynb"])
def test_what_is_no_notebook_is_one_clear_error(tmp_path, name):
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "torn.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(reference.AssignmentError, match=f"{name} can not be read as a notebook: "):
        reference.read_notebook(tmp_path / name)


def test_all_defects_are_told_at_once(written):
    notebook = reference.read_notebook(written)
    notebook.cells[2].metadata.d2lcompute = {}
    notebook.cells[3].metadata.d2lcompute = {"id": "x", "rtol": 1}
    with pytest.raises(reference.AssignmentError, match="a solution needs an id") as caught:
        reference.parse(notebook)
    assert len(caught.value.defects) == 3
