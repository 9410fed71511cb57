import itertools
import math

import nbformat
import pytest
import torch
from fakekernel import FakeKernel
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from d2lcompute.grading import release, submissions
from d2lcompute.grading.assignment import AssignmentError, parse
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.release import bits

CONDITIONS = Conditions(allow_unisolated=True)


def code(source, *tags, **declared):
    return new_code_cell(source, metadata={"tags": list(tags), "d2lcompute": declared})


def prose(text, **metadata):
    return new_markdown_cell(text, metadata=metadata)


SOLUTION = code(
    "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION", "solution", id="f"
)
NOTEBOOK = new_notebook(
    cells=[
        prose("# Title"),
        new_code_cell("import torch"),
        SOLUTION,
        code("answer(f())", "check", id="c", points=1),
        prose("after"),
        code("answer(-f())", "hidden-check", id="h", points=1),
    ],
    metadata={"jupytext": {}, "kernelspec": {"name": "mine", "display_name": "Mine"}},
)
SHOWN = {"c": [new_output("stream", name="stdout", text="1\n")]}


def released(notebook=NOTEBOOK):
    (found,) = release.release(notebook, SHOWN).values()
    return found


def test_solutions_are_stubs_and_hidden_checks_are_gone():
    assert [cell.source for cell in released().cells] == [
        "# Title",
        "import torch",
        "def f():\n    ...  # your answer",
        release.SEEDED.format(source="answer(f())"),
        "after",
    ]
    assert "hidden" not in nbformat.writes(released())


def test_a_check_shows_what_the_reference_shows():
    check = released().cells[3]
    assert (check.outputs, check.execution_count) == (SHOWN["c"], 1)
    assert [cell.execution_count for cell in released().cells if cell.cell_type == "code"][:2] == [
        None,
        None,
    ]


def test_a_student_can_edit_solutions_but_not_lose_them():
    assert released().cells[2].metadata == {
        "tags": ["solution"],
        "d2lcompute": {"id": "f"},
        "deletable": False,
    }
    assert released().cells[3].metadata == {
        "tags": ["check"],
        "deletable": False,
        "editable": False,
    }


def test_what_is_released_is_what_is_graded():
    handed_in = nbformat.writes(released()).replace("...  # your answer", "return 1").encode()
    assert submissions.read(handed_in, parse(NOTEBOOK)).solutions == {"f": "def f():\n    return 1"}


SECRET = "LEAKED"


def test_nothing_of_an_answer_or_a_hidden_check_is_released():
    printed = new_output("stream", name="stdout", text=SECRET)
    cells = [
        new_code_cell("1", outputs=[printed], execution_count=1),
        code(f"def f():\n    ### BEGIN SOLUTION\n    '{SECRET}'\n    ### END SOLUTION",
             "solution", id="f", equivalent=[SECRET]),
        code("answer(f())", "check", id="c", points=1),
        code(f"answer(f()) # {SECRET}", "hidden-check", id="h", points=1),
        code(f"f = '{SECRET}'", "wrong", id="f"),
        code(f"f = '{SECRET}'", "also-right", id="f"),
    ]  # fmt: skip
    for cell in cells:
        cell.outputs, cell.metadata.secret = [printed], SECRET
    cells[0].metadata.pop("secret")
    cells[2].metadata.pop("secret")
    found = released(new_notebook(cells=cells, metadata={"secret": SECRET}))
    assert SECRET not in nbformat.writes(found)
    assert [cell.source for cell in found.cells][:2] == ["1", "def f():\n    ...  # your answer"]
    assert len(found.cells) == 3


def test_a_solutions_cell_is_known_by_its_id():
    (cell,) = (cell for cell in released().cells if "solution" in cell.metadata.get("tags", ()))
    assert cell.id == parse(NOTEBOOK).solutions["f"].notebook_id


def test_the_reference_is_left_as_it_was():
    before = nbformat.writes(NOTEBOOK)
    released()
    assert nbformat.writes(NOTEBOOK) == before


def test_a_release_is_a_valid_notebook_and_the_same_each_time():
    nbformat.validate(released())
    assert nbformat.writes(released()) == nbformat.writes(released())
    assert released().metadata.kernelspec.name == "python3"


def test_each_language_gets_its_own_prose_and_the_same_code():
    cells = [prose("Hi", lang="en"), prose("你好", lang="zh"), SOLUTION, NOTEBOOK.cells[3]]
    english, chinese = release.release(new_notebook(cells=cells), SHOWN).values()
    assert english.cells[0].source == "Hi"
    assert chinese.cells[0].source == "你好"
    assert english.cells[1:] == chinese.cells[1:]
    assert "lang" not in english.cells[0].metadata


def test_each_language_is_written_into_its_folder(tmp_path):
    paths = release.write({"en": released(), "zh": released()}, tmp_path / "out")
    assert paths == [tmp_path / "out" / name / "assignment.ipynb" for name in ("en", "zh")]
    assert nbformat.read(paths[0], as_version=4) == released()
    assert release.write({"": released()}, tmp_path) == [tmp_path / "assignment.ipynb"]


