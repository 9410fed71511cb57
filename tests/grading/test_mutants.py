import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.assignment import parse, read_notebook
from d2lcompute.grading.mutants import echoes, mutants

REFERENCE = "chapters/assignment/reference.md"


def changed(source):
    return [each.source for each in mutants(source)]


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("x = 3", "x = 4"),
        ("x = 3", "x = 2"),
        ("x = 0.1", "x = 1.0"),
        ("x = True", "x = False"),
        ("f('mean')", "f('mean_')"),
        ("x = a + b", "x = a - b"),
        ("x @= w", "x *= w"),
        ("x = a < b", "x = a <= b"),
        ("x = a < b", "x = a >= b"),
        ("x = a is None", "x = a is not None"),
        ("x = a and b", "x = a or b"),
        ("x = not a", "x = a"),
        ("x = -a", "x = a"),
        ("if a:\n    b()", "if not a:\n    b()"),
        ("for a in b:\n    c()", "for a in []:\n    c()"),
        ("while a:\n    break", "while a:\n    continue"),
        ("def f():\n    super().__init__()\n    g()", "def f():\n    pass\n    g()"),
        ("def f():\n    return a", "def f():\n    return a.detach()"),
        ("def f():\n    return a", "def f():\n    return"),
        ("with torch.no_grad():\n    f()", "if True:\n    f()"),
        ("@staticmethod\ndef f():\n    g()", "def f():\n    g()"),
        ("x = self.weight @ y", "x = self.weight.data @ y"),
        ("x = self.weight @ y", "x = self.weight.detach() @ y"),
        ("x = w.T", "x = w"),
        ("x.zero_()", "x.zero()"),
        ("x = a.sum(1)", "x = a.mean(1)"),
        ("x = f(a, b)", "x = f(b, a)"),
        ("x = f(a, dim=b)", "x = f(a)"),
        ("x = range(n)", "x = range(n + 1)"),
        ("x = nn.Parameter(a)", "x = a"),
        ("x = nn.Parameter(a)", "x = nn.Parameter(a, requires_grad=False)"),
        ("self.register_buffer('m', a)", "self.register_buffer('m', a, persistent=False)"),
        ("self.register_buffer('m', a)", "setattr(self, 'm', a)"),
        ("x = a.clone()", "x = a"),
        ("x = a[1:]", "x = a"),
        ("x = nn.ModuleList(a)", "x = nn.list(a)"),
        ("x = sorted(a)", "x = list(a)"),
    ],
)
def test_what_people_get_wrong_is_among_the_changes(source, mistake):
    assert mistake in changed(source)


def test_every_change_is_python_is_another_and_comes_once():
    for cell in parse(read_notebook(REFERENCE)).solutions.values():
        found = mutants(cell.source)
        original = ast.unparse(ast.parse(cell.source))
        assert (
            len({each.source for each in found}) == len({each.id for each in found}) == len(found)
        )
        for each in found:
            ast.parse(each.source)
            assert each.source != original
            assert each.difference.startswith(("- ", "+ "))


def test_what_students_see_is_left_alone():
    source = "def f(x=1):\n    ### BEGIN SOLUTION\n    return x + 1\n    ### END SOLUTION\n\nx = 5"
    assert {each.what for each in mutants(source)} >= {"line 3: Sub for Add", "line 3: no result"}
    assert all("x=1" in each.source and "x = 5" in each.source for each in mutants(source))


@pytest.mark.parametrize("source", ["%time x = 1", "def f(", "", "\0", "### BEGIN SOLUTION"])
def test_what_is_no_plain_python_has_none(source):
    assert mutants(source) == []
    assert list(echoes(source)) == []


@given(st.text())
def test_no_source_raises(source):
    mutants(source)
    list(echoes(source))


def test_an_echo_gives_back_what_a_function_gets():
    source = "class A(B):\n    def __init__(self, w):\n        self.w = w\n"
    source += "    def forward(self, x, y):\n        return x + y"
    first, second = (ast.parse(text) for _, text in echoes(source))
    for tree, name in ((first, "x"), (second, "y")):
        assert ast.unparse(tree.body[0].body[1]).endswith(f"return {name}")
        assert "self.w = w" in ast.unparse(tree)
