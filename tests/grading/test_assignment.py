import pytest

from d2lcompute.grading.assignment import STUB, Assignment, Cell

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