@pytest.fixture
def rehearsed(monkeypatch):
    """Rehearse checks with kernels that need no process."""
    chances = itertools.count()

    class Chancy(FakeKernel):
        def __init__(self):
            super().__init__()
            self.names["chance"] = lambda: next(chances) / 10

    monkeypatch.setattr(Conditions, "start", lambda self: Chancy())
    # The fake kernels of threads would share Python's random numbers.
    monkeypatch.setattr(release, "count_cores", lambda: 1)

    def rehearse(check, tag="hidden-check", solution="def f(x=1.0): return 2 * x", **more):
        cells = [code(solution, "solution", id="f"), code(check, tag, id="c", points=1, **more)]
        return release.rehearse(parse(new_notebook(cells=cells)), CONDITIONS)

    return rehearse


@pytest.mark.parametrize(
    ("check", "tag", "warnings"),
    [
        ("answer(f(draw()))", "hidden-check", []),
        ("answer(f(draw()))", "check", []),
        ("answer(f())", "hidden-check", ["check c answers the same under all seeds: it can be ha"]),
        ("answer(f())", "check", ["check c answers the same under all seeds: it can be copied"]),
        ("answer(int(100 * f(1 + draw())))", "hidden-check", ["hidden check c answers with "]),
        ("answer(int(100 * f(1 + draw())))", "check", []),
    ],
)  # fmt: skip
def test_what_can_be_guessed_or_copied_is_told(rehearsed, check, tag, warnings):
    found = rehearsed(check, tag)
    assert len(found) == len(warnings)
    assert all(text.startswith(start) for text, start in zip(found, warnings, strict=True))


STUB = "def f(x):\n    ### BEGIN SOLUTION\n    return None\n    ### END SOLUTION"


@pytest.mark.parametrize(
    ("check", "solution", "defect"),
    [
        ("f(2)\nanswer(draw())", "def f(x): return x", "passes a cheat, 'returns argument 1' for"),
        ("answer([draw(), type(f(2.0)).__name__])", "def f(x): return 3.0", "'returns argument 1'"),
        ("answer(draw() > 2 or f(2) is None)", STUB, "check c passes a cheat, 'the stub' for f: "),
        ("answer([1e-7 * f(draw()), draw()])", "def f(x): return 1 + x", r"passes zeros at \[0\]"),
        ("answer(float('nan') * f(draw()))", "def f(x): return 1 + x", "passes NaN for the answer"),
        ("answer(draw())", "def f(x): return x", "check c needs no solution: nothing passes it"),
        ("f(2); answer(None)", "def f(x): return -x", "passes None for the answer"),
    ],
)  # fmt: skip
def test_what_would_pass_without_an_answer_is_refused(rehearsed, check, solution, defect):
    with pytest.raises(AssignmentError, match=defect):
        rehearsed(check, solution=solution)


def test_a_check_that_answers_differently_under_one_seed_is_no_check(rehearsed):
    with pytest.raises(AssignmentError, match=r"^check c answers differently"):
        rehearsed("answer(f(chance()))")


def test_outputs_come_from_a_kernel_that_sends_nothing(monkeypatch):
    started = []

    class Printing(FakeKernel):
        def run(self, source, timeout):
            started.append(source)
            return super().run(source, timeout)

    monkeypatch.setattr(Conditions, "start", lambda self: Printing())
    outputs = release.show_checks(parse(NOTEBOOK), CONDITIONS)
    assert list(outputs) == ["c"]
    assert not any(source.startswith("from d2lcompute") for source in started)
    assert started[0] == "import torch"


ENOUGH = 16


FEW = {
    "none": None, "true": True, "seven": 7, "half": 0.5, "nan": math.nan, "infinity": math.inf,
    "shape": [2, 3], "empty list": [], "empty dict": {}, "zeros": torch.zeros(100),
    "equal": torch.ones(3, 3) / 2, "booleans": torch.tensor([True, False, True]), "letter": "y",
    "dict": {"a": 1, "b": True}, "complex": 2 + 1j, "zero": torch.tensor(0.0),
}  # fmt: skip
MANY = {
    "float": 0.1234, "two floats": torch.rand(2), "complex": torch.randn(3, dtype=torch.complex64),
    "text": "twelve chars", "range": list(range(10)), "booleans": torch.rand(40) < 0.5,
    "dict": {"a": torch.rand(()).item()}, "integer": 123_456, "one complex": complex(0.1, 0.2),
}  # fmt: skip


@pytest.mark.parametrize("value", FEW.values(), ids=FEW)
def test_what_can_be_guessed_has_few_bits(value):
    assert bits(value) < ENOUGH


@pytest.mark.parametrize("value", MANY.values(), ids=MANY)
def test_what_can_not_be_guessed_has_many_bits(value):
    assert bits(value) >= ENOUGH


@given(st.lists(st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(), max_size=8))
def test_more_to_say_never_takes_fewer_bits(values):
    assert 0 <= bits(values) <= bits([*values, 0.1234]) + 1e-9
    assert bits(values) == pytest.approx(
        bits({str(place): one for place, one in enumerate(values)})
    )
