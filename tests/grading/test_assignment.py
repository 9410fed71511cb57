import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell

from d2lcompute.grading.assignment import (
    STUB,
    Assignment,
    AssignmentError,
    Cell,
    parse,
    read_notebook,
)
from d2lcompute.grading.cells import find_defects

TWO = Assignment(
    (
        Cell("import torch"),
        Cell("a = 1", "solution", "first"),
        Cell("answer(a)", "check", "one", 2.5),
        Cell("answer(-a)", "hidden-check", "two", 4),
    )
)


def test_solutions_and_checks_are_found_by_id_in_order():
    assert list(TWO.solutions) == ["first"]
    assert list(TWO.checks) == ["one", "two"]
    assert [check.hidden for check in TWO.checks.values()] == [False, True]


def test_points_are_the_sum_over_the_checks():
    assert TWO.points == 6.5


@pytest.mark.parametrize(
    "other",
    [
        TWO.cells[:3],
        TWO.cells[::-1],
        (*TWO.cells[:3], Cell("answer(-a)", "hidden-check", "two", 5)),
        (*TWO.cells[:3], Cell("answer(-a)", "hidden-check", "two", 4, (0, 0))),
    ],
)
def test_the_digest_tells_assignments_apart(other):
    assert Assignment(tuple(TWO.cells)).digest == TWO.digest
    assert Assignment(other).digest != TWO.digest


@pytest.mark.parametrize(
    ("source", "stub"),
    [
        ("x = 1\ny = 2", STUB),
        (
            "x = 1\n### BEGIN SOLUTION\ny = 2\nz = 3\n### END SOLUTION\nw = 4",
            f"x = 1\n{STUB}\nw = 4",
        ),
        (
            "class A:\n    def f(self):\n        ### BEGIN SOLUTION\n        return 1\n"
            "        ### END SOLUTION\n\n    ### BEGIN SOLUTION\n    b = 1\n    ### END SOLUTION",
            f"class A:\n    def f(self):\n        {STUB}\n\n    {STUB}",
        ),
    ],
)
def test_a_stub_stands_where_the_solution_stood(source, stub):
    assert Cell(source, "solution", "x").stub == stub
    compile(stub, "stub", "exec")


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
    assignment = parse(read_notebook(written))
    assert [(cell.tag, cell.id) for cell in assignment.cells] == [
        ("", ""),
        ("solution", "twice"),
        ("hidden-check", "twice-random"),
    ]
    check = assignment.checks["twice-random"]
    assert (check.points, check.hidden, check.tolerances) == (5, True, (0, 0.1))
    assert check.source == "d2c.grading.answer(twice(torch.rand(2)))"


def test_an_ipynb_reference_gives_the_same(written, tmp_path):
    notebook = read_notebook(written)
    nbformat.write(notebook, tmp_path / "reference.ipynb")
    again = read_notebook(tmp_path / "reference.ipynb")
    assert parse(again) == parse(notebook)


@pytest.mark.parametrize("name", ["missing.md", "folder.ipynb", "torn.ipynb"])
def test_what_is_no_notebook_is_one_clear_error(tmp_path, name):
    (tmp_path / "folder.ipynb").mkdir()
    (tmp_path / "torn.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(AssignmentError, match=f"{name} can not be read as a notebook: "):
        read_notebook(tmp_path / name)


def test_all_defects_are_told_at_once(written):
    notebook = read_notebook(written)
    notebook.cells[2].metadata.d2lcompute = {}
    notebook.cells[3].metadata.d2lcompute = {"id": "x", "rtol": 1}
    with pytest.raises(AssignmentError, match="a solution needs an id") as caught:
        parse(notebook)
    assert len(caught.value.defects) == 3


def cell(source, *tags, **declared):
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, metadata=metadata | ({"d2lcompute": declared} if declared else {}))


def markdown(source, *tags, **declared):
    return new_markdown_cell(source, metadata=cell(source, *tags, **declared).metadata)


def raw(source, *tags, **declared):
    return new_raw_cell(source, metadata=cell(source, *tags, **declared).metadata)


SOLUTION = cell("a = 1", "solution", id="a")
CHECK = cell("d2c.grading.answer(a)", "check", id="a", points=1)
SECRET = cell("d2c.grading.answer(-a)", "hidden-check", id="a-2", points=0.5, rtol=0, atol=1e-3)


def test_an_assignment_has_no_defects():
    foreign = cell("a", "remove-input", "raises-exception")
    others = cell("a = 0", "wrong", id="a"), cell("a = 2 - 1", "also-right", id="a")
    assert find_defects([cell("import torch"), foreign, SOLUTION, *others, CHECK, SECRET]) == []
    assert parse(new_notebook(cells=[SOLUTION, CHECK, *others])).others[1].tag == "also-right"


