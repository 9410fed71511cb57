import pytest
from handins import code, notebook
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading.submissions import LARGEST, Submission, read


def test_only_the_source_of_cells_with_an_id_is_taken():
    data = notebook(
        {"cell_type": "markdown", "metadata": {"d2lcompute": {"id": "prose"}}, "source": "# Hi"},
        code("import os"),
        code(["def f(x):\n", "    return x"], "f", tags=["solution", "nbval-skip"]),
        code("g = 1", "g"),
    )
    assert read("ada", data) == Submission("ada", {"f": "def f(x):\n    return x", "g": "g = 1"})


def test_a_solution_that_was_split_is_put_together():
    data = notebook(code("", "f"), code("a = 1", "f"), code("other"), code("b = a", "f"))
    assert read("ada", data).solutions == {"f": "a = 1\nb = a"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"cells": 1}',
        b'{"cells": [1]}',
        b'{"cells": [{"cell_type": "code", "metadata": {"d2lcompute": {"id": "x"}}}]}',
        b'{"cells": [{"cell_type": "code", "metadata": [], "source": ""}]}',
        b'{"worksheets": []}',
        b"[" * 200_000,
        b"1" * 10_000,
        notebook(code(5, "x")),
        notebook(code([5], "x")),
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_notebook_is_a_fault(data):
    found = read("ada", data)
    assert found.fault.startswith("the file is not a notebook: ")
    assert found.solutions == {}


@given(st.binary())
def test_no_file_raises(data):
    assert read("ada", data).name == "ada"


def test_a_file_that_is_too_large_is_not_parsed():
    assert read("ada", b"[" * (LARGEST + 1)).fault == "the file is larger than 32 MiB"


@pytest.mark.parametrize("identity", [3, None, ["x"], {"x": 1}, ""])
def test_an_id_that_is_no_text_is_none(identity):
    assert read("ada", notebook(code("a", identity))).solutions == {}


def test_half_a_character_does_not_get_through():
    data = notebook(code("x = 1", "x")).replace(b"x = 1", b"'\\ud800'")
    assert read("ada", data).solutions == {"x": "'?'"}
    assert read("ada", data).digest


def test_the_digest_tells_submissions_apart():
    one = Submission("ada", {"f": "1"})
    others = [Submission("bob", {"f": "1"}), Submission("ada", {"f": "2"}), Submission("ada")]
    others.append(Submission("ada", fault="no notebook was handed in"))
    assert len({submission.digest for submission in [one, *others]}) == 5
    assert one.digest == Submission("ada", {"f": "1"}).digest
