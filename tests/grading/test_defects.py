import re

import pytest
from nbformat.v4 import new_code_cell

from d2lcompute.grading.defects import find_defects


def cell(source, *tags, **declared):
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, metadata=metadata | ({"d2lcompute": declared} if declared else {}))


SOLUTION = cell("a = 1", "solution", id="a")
CHECK = cell("d2c.grading.answer(a)", "check", id="a", points=1)
SECRET = cell("d2c.grading.answer(-a)", "hidden-check", id="a-2", points=0.5, rtol=0, atol=1e-3)


def test_an_assignment_has_no_defects():
    foreign = cell("a", "remove-input", "raises-exception")
    assert find_defects([cell("import torch"), foreign, SOLUTION, CHECK, SECRET]) == []


@pytest.mark.parametrize(
    ("wrong", "defect"),
    [
        (cell("a", "solution"), "a solution needs an id of letters, .*, got None"),
        (cell("a", "solution", id=3), "a solution needs an id of letters, .*, got 3"),
        (cell("a", "solution", id="../a"), r"a solution needs an id of letters, .*, got '../a'"),
        (cell("a", "solution", id="b", points=3), "unknown metadata points of a solution"),
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
    ],
)
def test_a_defect_of_the_whole_is_told_once(cells, defect):
    (told,) = find_defects(cells)
    assert told.startswith(defect)