@pytest.mark.parametrize(
    ("wrong", "defect"),
    [
        (cell("a", "solution"), "a solution needs an id of letters, .*, got None"),
        (cell("a", "solution", id=3), "a solution needs an id of letters, .*, got 3"),
        (cell("a", "solution", id="../a"), r"a solution needs an id of letters, .*, got '../a'"),
        (cell("a", "solution", id="b", draws=3), "unknown metadata draws of a solution"),
        (cell("a", "solution", id="b", points=-1), "points must be a number of at least 0, got -1"),
        (cell("answer(1)", "check", id="b"), "a check without points"),
        (cell("answer(1)", "check", id="b", points="3"), "points must be a number .*, got '3'"),
        (cell("answer(1)", "check", id="b", points=-1), "points must be a number .*, got -1"),
        (cell("answer(1)", "check", id="b", points=True), "points must be a number .*, got True"),
        (
            cell("answer(1)", "check", id="b", points=float("nan")),
            "points must be a number of at least 0, got nan",
        ),
        (cell("answer(1)", "check", id="b", points=1, rtol=1), "rtol and atol must come together"),
        (
            cell("answer(1)", "check", id="b", points=1, rtol=-1, atol=0),
            "rtol must be a number of at least 0, got -1",
        ),
        (
            cell("answer(1)", "check", id="b", point=1, points=1),
            "unknown metadata point of a check",
        ),
        (cell("print(1)", "check", id="b", points=1), "a check without an answer"),
        (cell("a", "hiden-check"), "unknown tag hiden-check; do hidden-check"),
        (cell("a", "Solution", id="b"), "unknown tag Solution; do solution"),
        (cell("a", "grade", id="b"), "unknown tag grade; do solution, check, hidden-check"),
        (cell("a", id="b"), "metadata for grading without a tag; do solution, check, hidden-check"),
        (
            cell("answer(1)", "check", "solution", id="b", points=1),
            "the tags check and solution exclude each other; keep one",
        ),
        (
            cell("### BEGIN SOLUTION\n1\n### END SOLUTION"),
            "### BEGIN SOLUTION in a cell without the tag solution: students would see",
        ),
        (
            cell("### BEGIN SOLUTION\n1", "solution", id="b"),
            "### BEGIN SOLUTION and ### END SOLUTION must come in pairs, got ### BEGIN SOLUTION",
        ),
        (
            cell("### END SOLUTION\n### BEGIN SOLUTION", "solution", id="b"),
            "must come in pairs, got ### END SOLUTION, ### BEGIN SOLUTION",
        ),
        (
            cell("1  ### BEGIN SOLUTION\n1  ### END SOLUTION", "solution", id="b"),
            "must stand on lines of their own",
        ),
        *(
            (
                cell("answer(1)", "check", id="b", points=1, draws=draws),
                f"draws must be a whole number from 1 to 100, got {draws!r}",
            )
            for draws in (0, 101, 2.0, True, "3")
        ),
        (cell("a", "solution", id="b", equivalent="1a"), "equivalent must be a list .*, got '1a'"),
        (cell("a", "solution", id="b", equivalent=[1]), r"equivalent must be a list .*, got \[1\]"),
        (
            cell("a = ((1)", "wrong", id="a"),
            "a cell tagged wrong must be Python, got line 1: '\\(' was",
        ),
        (
            cell("a = =", "also-right", id="a"),
            "a cell tagged also-right must be Python, got line 1: ",
        ),
        (cell("a = 2", "wrong"), "a wrong needs an id of letters"),
    ],
    ids=lambda value: value.source if isinstance(value, dict) else value,
)
def test_a_defect_is_told_once_with_its_cell(wrong, defect):
    (told,) = find_defects([SOLUTION, CHECK, wrong])
    assert told.startswith(f"code cell 3 ({wrong.source.splitlines()[0][:40]}): ")
    assert re.search(defect, told)


@pytest.mark.parametrize(
    ("cells", "defect"),
    [
        ([SOLUTION, SOLUTION, CHECK], "2 solutions have the id a; give each its own"),
        ([SOLUTION, CHECK, CHECK, CHECK], "3 checks have the id a; give each its own"),
        ([SOLUTION, CHECK, cell("answer(1)", "hidden-check", id="a", points=1)], "2 checks"),
        ([CHECK], "no cell has the tag solution; tag one"),
        ([SOLUTION], "no cell has the tag check; tag one"),
        (
            [SOLUTION, CHECK, cell("a", "wrong", id="b")],
            "a cell tagged wrong is for no solution: 'b'",
        ),
        *(
            (
                [SOLUTION, CHECK, prose("A rubric", tag)],
                f"{kind} cell 1 (A rubric): {tag} on a cell",
            )
            for tag in ("solution", "hidden-check", "check", "wrong")
            for kind, prose in (("markdown", markdown), ("raw", raw))
        ),
        (
            [SOLUTION, CHECK, markdown("Hi", id="b")],
            "markdown cell 1 (Hi): metadata for grading on",
        ),
    ],
)
def test_a_defect_of_the_whole_is_told_once(cells, defect):
    (told,) = find_defects(cells)
    assert told.startswith(defect)
